"""A small serving model that learns from a big run's outputs (Hinton, Vinyals & Dean 2015): `lessons` are what the teacher says
of the training rows, `teaching` brings them into a training, `report` says what came of it."""
