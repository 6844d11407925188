"""The threshold beyond which a generation is flagged, from labels, for a stated false-alarm rate.

A false alarm is a flag on a generation that is not one of low reasoning. The threshold is an order statistic
of the rhos of n such generations, which gives a guarantee at any n and for any distribution (split conformal
prediction; Vovk 2012 for the second), as long as new prompts come from where these came from:

- on average over calibrations: the k-th of n with k = ceil((1 - rate)(n + 1)) is passed by a new generation
  with probability at most `rate`;
- with `confidence` c: the rate that a threshold really has is at most Beta(n + 1 - k, k) distributed, and k
  is the least for which P(Beta <= rate) >= c. This calibration then keeps the rate with probability c.

Several generations of one prompt are not independent: one per prompt is drawn (Dunn, Wasserman & Ramdas
2022, subsampling once), so the guarantee is for one generation of a new prompt. It is drawn before its label
and its rho are looked at, and serves the threshold if it is normal and has a rho: drawn among the normal ones
alone, prompts that are seldom answered well would count more than they do in use, and the rate would be
broken wherever rho goes with the prompt's difficulty. A generation without rho is never flagged.

Which side is that of low reasoning is not taken for granted, as rho has been seen with either sign:
`side="learned"` finds it on a third of the prompts, which the threshold then does not use.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from scipy import stats

from corrpo.errors import BadInputError, check_known
from corrpo.jobs.files import read_versioned, write_json
from corrpo.models.generation.sampling import check_seed
from corrpo.statistics.accuracy_estimate import estimate_average

SCHEMA_VERSION = 1
Side = Literal["learned", "high", "low"]


@dataclass(frozen=True)
class Labelled:
    """What calibration needs of one generation.

    Attributes:
        prompt: what tells its prompt from others.
        low: whether it is one of low reasoning.
        rho: Spearman's rho over all of its tokens; None if it has none.
        highest: the highest rho of the running window; None if it has none.
        lowest: the lowest.
    """

    prompt: str
    low: bool
    rho: float | None
    highest: float | None
    lowest: float | None


@dataclass(frozen=True)
class Calibration:
    """Thresholds, where they come from, and what they hold for. As JSON: `save` and `load`.

    Attributes:
        side: "high" flags rhos above the thresholds, "low" those below.
        rate: the false-alarm rate promised of each threshold.
        confidence: probability that this calibration keeps it; None for the promise on average.
        whole: threshold of the rho over all tokens.
        running: threshold of the running rho, for a flag at any token of a generation.
        model: what `describe_model` tells of the model; its digest decides.
        settings: the options that rho depends on.
        facts: counts, and what was seen of detection: for reading, not for use.
    """

    side: str
    rate: float
    confidence: float | None
    whole: float
    running: float
    model: dict[str, Any]
    settings: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)

    def beyond(self, value: float | None, threshold: float) -> bool | None:
        """Whether a rho lies beyond a threshold of this calibration; None for no rho."""
        if value is None:
            return None
        return value > threshold if self.side == "high" else value < threshold

    def check(self, digest: str, settings: dict[str, Any]) -> None:
        """Refuse another model, or other settings, than those calibrated.

        Raises:
            BadInputError: says what differs.
        """
        if digest != self.model["digest"]:
            raise BadInputError(
                f"the calibration is of {self.model['name']} (digest {self.model['digest'][:12]}), and this "
                f"model has digest {digest[:12]}: rho differs between models, so calibrate this one"
            )
        other = [
            name for name in {*settings, *self.settings} if settings.get(name) != self.settings.get(name)
        ]
        if other:
            listed = ", ".join(
                f"{n}={settings.get(n)!r} (calibrated {self.settings.get(n)!r})" for n in sorted(other)
            )
            raise BadInputError(
                f"the calibration is of other settings: {listed}; use those, or calibrate again"
            )

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        write_json(path, {"schema_version": SCHEMA_VERSION, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> "Calibration":
        """Read what `save` wrote.

        Raises:
            BadInputError: no such file, or not a calibration.
        """
        record = read_versioned(path, SCHEMA_VERSION, "calibrate again")
        record.pop("schema_version")
        try:
            calibration = cls(**record)
            numbers = (calibration.rate, calibration.whole, calibration.running)
            if calibration.side not in ("high", "low") or not all(
                math.isfinite(number) for number in numbers
            ):
                raise ValueError("no such side, or a number that is not finite")
            if not isinstance(calibration.model["digest"], str) or not isinstance(calibration.settings, dict):
                raise ValueError("no digest of a model, or no settings")
        except (TypeError, KeyError, ValueError) as error:
            raise BadInputError(f"{path} is not a calibration of the monitor: {error}") from error
        return calibration


def calibrate(
    generations: Iterable[Labelled],
    *,
    rate: float = 0.05,
    confidence: float | None = None,
    side: str = "learned",
    seed: int = 0,
    model: dict[str, Any],
    settings: dict[str, Any],
) -> Calibration:
    """Thresholds for a false-alarm rate.

    Args:
        generations: labelled ones; of each prompt one is drawn.
        rate: the largest false-alarm rate, in (0, 1).
        confidence: probability that this calibration keeps the rate; None for the promise on average.
        side: "high", "low", or "learned" from a third of the prompts.
        seed: of the draws of prompts and generations.
        model: kept in the result; needs "name" and "digest".
        settings: kept in the result.

    Raises:
        BadInputError: a setting out of range, labels of one kind only where the side is to be learned, or too
            few prompts for the rate; says how many are needed.
    """
    _check(rate, confidence, side)
    check_seed(seed)
    rng = np.random.default_rng(seed)
    given = kept = list(generations)
    if side == "learned":
        first, kept = _split(given, rng)
        side = "high" if _auc_of(first) >= 0.5 else "low"
    normal = [row for row in _one_per_prompt(kept, rng) if not row.low]
    whole, running = (
        _threshold(normal, value, side, rate, confidence) for value in (_response_rho, _PEAKS[side])
    )
    result = Calibration(side, rate, confidence, whole, running, model, settings)
    facts = {
        "generations": len(given),
        "without_rho": sum(row.rho is None for row in given),
        "normal_prompts": sum(row.rho is not None for row in normal),
        "rank": threshold_rank(sum(row.rho is not None for row in normal), rate, confidence),
        "seed": seed,
        **_detection(kept, result),
    }
    return replace(result, facts=facts)


def threshold_rank(n: int, rate: float, confidence: float | None = None) -> int:
    """The k of the k-th smallest of n scores beyond which a new one falls at most at `rate`.

    Raises:
        BadInputError: n is too small for the rate; says how many are needed.

    >>> threshold_rank(99, 0.05), threshold_rank(99, 0.05, confidence=0.9)
    (95, 98)
    """
    if confidence is None:
        k, needed = math.ceil((1 - rate) * (n + 1) - 1e-9), math.ceil(1 / rate - 1 - 1e-9)
    else:
        kept = np.flatnonzero(stats.beta.cdf(rate, n - np.arange(n), np.arange(1, n + 1)) >= confidence)
        k = int(kept[0]) + 1 if len(kept) else n + 1
        needed = math.ceil(math.log(1 - confidence) / math.log(1 - rate) - 1e-9)
    if k > n:
        promised = "" if confidence is None else f" with confidence {confidence:g}"
        raise BadInputError(
            f"a false-alarm rate of {rate:g}{promised} needs {needed} prompts whose drawn generation "
            f"is normal and has a rho, beside those that teach the side; there are {n}: give more, or a "
            "higher rate"
        )
    return max(k, 1)


def _check(rate: float, confidence: float | None, side: str) -> None:
    if not 0 < rate < 1:
        raise BadInputError(f"rate={rate}: expected a share between 0 and 1, such as 0.05")
    if confidence is not None and not 0 < confidence < 1:
        raise BadInputError(f"confidence={confidence}: expected a probability between 0 and 1, such as 0.9")
    check_known("side", side, get_args(Side))


def _split(
    generations: Sequence[Labelled], rng: np.random.Generator
) -> tuple[list[Labelled], list[Labelled]]:
    """A third of the prompts, and the rest."""
    prompts = sorted({row.prompt for row in generations})
    first = {prompts[i] for i in rng.permutation(len(prompts))[: math.ceil(len(prompts) / 3)]}
    parts: tuple[list[Labelled], list[Labelled]] = ([], [])
    for row in generations:
        parts[row.prompt not in first].append(row)
    if len({row.low for row in parts[0] if row.rho is not None}) < 2:
        raise BadInputError(
            "which side is that of low reasoning is learned from a third of the prompts, whose generations "
            "with a rho have labels of one kind only; give more of both kinds, or the side, high or low"
        )
    return parts


def _one_per_prompt(generations: Sequence[Labelled], rng: np.random.Generator) -> list[Labelled]:
    return [group[rng.integers(len(group))] for group in _by_prompt(generations)]


def _by_prompt(generations: Iterable[Labelled]) -> list[list[Labelled]]:
    by_prompt: dict[str, list[Labelled]] = {}
    for row in generations:
        by_prompt.setdefault(row.prompt, []).append(row)
    return [group for _, group in sorted(by_prompt.items())]


Score = Callable[[Labelled], float | None]


def _response_rho(row: Labelled) -> float | None:
    return row.rho


_PEAKS: dict[str, Score] = {"high": lambda row: row.highest, "low": lambda row: row.lowest}
"""The running rho that decides whether a generation is flagged at any token."""


def _threshold(
    normal: Sequence[Labelled], score: Score, side: str, rate: float, confidence: float | None
) -> float:
    """What at most `rate` of normal generations pass, among those that have the score."""
    sign = 1.0 if side == "high" else -1.0
    scores = sorted(sign * value for value in map(score, normal) if value is not None)
    return sign * scores[threshold_rank(len(scores), rate, confidence) - 1]


def _auc_of(generations: Sequence[Labelled]) -> float:
    """AUC of high rho as the sign of low reasoning, among those that have a rho."""
    low, normal = (
        [row.rho for row in generations if row.low == label and row.rho is not None]
        for label in (True, False)
    )
    return area_under_curve(low, normal)


def area_under_curve(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive scores above a negative one, ties counting half; NaN without either.

    >>> area_under_curve([3.0, 2.0], [1.0, 2.0])
    0.875
    """
    if not len(positive) or not len(negative):
        return math.nan
    ranks = stats.rankdata([*positive, *negative])[: len(positive)]
    return float((ranks.sum() / len(positive) - (len(positive) + 1) / 2) / len(negative))


def _detection(generations: Sequence[Labelled], result: Calibration) -> dict[str, Any]:
    """What was seen of generations of low reasoning; one without rho is not flagged, and counts.

    "detected" is the mean over prompts of the share that is flagged, with a 95 % interval over prompts
    (`corrpo.statistics.accuracy_estimate`): the threshold is taken as given, and does not depend on these
    labels.
    """
    groups = _by_prompt(row for row in generations if row.low)
    auc = _auc_of(generations)
    facts: dict[str, Any] = {
        "low_generations": sum(map(len, groups)),
        "low_without_rho": sum(row.rho is None for group in groups for row in group),
        "detected": None,
        "auc": None if math.isnan(auc) else auc,
    }
    if groups:
        thresholds = {
            "whole": (_response_rho, result.whole),
            "running": (_PEAKS[result.side], result.running),
        }
        facts["detected"] = {}
        for name, (score, threshold) in thresholds.items():
            flags = [[bool(result.beyond(score(row), threshold)) for row in group] for group in groups]
            share = estimate_average(flags)
            facts["detected"][name] = [share.value, share.low, share.high]
    return facts
