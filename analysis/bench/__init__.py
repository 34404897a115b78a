"""Benchmarks of what stands on a trained model; `ple bench` finds them (see `ple_model.bench`)."""
