"""Events -> dataset: rows, folds, fitted steps, each kept by what it depends on."""
