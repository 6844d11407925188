"""Four estimators of the norms of logit gradients, and the one function in front of them."""

from corrpo.strength.gradient_norms import ESTIMATORS, logit_gradient_norms

__all__ = ["ESTIMATORS", "logit_gradient_norms"]
