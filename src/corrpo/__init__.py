"""corrpo: measure Entropy-Gradient Inversion in language models, with intervals and controls.

>>> import corrpo, torch
>>> corrpo.token_entropy(torch.zeros(4)).item()
2.0

Names are imported when they are first used, so that `import corrpo` is quick. Those that train need the
packages of `corrpo[train]`.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corrpo.errors import CorrpoError
    from corrpo.measurement.fingerprint import Fingerprint
    from corrpo.measurement.options import MeasureOptions
    from corrpo.measurement.pipeline import measure
    from corrpo.models.loading import load_model
    from corrpo.strength.entropy import token_entropy
    from corrpo.strength.gradient_norms import logit_gradient_norms
    from corrpo.training.callback import FingerprintCallback
    from corrpo.training.config import CorRPOConfig, CorRRLOOConfig
    from corrpo.training.trainer import CorRPOTrainer, CorRRLOOTrainer

__version__ = version("corrpo")
__all__ = [
    "CorRPOConfig",
    "CorRPOTrainer",
    "CorRRLOOConfig",
    "CorRRLOOTrainer",
    "CorrpoError",
    "Fingerprint",
    "FingerprintCallback",
    "MeasureOptions",
    "load_model",
    "logit_gradient_norms",
    "measure",
    "token_entropy",
]

_HOMES = {
    "CorRPOConfig": "corrpo.training.config",
    "CorRPOTrainer": "corrpo.training.trainer",
    "CorRRLOOConfig": "corrpo.training.config",
    "CorRRLOOTrainer": "corrpo.training.trainer",
    "CorrpoError": "corrpo.errors",
    "Fingerprint": "corrpo.measurement.fingerprint",
    "FingerprintCallback": "corrpo.training.callback",
    "MeasureOptions": "corrpo.measurement.options",
    "load_model": "corrpo.models.loading",
    "logit_gradient_norms": "corrpo.strength.gradient_norms",
    "measure": "corrpo.measurement.pipeline",
    "token_entropy": "corrpo.strength.entropy",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'corrpo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
