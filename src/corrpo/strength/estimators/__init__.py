"""The estimators of a gradient's norm, a file each; their names are here, without torch."""

from typing import Literal, get_args

EstimatorName = Literal["reference", "exact", "last", "own"]
ESTIMATORS: tuple[str, ...] = get_args(EstimatorName)
