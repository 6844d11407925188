"""The checks of types and shapes behind the suite: beartype, and jaxtyping where an annotation tells a shape.

jaxtyping's import hook binds the arguments of every call of every function twice, which takes longer than
most of what it checks. A function whose annotations tell no shape is left to beartype alone, with the same
checks; one that is defined anew in every call of another, to none.
"""

import inspect
from dataclasses import is_dataclass
from typing import Any, ForwardRef, Literal, get_args, get_origin

import jaxtyping
from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""The type checker: an int is a float, as in PEP 484."""

_checked_with_shapes = jaxtyping.jaxtyped


def names_a_shape(annotation: Any) -> bool:
    """Whether an annotation is or holds an array type of jaxtyping, or a name that jaxtyping looks up."""
    if isinstance(annotation, str | ForwardRef):
        return True
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    if get_origin(annotation) is Literal:
        return False
    parts = annotation if isinstance(annotation, list) else get_args(annotation)
    return any(map(names_a_shape, parts))


def jaxtyped(*, typechecker: Any) -> Any:
    """The decorator that jaxtyping's hook puts on every function and class."""

    def decorate(decorated: Any) -> Any:
        if is_dataclass(decorated):
            if "__init__" in vars(decorated):
                decorated.__init__ = decorate(decorated.__init__)
            return decorated
        if not inspect.isfunction(decorated):
            return _checked_with_shapes(decorated, typechecker=typechecker)
        if any(map(names_a_shape, inspect.get_annotations(decorated).values())):
            return _checked_with_shapes(decorated, typechecker=typechecker)
        return decorated if "<locals>" in decorated.__qualname__ else typechecker(decorated)

    return decorate


def install() -> None:
    """Check every module of corrpo that is imported from now on."""
    jaxtyping.jaxtyped = jaxtyped
    jaxtyping.install_import_hook("corrpo", "shape_checks.checked")
