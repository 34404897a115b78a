"""What a pass over a run's rows takes of each batch, and what it measures at its end; `analysis.record` is the pass."""
