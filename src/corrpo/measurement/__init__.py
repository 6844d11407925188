"""`measure`: from a model and samples to a fingerprint."""

from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.pipeline import measure

__all__ = ["MeasureOptions", "measure"]
