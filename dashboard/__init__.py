"""The dashboard: thin pages over `analysis`, and the jobs that train a run. Started with `ple app`."""
