"""Answers in responses: read, compared, verified."""
