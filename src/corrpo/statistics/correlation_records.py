"""What a correlation and a difference of correlations are reported as."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from corrpo.errors import BadInputError

R = TypeVar("R", bound="Record")


class Record:
    """A frozen dataclass of JSON values, to and from a dict."""

    def as_dict(self) -> dict[str, Any]:
        """The fields by name: numbers, text and null, never NaN."""
        return asdict(self)  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_dict(cls: type[R], record: Mapping[str, Any]) -> R:
        """The inverse of `as_dict`.

        Raises:
            BadInputError: a field is missing or unknown.
        """
        names = {field.name for field in fields(cls)}  # pyright: ignore[reportArgumentType]
        if set(record) != names:
            raise BadInputError(
                f"a {cls.__name__} has the fields {', '.join(sorted(names))}; "
                f"missing: {sorted(names - set(record))}, unknown: {sorted(set(record) - names)}"
            )
        return cls(**record)


@dataclass(frozen=True)
class Correlation(Record):
    """A correlation over tokens.

    Attributes:
        value: the coefficient, in [-1, 1]; None if it does not exist.
        low: lower end of its confidence interval; None if there is no interval.
        high: upper end.
        p: permutation p-value, two-sided; None if there is nothing to permute.
        n_tokens: tokens, or unique tokens, that it is over.
        n_samples: samples that they come from.
        reason: why something above is None, else None.

    >>> print(Correlation(-0.42, -0.51, -0.33, 0.002, 1234, 64))
    -0.42 [-0.51, -0.33] permutation p=0.002 (1,234 tokens, 64 samples)
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    n_tokens: int
    n_samples: int
    reason: str | None = None

    def __str__(self) -> str:
        tokens = f"{counted(self.n_tokens, 'token')}, {counted(self.n_samples, 'sample')}"
        p = _p("permutation p", self.p)
        return sentence(self.value, self.low, self.high, tokens, self.reason, p)


@dataclass(frozen=True)
class Difference(Record):
    """The correlation of model b less that of model a, over the same samples.

    Attributes:
        value: rho_b - rho_a, in [-2, 2]; None if one of them does not exist.
        low: lower end of its confidence interval; None if there is no interval.
        high: upper end.
        p: two-sided p of no difference, of the t behind the interval; None if there is no interval.
        n_samples: samples that both models have.
        n_dropped: samples that only one model has, left out on request.
        reason: why something above is None, else None.

    >>> print(Difference(-0.3, -0.41, -0.19, 0.0004, 64, 2))
    -0.30 [-0.41, -0.19] p of t=0.0004 (64 samples, 2 dropped)
    """

    value: float | None
    low: float | None
    high: float | None
    p: float | None
    n_samples: int
    n_dropped: int = 0
    reason: str | None = None

    def __str__(self) -> str:
        dropped = f", {self.n_dropped:,} dropped" if self.n_dropped else ""
        samples = counted(self.n_samples, "sample") + dropped
        p = _p("p of t", self.p)
        return sentence(self.value, self.low, self.high, samples, self.reason, p)


def counted(number: int, noun: str) -> str:
    """A number of things: "1 token", "2,000 tokens"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def sentence(
    value: float | None, low: float | None, high: float | None, sizes: str, reason: str | None, p: str = ""
) -> str:
    """A value with its interval, p as `_p` writes it and sizes, and the reason why something is missing."""
    parts = ["undefined" if value is None else decimal(value)]
    if low is not None and high is not None:
        parts.append(f"[{decimal(low)}, {decimal(high)}]")
    parts += [p] if p else []
    parts.append(f"({sizes})")
    return " ".join(parts) + (f": {reason}" if reason else "")


def _p(name: str, p: float | None) -> str:
    if p is None:
        return ""
    return f"{name}={p:.1g}" if p < 0.095 else f"{name}={p:.2f}"


def decimal(value: float) -> str:
    """Two decimals, and never "-0.00".

    >>> decimal(-0.421), decimal(-0.001)
    ('-0.42', '0.00')
    """
    return f"{round(value, 2) + 0.0:.2f}"
