"""Models: their names and folders, loading, checkpoints, sharding, generation."""
