"""The demonstrations of `corrpo demo`."""
