"""From a model and samples to a fingerprint; fingerprints compared, and followed over a training."""
