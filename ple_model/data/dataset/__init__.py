"""A dataset on disk: written once, read in batches."""
