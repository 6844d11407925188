"""Derivatives of target logits at the outputs of projections."""
