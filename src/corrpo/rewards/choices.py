"""The names that the inversion's settings choose among. Each line is the table of its kind.

A control NAME is the module `controls/NAME.py`; gates, shapes, schedules and statistics stand in the modules
of these names, under the same names.
"""

from typing import Literal, get_args

ControlName = Literal["none", "shuffle", "negate", "clamp", "constant"]
GateName = Literal["all", "correct", "incorrect"]
ShapeName = Literal["identity", "relu", "fisher"]
ScheduleName = Literal["constant", "linear", "cosine", "warmup"]
StatisticName = Literal["spearman", "pearson", "position_partial"]

CONTROL_NAMES: tuple[str, ...] = get_args(ControlName)
GATE_NAMES: tuple[str, ...] = get_args(GateName)
SHAPE_NAMES: tuple[str, ...] = get_args(ShapeName)
SCHEDULE_NAMES: tuple[str, ...] = get_args(ScheduleName)
STATISTIC_NAMES: tuple[str, ...] = get_args(StatisticName)
