"""A table of one's own columns as a dataset: a schema file names them, `ple import features` builds, `ple predict` scores."""
