"""Settings of a frozen dataclass as the flat keywords of a function, for type checkers and for `help()`.

    @keywords_of(MeasureOptions)
    def measure(model, tokenizer, samples, options: MeasureOptions): ...

    measure(model, tokenizer, samples, max_tokens=64)

The dataclass is the one list of the settings: their types, defaults, meanings and checks.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from itertools import pairwise
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from typing_extensions import Doc

from corrpo.errors import BadInputError, did_you_mean
from corrpo.models.typed_values import check_types

P = ParamSpec("P")
S = TypeVar("S")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")


class keywords_of(Generic[P, S]):
    """Decorator: a function whose last parameter is an object of settings takes its fields as keywords.

    At run time the other parameters keep their names, and the signature and the docstring list every field
    with its type, default and meaning. A type checker sees the other parameters as positional.

    Args:
        settings: a dataclass of keyword-only fields (`kw_only=True`), with a docstring below each.

    Raises:
        BadInputError: on a call with a keyword that there is not or a value of another type, and whatever the
            dataclass raises.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Size:
    ...     width: int = 3
    >>> @keywords_of(Size)
    ... def area(height: int, size: Size) -> int:
    ...     '''Area of a rectangle.'''
    ...     return height * size.width
    >>> area(2), area(2, width=5)
    (6, 10)
    >>> inspect.signature(area)
    <Signature (height: int, *, width: int = 3) -> int>
    >>> area(2, widht=5)
    Traceback (most recent call last):
    corrpo.errors.BadInputError: area has no option 'widht'; it has width; did you mean width?
    """

    def __init__(self, settings: Callable[P, S]):
        self.settings: Any = settings

    @overload
    def __call__(self, function: Callable[[A, S], R]) -> Callable[Concatenate[A, P], R]: ...
    @overload
    def __call__(self, function: Callable[[A, B, S], R]) -> Callable[Concatenate[A, B, P], R]: ...
    @overload
    def __call__(self, function: Callable[[A, B, C, S], R]) -> Callable[Concatenate[A, B, C, P], R]: ...
    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function that takes the keywords."""
        *own, last = inspect.signature(function).parameters.values()
        keywords = [
            parameter.replace(kind=parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(self.settings).parameters.values()
        ]
        returns = inspect.signature(function).return_annotation
        signature = inspect.Signature([*own, *keywords], return_annotation=returns)
        known = [keyword.name for keyword in keywords]
        name = function.__qualname__.removesuffix(".__init__")

        @wraps(function)
        def with_keywords(*args: Any, **given: Any) -> Any:
            check_keywords(name, given.keys() - signature.parameters.keys(), known)
            bound = signature.bind(*args, **given).arguments
            options = {keyword: bound.pop(keyword) for keyword in known if keyword in bound}
            check_types(self.settings, options)
            return function(**bound, **{last.name: self.settings(**options)})

        with_keywords.__signature__ = signature  # pyright: ignore[reportAttributeAccessIssue]
        with_keywords.__doc__ = f"{inspect.getdoc(function)}\n\n{_meanings(self.settings)}"
        return with_keywords


def check_keywords(function: str, unknown: Any, known: list[str]) -> None:
    """Raise `BadInputError` on the first of the `unknown` keywords of a function; names the nearest known."""
    for keyword in sorted(unknown):
        hint = did_you_mean(keyword, known)
        raise BadInputError(f"{function} has no option {keyword!r}; it has {', '.join(known)}{hint}")


def narrow(options: Any, to: type[S]) -> S:
    """The part of an object of settings that a class it inherits from defines, as an object of that class.

    >>> from corrpo.models.load_options import LoadOptions
    >>> narrow(LoadOptions(dtype="float32"), LoadOptions).dtype
    'float32'
    """
    return to(**{field.name: getattr(options, field.name) for field in fields(to)})  # pyright: ignore


def plain_settings(options: Any) -> dict[str, Any]:
    """The fields of an object of settings by name, JSON-safe: tuples become lists.

    >>> from corrpo.models.load_options import LoadOptions
    >>> plain_settings(LoadOptions())["dtype"]
    'auto'
    """
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def field_meanings(settings: type) -> dict[str, str]:
    """The docstrings below the fields of a dataclass and of those it inherits from, by field, each one line.

    A `Doc` in the annotation of a field takes their place. A class whose source is not at hand has none.
    """
    meanings = {}
    for owner in reversed(settings.__mro__):
        if "__dataclass_fields__" not in vars(owner):
            continue
        try:
            source = textwrap.dedent(inspect.getsource(owner))
        except (OSError, TypeError):
            continue
        body = ast.parse(source).body[0].body  # pyright: ignore[reportAttributeAccessIssue]
        for statement, following in pairwise(body):
            match statement, following:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str() as text)),
                ):
                    meanings[name] = " ".join(text.split())
        for name, annotation in vars(owner).get("__annotations__", {}).items():
            for item in getattr(annotation, "__metadata__", ()):
                if isinstance(item, Doc):
                    meanings[name] = item.documentation
    return meanings


def _meanings(settings: type) -> str:
    """The section of a docstring that lists the keywords, with defaults and meanings."""
    meanings = field_meanings(settings)
    entries = []
    for parameter in inspect.signature(settings).parameters.values():
        default = "needed" if parameter.default is parameter.empty else f"default {parameter.default!r}"
        text = f"{parameter.name} ({default}): {meanings.get(parameter.name, '')}".rstrip()
        entries.append(textwrap.fill(text, 100, initial_indent=" " * 4, subsequent_indent=" " * 8))
    return "\n".join(["Keywords:", *entries])
