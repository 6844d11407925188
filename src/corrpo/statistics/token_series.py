"""The columns that every statistic reads, checked once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from corrpo.errors import BadInputError
from corrpo.statistics.coefficients import Array, Vector, finite_vector

METHODS = ("spearman", "pearson", "partial_spearman")
UNITS = ("position", "token")


@dataclass(frozen=True, eq=False)
class TokenSeries:
    """One row per response token of one model.

    Attributes:
        entropy: float [n], bits.
        strength: float [n], gradient strength.
        sample: int or str [n], the id of the sample that the token belongs to.
        position: number [n], index of the token in its response; needed by "partial_spearman".
        token_id: int [n], vocabulary id; needed by `by="token"`.
    """

    entropy: Vector
    strength: Vector
    sample: Vector
    position: Vector | None = None
    token_id: Vector | None = None


@dataclass(frozen=True, eq=False)
class Columns:
    """A checked series, its tokens sorted by sample (those of a sample in the order given).

    Attributes:
        values: entropy, strength, and position for "partial_spearman": float64 [n] by name.
        sample: int64 [n], index into `ids`, ascending.
        ids: the distinct sample ids, sorted.
        token: int64 [n], index of the token id among the distinct ones; None by position.
        method: one of `METHODS`.
    """

    values: dict[str, Array]
    sample: NDArray[np.int64]
    ids: np.ndarray
    token: NDArray[np.int64] | None
    method: str

    @property
    def n_samples(self) -> int:
        """Number of distinct samples."""
        return len(self.ids)

    def starts(self) -> NDArray[np.int64]:
        """int64 [n_samples + 1]: tokens starts[s]:starts[s + 1] are those of sample s."""
        return np.searchsorted(self.sample, np.arange(self.n_samples + 1))

    def only(self, keep: np.ndarray) -> "Columns":
        """The same series with only the samples where `keep`, bool [n_samples], is true."""
        rows = keep[self.sample]
        token = None if self.token is None else np.unique(self.token[rows], return_inverse=True)[1]
        return Columns(
            {name: column[rows] for name, column in self.values.items()},
            (np.cumsum(keep) - 1)[self.sample[rows]],
            self.ids[keep],
            token,
            self.method,
        )


def check_series(series: TokenSeries, *, method: str, by: str, label: str = "") -> Columns:
    """Check `series` for `method` and `by` and sort it by sample; `label` names it in errors."""
    one_of("method", method, METHODS)
    one_of("by", by, UNITS)
    sample = _ids("sample", series.sample, label)
    if not len(sample):
        raise BadInputError(f"{label}there are no tokens: entropy, strength and sample are empty")
    values = {
        "entropy": _column("entropy", series.entropy, sample, label),
        "strength": _column("strength", series.strength, sample, label),
    }
    if method == "partial_spearman":
        values["position"] = _column(
            "position", _present("position", series.position, method, label), sample, label
        )
    token = None
    if by == "token":
        token = _ids("token_id", _present("token_id", series.token_id, 'by="token"', label), label)
        _same_length("token_id", token, sample, label)
        token = np.unique(token, return_inverse=True)[1].astype(np.int64)
    ids, index = np.unique(sample, return_inverse=True)
    order = np.argsort(index, kind="stable")
    values = {name: column[order] for name, column in values.items()}
    return Columns(
        values, index[order].astype(np.int64), ids, None if token is None else token[order], method
    )


def one_of(name: str, given: str, allowed: Sequence[str]) -> None:
    """Raise BadInputError unless `given` is in `allowed`."""
    if given not in allowed:
        raise BadInputError(f"{name} must be one of {', '.join(allowed)}, not {given!r}")


def _present(name: str, values: Vector | None, needed_by: str, label: str) -> Vector:
    if values is None:
        raise BadInputError(f"{label}{needed_by} needs {name}, and none was given")
    return values


def _column(name: str, values: Vector, sample: np.ndarray, label: str) -> Array:
    array = np.asarray(values)
    if array.ndim == 1:
        _same_length(name, array, sample, label)
    if array.dtype.kind in "fc":
        bad = ~np.isfinite(array)
        if array.ndim == 1 and bad.any():
            first = int(np.argmax(bad))
            raise BadInputError(
                f"{label}{name}[{first}] is {array[first]}, in sample {sample.tolist()[first]!r} "
                f"({bad.sum()} of {len(array)} values are not finite)"
            )
    return finite_vector(f"{label}{name}", array)


def _ids(name: str, values: Vector, label: str) -> np.ndarray:
    array = np.asarray(values, dtype=object if isinstance(values, list | tuple) else None)
    if array.ndim != 1:
        raise BadInputError(f"{label}{name} must have one dimension, not the shape {array.shape}")
    if array.dtype.kind == "O" and len(array):
        kind = str if isinstance(array[0], str) else int | np.integer
        wrong = [i for i, value in enumerate(array) if not isinstance(value, kind) or isinstance(value, bool)]
        if wrong:
            raise BadInputError(
                f"{label}{name}[{wrong[0]}] is {array[wrong[0]]!r}: ids are all int or all str"
            )
        array = np.asarray(array.tolist())
    if len(array) and array.dtype.kind not in "iuUT":
        raise BadInputError(f"{label}{name} must be ids of type int or str, not {array.dtype}")
    return array


def _same_length(name: str, array: np.ndarray, sample: np.ndarray, label: str) -> None:
    if len(array) != len(sample):
        raise BadInputError(
            f"{label}{name} has {len(array)} tokens, sample has {len(sample)}: give one per token"
        )
