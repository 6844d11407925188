"""The token viewer: a local page to read responses token by token."""
