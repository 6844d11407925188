"""Rewards of CorR-PO as functions: the inversion reward with its controls, accuracy, format.

The inversion reward is `rollout_correlation` (a rho per rollout) followed by `inversion_reward` (a reward
per rollout); both are pure functions of tensors and need neither a model nor a trainer. The rewards that
need a verifier are in modules of their own, imported when they are used.
"""

from corrpo.rewards.inversion import inversion_reward
from corrpo.rewards.rollout_correlation import rollout_correlation

__all__ = ["inversion_reward", "rollout_correlation"]
