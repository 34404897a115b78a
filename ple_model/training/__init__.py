"""The parts of a training: `trainer` is the whole, `ple_model.train` starts it."""
