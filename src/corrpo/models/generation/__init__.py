"""Responses that a model writes: the backends that write them, and the batches in which they are asked."""
