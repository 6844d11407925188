"""The diagnosis of models by their fingerprints: a table over families and training regimes, with intervals.

A row is a model: rho over its own responses, the same with position held constant, the same responses under
random weights, what changed from the models it is set against (paired over the samples both answered), and
its accuracy, found by the digest of its weights. Families may have other projections, as those without
attention have; everything else of the measurement is the same for all.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from corrpo.errors import BadInputError
from corrpo.evaluation.results import Evaluation
from corrpo.measurement.comparison import Comparison, Row, compare_fingerprints
from corrpo.measurement.labelled_fingerprints import Labelled
from corrpo.statistics import Correlation, Difference
from corrpo.statistics.accuracy_estimate import Estimate

SCHEMA_VERSION = 1
_SAME = ("estimator", "norm", "target")
_OF_A_CORRELATION = {
    "rho": "spearman",
    "rho_position_held": "position_partial",
    "rho_by_token": "spearman_by_token",
}


@dataclass(frozen=True)
class Diagnosed:
    """One model of a diagnosis.

    Attributes:
        row: its fingerprint in the comparison of its family.
        projections: what was measured.
        changes: by the type it is set against, the difference of correlations; that type itself has none.
        accuracy: pass@1 on `suite`, or average@n, which is the same; None if the model was not evaluated.
        suite: name of the suite.
    """

    row: Row
    projections: tuple[str, ...]
    changes: dict[str, Difference]
    accuracy: Estimate | None = None
    suite: str | None = None


@dataclass(frozen=True)
class Diagnosis:
    """Models of some families side by side.

    Attributes:
        models: in the order of families, sample sets and types.
        against: the types that changes are taken from.
        comparisons: one of each family, with all differences and notes.
    """

    models: tuple[Diagnosed, ...]
    against: tuple[str, ...]
    comparisons: tuple[Comparison, ...]

    def table(self) -> pl.DataFrame:
        """Every number: a row for a model; a number that does not exist is null.

        Columns: family, regime, sample_set, model, model_digest, projections; of rho (over positions),
        rho_position_held, rho_by_token, untrained and baseline: the value, _low, _high and _p (of
        permutations; of a change, that of its t); n_tokens, n_samples,
        response_tokens, entropy_bits, strength (means); of change_from_TYPE: the value, _low, _high, _p;
        accuracy, _low, _high, accuracy_problems, accuracy_generations, suite; source, the fingerprint's
        folder.
        """
        return pl.DataFrame([_record(model, self.against) for model in self.models], infer_schema_length=None)

    def as_dict(self) -> dict[str, Any]:
        """The settings, the versions, all differences and the notes, JSON-safe."""
        return {
            "schema_version": SCHEMA_VERSION,
            "against": list(self.against),
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
        }


def diagnose(
    labelled: Sequence[Labelled],
    evaluations: Sequence[Evaluation] = (),
    *,
    against: Sequence[str] = ("base",),
    method: str = "spearman",
    resamples: int = 1000,
    seed: int = 0,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Diagnosis:
    """Set models of some families side by side.

    Args:
        labelled: fingerprints under FAMILY/TYPE, in order.
        evaluations: of any models; those of other weights, or with no digest of theirs, are passed over.
        against: types that changes are taken from, within each family and sample set that has them.
        method: of the changes, as in `corrpo.measurement.comparison.compare_fingerprints`.
        resamples: for the interval of a change.
        seed: of the resampling.
        progress: wraps the pairs of a family.

    Raises:
        BadInputError: as `compare_fingerprints`; families measured with another estimator, norm or target;
            a type in `against` that there is not, or whose columns are those of another; a model with two
            evaluations, or one without pass@1.
    """
    families = list(dict.fromkeys(row.family for row in labelled))
    comparisons = tuple(
        compare_fingerprints(
            [row for row in labelled if row.family == family],
            method=method,
            resamples=resamples,
            seed=seed,
            progress=progress,
        )
        for family in families
    )
    _check_families(families, comparisons)
    types = dict.fromkeys(row.type for row in labelled)
    for name in against:
        if name not in types:
            raise BadInputError(f"against {name!r}: there is no such type; there are {', '.join(types)}")
        clash = next((one for one in against if one in (f"{name}_low", f"{name}_high", f"{name}_p")), None)
        if clash:
            raise BadInputError(
                f"against {name!r} and {clash!r}: the columns of one change would be those of the other; "
                "give one of the types another name"
            )
    scored = _by_digest(evaluations)
    models = tuple(
        _diagnosed(row, comparison, against, scored) for comparison in comparisons for row in comparison.rows
    )
    return Diagnosis(models, tuple(against), comparisons)


def _check_families(families: Sequence[str], comparisons: Sequence[Comparison]) -> None:
    first = comparisons[0].measurement
    for family, comparison in zip(families, comparisons, strict=True):
        for name in _SAME:
            if comparison.measurement[name] != first[name]:
                raise BadInputError(
                    f"{name} is {first[name]} in {families[0]} and {comparison.measurement[name]} in "
                    f"{family}: other quantities were measured; measure all families alike"
                )


def _by_digest(evaluations: Sequence[Evaluation]) -> dict[str, Evaluation]:
    by_digest: dict[str, Evaluation] = {}
    for evaluation in evaluations:
        if evaluation.model["digest"] is None:  # vLLM holds the weights
            continue
        first = by_digest.setdefault(evaluation.model["digest"], evaluation)
        if first is not evaluation:
            raise BadInputError(
                f"the weights of {evaluation.model['name']} were evaluated twice, on {first.suite['name']} "
                f"and on {evaluation.suite['name']}: give the folder of one evaluation of each model"
            )
    return by_digest


def _diagnosed(
    row: Row, comparison: Comparison, against: Sequence[str], scored: dict[str, Evaluation]
) -> Diagnosed:
    changes = {}
    for name in against:
        change = _change(row, comparison, name)
        if change is not None:
            changes[name] = change
    evaluation = scored.get(row.model_digest)
    return Diagnosed(
        row,
        tuple(comparison.measurement["projections"]),
        changes,
        evaluation and _accuracy(evaluation),
        evaluation and evaluation.suite["name"],
    )


def _accuracy(evaluation: Evaluation) -> Estimate:
    """pass@1; where only other k were asked for, the average over the n generations, which is the same."""
    for measure, estimate in evaluation.estimates.items():
        if measure == "pass@1" or measure.startswith("average@"):
            return estimate
    raise BadInputError(
        f"{evaluation.model['name']} has no pass@1 on {evaluation.suite['name']}, only "
        f"{', '.join(evaluation.estimates) or 'nothing'}: evaluate it again without --k"
    )


def _change(row: Row, comparison: Comparison, start: str) -> Difference | None:
    """The correlation of a row less that of the type `start`, whichever of the two comes first."""
    for pair in comparison.differences:
        if pair.sample_set != row.sample_set:
            continue
        if (pair.a, pair.b) == (start, row.type):
            return pair.difference
        if (pair.a, pair.b) == (row.type, start):
            return _turned(pair.difference)
    return None


def _turned(difference: Difference) -> Difference:
    value, low, high = (
        None if end is None else -end for end in (difference.value, difference.high, difference.low)
    )
    return replace(difference, value=value, low=low, high=high)


def _record(model: Diagnosed, against: Sequence[str]) -> dict[str, Any]:
    row = model.row
    record: dict[str, Any] = {
        "family": row.family,
        "regime": row.type,
        "sample_set": row.sample_set,
        "model": row.model,
        "model_digest": row.model_digest,
        "projections": " ".join(model.projections),
    }
    for name, statistic in _OF_A_CORRELATION.items():
        record |= _parts(name, getattr(row, statistic))
    record |= _parts("untrained", (row.untrained or {}).get("spearman"))
    record |= _parts("baseline", row.baseline)
    record |= {
        "n_tokens": row.n_tokens,
        "n_samples": row.n_samples,
        "response_tokens": row.mean_response_tokens,
        "entropy_bits": row.mean_entropy_bits,
        "strength": row.mean_strength,
    }
    for name in against:
        record |= _parts(f"change_from_{name}", model.changes.get(name))
    accuracy = model.accuracy
    return record | {
        "accuracy": accuracy and accuracy.value,
        "accuracy_low": accuracy and accuracy.low,
        "accuracy_high": accuracy and accuracy.high,
        "accuracy_problems": accuracy and accuracy.n_problems,
        "accuracy_generations": accuracy and accuracy.n_samples,
        "suite": model.suite,
        "source": row.folder,
    }


def _parts(name: str, result: Correlation | Difference | None) -> dict[str, float | None]:
    ends = ("value", "low", "high", "p")
    names = (name, f"{name}_low", f"{name}_high", f"{name}_p")
    return {key: result and getattr(result, end) for key, end in zip(names, ends, strict=True)}
