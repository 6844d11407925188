"""Attention functions that stand in for the model's own while gradients are taken."""
