"""What the numbers of a report support, in words that follow from the settings and the results."""

import math
from collections.abc import Mapping
from typing import Any

from corrpo.measurement.fingerprint import Fingerprint
from corrpo.statistics import Correlation
from corrpo.statistics.interval import FEW_SAMPLES
from corrpo.strength.estimators import ESTIMATORS, estimator_named
from corrpo.strength.estimators.fidelity import agreement


def estimator_label(settings: Mapping[str, Any]) -> str:
    """A few words that go wherever a number of this estimator is shown."""
    name = str(settings.get("estimator"))
    return estimator_named(name).label if name in ESTIMATORS else name


def estimator_note(settings: Mapping[str, Any]) -> str:
    """What the estimator covers, and how well it was found to agree with `exact`."""
    name = str(settings.get("estimator"))
    if name not in ESTIMATORS:
        return f"Estimator {name}: this version of corrpo does not know it."
    estimator = estimator_named(name)
    return f"Estimator {name}: {estimator.summary} {agreement(name, settings)}".rstrip()


def cut_note(cut: float | None, settings: Mapping[str, Any], *, largest: bool = False) -> str | None:
    """What share of the responses ended at max_new_tokens, and what to do; None if none did.

    With `largest` it is the largest share of several checkpoints.

    >>> cut_note(0.25, {"max_new_tokens": 512, "finished_only": True})
    '25.0 % of the responses were cut at 512 tokens (--max-new-tokens) and left out.'
    """
    if not cut:
        return None
    limit = settings.get("max_new_tokens")
    share = f"{100 * cut:.1f} % of the responses"
    share = f"Up to {share} of a checkpoint" if largest else share
    found = f"{share} were cut at {limit} tokens (--max-new-tokens)"
    if settings.get("finished_only"):
        return f"{found} and left out."
    return (
        f"{found}. The correlations are of what they had written by then and can differ from those of whole "
        "responses: raise the limit, or leave them out (--finished-only)."
    )


def warnings(
    rho: Correlation, settings: Mapping[str, Any], cut: float | None, *, largest: bool = False
) -> list[str]:
    """What a reader of rho must know first: cut responses, an estimator's fidelity, few samples."""
    told = bool(agreement(str(settings.get("estimator")), settings))
    lines = (
        cut_note(cut, settings, largest=largest),
        estimator_note(settings) if told else None,
        few_samples(rho),
    )
    return [line for line in lines if line]


def strength_label(settings: Mapping[str, Any]) -> str:
    """Axis label of gradient strength."""
    norm, target = settings.get("norm"), settings.get("target")
    return f"gradient strength\n({norm} norm of d {target}; {estimator_label(settings)})"


def sign(correlation: Correlation) -> str:
    """The sign of a correlation as the interval supports it, as a sentence.

    >>> sign(Correlation(-0.42, -0.51, -0.33, 0.001, 1234, 64))
    'It is negative: its interval lies below 0.'
    """
    if correlation.value is None:
        return f"It is not defined: {correlation.reason}."
    if correlation.low is None or correlation.high is None:
        return f"Its precision is not known: {correlation.reason}."
    if correlation.high < 0:
        return "It is negative: its interval lies below 0."
    if correlation.low > 0:
        return "It is positive: its interval lies above 0."
    return "Its sign is undecided: its interval contains 0."


def reading(correlation: Correlation) -> list[str]:
    """What a rho means, what it does not mean, and what to do next; a paragraph each.

    The share of pairs is that of two normal variables: Kendall's tau is 2 asin(2 sin(pi rho / 6)) / pi
    (Kruskal 1958, Journal of the American Statistical Association 53).

    >>> reading(Correlation(-0.4, -0.5, -0.3, 0.001, 1234, 64))[0][:93]
    'What it means. Ranked by entropy and by strength, these tokens stand in partly opposite order'
    """
    rho = correlation.value
    lines = []
    if rho is not None:
        tau = 2 * math.asin(2 * math.sin(math.pi * rho / 6)) / math.pi
        share, lower = (1 + abs(tau)) / 2, "lower" if rho < 0 else "higher"
        order = "partly opposite" if rho < 0 else "partly the same"
        lines.append(
            f"What it means. Ranked by entropy and by strength, these tokens stand in {order} order: of two "
            f"drawn at random, the one with the higher entropy has the {lower} strength in about "
            f"{100 * share:.0f} % of pairs. At rho 0 it is 50 %, at -0.4 about 64 %, at -1 all of them."
        )
    lines += [
        "What it does not mean. Not that the model reasons well or badly: models of every kind have shown "
        "either sign. Not that entropy sets the strength, or the reverse. And not the same thing on other "
        "samples, lengths of responses, estimators or layers.",
        "What to do next. See whether position explains it (position held constant), the architecture "
        "(--untrained) or what costs nothing (the baseline): where one of these is as far from 0, little is "
        "left to explain. Then set another model beside it on the same samples (corrpo compare), follow it "
        "over training (corrpo track), and put a claim to the test with controls and seeds (corrpo "
        "experiment).",
    ]
    return lines


