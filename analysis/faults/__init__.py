"""Planted faults: what can go wrong with data, weights, configuration or training, done on purpose to a healthy run."""
