"""A module for each name in `corrpo.models.generation.backend.BackendName`, which defines its `BACKEND`."""
