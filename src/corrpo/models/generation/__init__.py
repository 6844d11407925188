"""Responses written by the model itself."""

from corrpo.models.generation.sampling import Generation, generate

__all__ = ["Generation", "generate"]
