"""What figures share: their files, look, axes and lines."""
