"""Fingerprints side by side: what may be compared, and by how much model types differ."""

import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import combinations
from typing import Any

import polars as pl

from corrpo.errors import BadInputError
from corrpo.measurement.fingerprint import STATISTICS, Fingerprint
from corrpo.measurement.labelled_fingerprints import FORM, Labelled, refuse_twice
from corrpo.measurement.layer_count import layer_count
from corrpo.models.generation.sampling import check_seed
from corrpo.statistics import Correlation, Difference, TokenSeries, compare
from corrpo.statistics.interval import FEW_SAMPLES
from corrpo.statistics.settings import check_settings
from corrpo.strength.estimators import measures_last_layer_alone

SCHEMA_VERSION = 1
COMPARED = ("estimator", "norm", "target", "projections", "layers", "kept")
"""Settings that must agree: with other values, other quantities are measured."""
OWN_TO_EACH = ("model", "revision", "samples", "output", "untrained")
"""Settings that name what is compared, and so differ."""


@dataclass(frozen=True)
class Row:
    """One fingerprint in a comparison.

    Attributes:
        label: as given; `family` (empty without one) and `type` are its parts.
        sample_set: name of the sample set.
        folder: the fingerprint folder, as given.
        model: name of the model.
        model_digest: of its weights.
        samples_digest: of the samples.
        spearman: and the four after it, as in `Fingerprint`.
        untrained: the same statistics of random weights of the same architecture; None if not measured.
        baseline: as in `Fingerprint`; None in one of an older version.
        cut: share of the responses that ended at max_new_tokens; None if there are no responses.
        mean_entropy_bits: over the measured tokens; None if there are none.
        mean_strength: over the measured tokens; None if there are none.
        mean_response_tokens: response tokens per sample; None if there are no samples.
        n_tokens: tokens with a measured strength.
        n_samples: samples that they come from.
    """

    label: str
    family: str
    type: str
    sample_set: str
    folder: str
    model: str
    model_digest: str
    samples_digest: str
    spearman: Correlation
    pearson: Correlation
    spearman_by_token: Correlation
    pearson_by_token: Correlation
    position_partial: Correlation
    untrained: dict[str, Correlation] | None
    baseline: Correlation | None
    cut: float | None
    mean_entropy_bits: float | None
    mean_strength: float | None
    mean_response_tokens: float | None
    n_tokens: int
    n_samples: int


@dataclass(frozen=True)
class TypeDifference:
    """The correlation of type `b` less that of type `a`, of one family over the samples both answered.

    Attributes:
        family: empty where the labels have none.
        sample_set: name of the sample set.
        a: the type subtracted.
        b: the type subtracted from.
        difference: value, interval, p, shared and dropped samples; value None with a reason where the two
            were not measured on the same samples.
    """

    family: str
    sample_set: str
    a: str
    b: str
    difference: Difference


@dataclass(frozen=True)
class Comparison:
    """Fingerprints side by side.

    Attributes:
        measurement: the `COMPARED` settings, the same for every row.
        paired: how differences were computed: method, by, resamples, seed, confidence.
        rows: one per fingerprint, in the order of families, sample sets and types.
        differences: one per family, sample set and pair of types.
        notes: what else differs between the fingerprints and could explain a difference.
        versions: of corrpo, numpy and Python, of the comparison itself.
    """

    measurement: dict[str, Any]
    paired: dict[str, Any]
    rows: tuple[Row, ...]
    differences: tuple[TypeDifference, ...]
    notes: tuple[str, ...]
    versions: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON values; a correlation that does not exist is null with its reason."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}


