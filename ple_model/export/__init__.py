"""A run's model as a graph that other programs run: `served` is what is exported, `signature` says what goes in and comes out,
`write` makes the file and holds it against the model."""
