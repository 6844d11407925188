"""The estimators of a gradient's norm, a file each."""