def compare_fingerprints(
    labelled: Sequence[Labelled],
    *,
    method: str = "spearman",
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Comparison:
    """Check that fingerprints may be compared, and compare the types of each family on the same samples.

    Args:
        labelled: the fingerprints, in the order of the rows.
        method: of the differences: "spearman", "pearson" or "partial_spearman", by token position.
        resamples: of shared samples, for the interval of a difference; 0 for none.
        seed: of the resampling.
        confidence: of that interval.
        progress: wraps the pairs while they are computed, to show progress.

    Raises:
        BadInputError: the same label and sample set twice; `COMPARED` settings that differ (names them); a
            method or number out of range.
    """
    if not labelled:
        raise BadInputError(f"nothing to compare: {FORM}")
    check_settings(confidence, resamples=resamples)
    check_seed(seed)
    refuse_twice(labelled)
    _check_comparable(labelled)
    paired = {
        "method": method,
        "by": "position",
        "resamples": resamples,
        "seed": seed,
        "confidence": confidence,
    }
    return Comparison(
        measurement=measurement(labelled[0].fingerprint),
        paired=paired,
        rows=tuple(map(_row, labelled)),
        differences=tuple(_difference(a, b, paired) for a, b in progress(_pairs(labelled))),
        notes=tuple(_notes(labelled)),
        versions={name: version(name) for name in ("corrpo", "numpy")}
        | {"python": platform.python_version()},
    )


def measured_with(settings: Mapping[str, Any], layer_count: int | None) -> dict[str, Any]:
    """The `COMPARED` settings of a measurement, in which layers are numbered among so many, if that is known.

    Layers are "last" with an estimator that measures the last layer alone; all layers of a model are "all",
    however they were asked for; others are counted from the first.

    >>> measured_with({"estimator": "exact", "layers": [0, -1]}, 2)["layers"]
    'all'
    """
    compared = {name: settings.get(name) for name in COMPARED}
    compared["projections"] = list(compared["projections"] or [])
    layers = compared["layers"]
    if layers is not None and layer_count is not None:
        layers = sorted({layer % layer_count for layer in layers})
    if measures_last_layer_alone(compared["estimator"]):
        compared["layers"] = "last"
    elif layers is None or layers == list(range(layer_count or 0)):
        compared["layers"] = "all"
    else:
        compared["layers"] = layers
    return compared


def measurement(fingerprint: Fingerprint) -> dict[str, Any]:
    """`measured_with` of a fingerprint."""
    return measured_with(fingerprint.settings, layer_count(fingerprint.model, fingerprint.settings))


def _check_comparable(labelled: Sequence[Labelled]) -> None:
    first, *others = labelled
    expected = measurement(first.fingerprint)
    for other in others:
        given = measurement(other.fingerprint)
        differences = [
            f"{name} {expected[name]!r} and {given[name]!r}"
            for name in COMPARED
            if expected[name] != given[name]
        ]
        if differences:
            raise BadInputError(
                f"{first} and {other} were measured differently: {'; '.join(differences)}. "
                "Measure both with the same settings"
            )


def _notes(labelled: Sequence[Labelled]) -> list[str]:
    """What differs beyond the label and could explain a difference, and where samples are few, in words."""
    lines = []
    few = [
        f"{one.label} on {one.sample_set}"
        for one in labelled
        if one.fingerprint.spearman.low is not None and one.fingerprint.spearman.n_samples < FEW_SAMPLES
    ]
    if few:
        lines.append(f"fewer than {FEW_SAMPLES} samples, so do not rely on the intervals: {_some(few)}")
    facts = [_facts(one.fingerprint) for one in labelled]
    for name in dict.fromkeys(name for values in facts for name in values):
        by_value: dict[str, list[str]] = {}
        for one, values in zip(labelled, facts, strict=True):
            by_value.setdefault(repr(values.get(name)), []).append(f"{one.label} on {one.sample_set}")
        if len(by_value) > 1:
            held = "; ".join(f"{value} in {_some(owners)}" for value, owners in by_value.items())
            lines.append(f"{name} differs: {held}")
    for a, b in combinations(labelled, 2):
        if a.sample_set == b.sample_set and _digest(a) is not None and _digest(a) == _digest(b):
            lines.append(f"{a.label} and {b.label} on {a.sample_set} are the same model: {_digest(a)}")
    return lines


def _facts(fingerprint: Fingerprint) -> dict[str, Any]:
    settings = {
        f"setting {name}": value
        for name, value in fingerprint.settings.items()
        if name not in COMPARED and name not in OWN_TO_EACH
    }
    versions = {f"version of {name}": value for name, value in fingerprint.versions.items()}
    return {"dtype": fingerprint.model.get("dtype")} | settings | versions


def _digest(labelled: Labelled) -> str | None:
    return labelled.fingerprint.model.get("digest")


def _some(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _row(labelled: Labelled) -> Row:
    fingerprint = labelled.fingerprint
    tokens = fingerprint.measured_tokens
    samples = fingerprint.tokens["sample"].n_unique()
    return Row(
        label=labelled.label,
        family=labelled.family,
        type=labelled.type,
        sample_set=labelled.sample_set,
        folder=str(labelled.folder),
        model=str(fingerprint.model.get("name")),
        model_digest=str(fingerprint.model.get("digest")),
        samples_digest=str(fingerprint.samples.get("digest")),
        **{name: fingerprint.statistics[name] for name in STATISTICS},
        untrained=fingerprint.untrained,
        baseline=fingerprint.baseline,
        cut=fingerprint.cut_share,
        mean_entropy_bits=mean_or_none(tokens["entropy_bits"]),
        mean_strength=mean_or_none(tokens["strength"]),
        mean_response_tokens=fingerprint.tokens.height / samples if samples else None,
        n_tokens=tokens.height,
        n_samples=tokens["sample"].n_unique(),
    )


def mean_or_none(column: pl.Series) -> float | None:
    """The mean of a column of numbers; None if it is empty."""
    return float(column.to_numpy().mean()) if len(column) else None


def _pairs(labelled: Sequence[Labelled]) -> list[tuple[Labelled, Labelled]]:
    return [
        (a, b) for a, b in combinations(labelled, 2) if (a.family, a.sample_set) == (b.family, b.sample_set)
    ]


def _difference(a: Labelled, b: Labelled, paired: dict[str, Any]) -> TypeDifference:
    difference = fingerprint_difference(a.fingerprint, b.fingerprint, names=(a.type, b.type), **paired)
    return TypeDifference(a.family, a.sample_set, a.type, b.type, difference)


def fingerprint_difference(
    a: Fingerprint,
    b: Fingerprint,
    *,
    names: tuple[str, str],
    method: str,
    by: str,
    resamples: int,
    seed: int,
    confidence: float,
) -> Difference:
    """The correlation of fingerprint `b` less that of `a`, over the samples that both were measured on.

    `names` are theirs in a reason; what follows is as in `corrpo.statistics.difference_estimate.compare`. The
    value is None, with a reason, where they were not measured on the same samples.
    """
    first, second = a.measured_tokens, b.measured_tokens
    shared = set(first["sample"]) & set(second["sample"])
    if a.samples.get("digest") != b.samples.get("digest"):
        reason = "not measured on the same samples: their digests differ"
    elif not shared:
        reason = "no sample was measured in both"
    else:
        difference = compare(
            _series(first),
            _series(second),
            method=method,
            by=by,
            resamples=resamples,
            seed=seed,
            confidence=confidence,
            on_missing="drop",
        )
        if difference.reason:
            named = difference.reason.replace("model a:", f"{names[0]}:").replace("model b:", f"{names[1]}:")
            difference = replace(difference, reason=named)
        return difference
    return Difference(None, None, None, None, 0, len(set(first["sample"]) ^ set(second["sample"])), reason)


def _series(tokens: pl.DataFrame) -> TokenSeries:
    return TokenSeries(
        entropy=tokens["entropy_bits"].to_numpy(),
        strength=tokens["strength"].to_numpy(),
        sample=tokens["sample"].to_list(),
        position=tokens["position"].to_numpy(),
    )
