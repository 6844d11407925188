"""The monitor as an HTTP service: one model, one thread, and bounds on what a client can ask."""
