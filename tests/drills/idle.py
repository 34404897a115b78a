"""A worker that does nothing: what `races` starts jobs with."""
