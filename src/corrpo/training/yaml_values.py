"""Values of a YAML file against the type hints of config fields: converted where nothing is lost."""

import types
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin


def convert_value(value: Any, hint: Any) -> Any:
    """The value as the hinted type wants it.

    YAML gives 1e-3 (without a dot) as text and 1 for a float; both are taken. Nothing else changes type.

    Raises ValueError if the value is not of the type.

    >>> convert_value("1e-3", float), convert_value([1, 2], list[float]), convert_value(None, int | None)
    (0.001, [1.0, 2.0], None)
    """
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _first_fitting(value, get_args(hint))
    if origin is Literal:
        return _require(value in get_args(hint), value)
    if origin is list:
        _require(isinstance(value, list), value)
        return [convert_value(item, get_args(hint)[0]) for item in value]
    return _plain(value, origin or hint)


def _first_fitting(value: Any, arms: tuple[Any, ...]) -> Any:
    for arm in arms:
        try:
            return convert_value(value, arm)
        except ValueError:
            continue
    raise ValueError(value)


def _plain(value: Any, kind: type) -> Any:
    if kind is float:
        _require(isinstance(value, int | float | str) and not isinstance(value, bool), value)
        return float(value)
    if kind is int:
        return _require(isinstance(value, int) and not isinstance(value, bool), value)
    if issubclass(kind, Enum):
        return _require(value in [member.value for member in kind], value)
    return _require(isinstance(value, kind), value)


def _require(fits: bool, value: Any) -> Any:
    if not fits:
        raise ValueError(value)
    return value
