"""A run's progress in the tracker that somebody has already: TensorBoard or MLflow, off unless asked for."""