def few_samples(correlation: Correlation) -> str | None:
    """A warning where the interval rests on fewer samples than its coverage was studied for.

    >>> few_samples(Correlation(-0.42, -0.51, -0.33, 0.001, 123, 3))
    'The interval rests on 3 samples; its coverage was studied from 10 on, so do not rely on it.'
    """
    if correlation.low is None or correlation.n_samples >= FEW_SAMPLES:
        return None
    return (
        f"The interval rests on {correlation.n_samples} samples; its coverage was studied from {FEW_SAMPLES} "
        "on, so do not rely on it."
    )


def interval_name(settings: Mapping[str, Any]) -> str:
    """What to call an interval: with its confidence where the settings tell it.

    >>> interval_name({"confidence": 0.95})
    '95 % interval'
    """
    confidence = settings.get("confidence")
    return f"{100 * confidence:g} % interval" if isinstance(confidence, float) else "interval"


def subsampling_note(fingerprint: Fingerprint) -> str | None:
    """How many tokens were measured, if not all."""
    measured = fingerprint.samples.get("measured_tokens")
    total = fingerprint.samples.get("response_tokens")
    if measured is None or total is None or measured == total:
        return None
    error = (fingerprint.samples.get("subsampling") or {}).get("standard_error")
    cost = (
        ""
        if error is None
        else f" This adds a standard error of {error:.3f} to rho, which the interval contains."
    )
    return f"{measured:,} of {total:,} response tokens were measured, chosen at random.{cost}"


def support_notes(settings: Mapping[str, Any], *, untrained: bool) -> list[str]:
    """What these numbers do and do not support; one paragraph per item."""
    lines = [
        "Association, not cause. A correlation of token entropy with gradient strength describes the "
        "responses at hand. It does not show that either one produces the other, or that changing one "
        "would change how well a model reasons.",
        "The sign is reported as it was found. Models, samples and stages of training have shown either "
        "sign; one fingerprint confirms or refutes no general claim.",
        "Tokens of one sample are not independent, so intervals are over whole samples: a delete-half "
        "jackknife with a t quantile. The permutation p comes from permuting strength within each sample. "
        "That takes the tokens of a sample as exchangeable: where neighbours are alike in both quantities, "
        "it is too small, and the interval is what to go by. The p of a difference is that of the t behind "
        "its interval. Values of p are not adjusted for the number of comparisons shown.",
        "Both quantities drift along a response. The position-partial rho holds the position constant: "
        "where it is much closer to 0 than rho, position explains much of the correlation.",
        BASELINE_NOTE,
        estimator_note(settings),
    ]
    if settings.get("target") == "logprob":
        lines.append(
            "Target logprob: the gradient of a log-probability goes to 0 as the probability goes to 1, so "
            "a positive correlation with entropy is nearly built in. The raw logit has no such factor."
        )
    if untrained:
        lines.append(
            "Untrained control: random weights of the same architecture on the same samples. What they "
            "show comes from the architecture and the text, not from training."
        )
    else:
        lines.append(
            "No untrained control was measured: what the architecture alone contributes is not known here."
        )
    return lines


BASELINE_NOTE = (
    "Baseline: the same rank correlation of entropy with 1 - 2 p + sum p², the squared gradient with "
    "respect to the logits, over the same tokens. It costs nothing and RL engines log it: a strength whose "
    "correlation goes no further than this has found nothing new."
)

DYNAMICS_NOTES = (
    "A curve is one run from one seed. The intervals along it are about the samples at each checkpoint; "
    "how much another run would differ is not in them, and neighbouring checkpoints are not independent of "
    "one another.",
    "Every checkpoint answers the same prompts anew, so rho changes with what is written too: lengths and "
    "entropies stand beside it, because responses that shrink or lose their entropy can move rho by "
    "themselves.",
)

BENCHMARK_NOTES = (
    "The intervals of accuracies take the problems of a suite as drawn from problems like these: they are "
    "about other such problems, not about running the same ones again. Suites of 30 problems say little.",
    "A generation that did not end, has no answer that can be read, or whose check failed counts as wrong; "
    "how many there were stands beneath the table. Where many did not end, accuracy is a matter of the "
    "length allowed.",
)

PERFORMANCE_NOTES = (
    "Over the checkpoints of one run, everything that drifts with training goes with everything else that "
    "does: a strong rank correlation of accuracy with rho is what any two trends give. The figure with the "
    "step held constant is the one to look at, and it too is association in a single run.",
    "The interval of a rank correlation carries how precisely rho and accuracy were measured at these "
    "checkpoints. It does not tell what another seed would give. Errors of measurement pull such values "
    "towards 0; the interval therefore reaches to what they would be without error (its coverage is in "
    "statistics/checkpoint_association.py).",
)

RUNS_NOTES = (
    "Runs side by side started from the same weights and differ in what is named. With one seed each, a "
    "difference between two curves may be that of two seeds: a difference that matters needs several, and "
    "the placebo controls of docs/TRAINING.md beside them.",
)

PUBLISHED_NOTE = (
    "Published curves are figures of the first author's post, without intervals; their models, samples and "
    "settings are others than those here, so that only the shape can be set beside ours."
)
