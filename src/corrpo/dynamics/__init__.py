"""A model over its training: its checkpoints, what is measured at each of them, and the published curves."""
