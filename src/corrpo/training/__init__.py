"""Training: CorR-PO on TRL's trainers, the stages of the paper, and the fingerprint of a run under way."""
