"""From token rows to a fingerprint: the five correlations and the account of what was measured."""

from typing import Any

import polars as pl

from corrpo.jobs.versions import library_versions
from corrpo.measurement.fingerprint import STATISTICS, Fingerprint
from corrpo.measurement.options import MeasureOptions
from corrpo.statistics import Correlation, correlate


def summarise(
    identity: dict[str, Any],
    responses: pl.DataFrame,
    tokens: pl.DataFrame,
    control: pl.DataFrame | None,
    settings: MeasureOptions,
) -> Fingerprint:
    """The fingerprint of measured tokens; `identity` is its model, samples and settings.

    Tables have the columns of `Fingerprint.responses` (and response_ids) and `Fingerprint.tokens`; `control`
    are the tokens of the untrained control.
    """
    skipped = responses.filter(pl.col("response_tokens") < 2)
    measured = tokens.filter(pl.col("strength").is_not_null())
    statistics = correlations(tokens, settings)
    cut = responses.filter(~pl.col("finished"))
    samples = identity["samples"] | {
        "given": responses.height,
        "measured": tokens["sample"].n_unique(),
        "cut": cut.height,
        "skipped": [
            {"sample": name, "reason": f"the response has {('no token', 'a single token')[count]}"}
            for name, count in skipped.select("id", "response_tokens").iter_rows()
        ]
        + [
            {"sample": name, "reason": f"cut at {length} tokens"}
            for name, length in cut.select("id", "response_tokens").iter_rows()
            if settings.finished_only and length > 1
        ],
        "response_tokens": tokens.height,
        "measured_tokens": measured.height,
        "subsampling": subsampling_error(statistics["spearman"].value, measured.height, tokens.height),
    }
    return Fingerprint(
        model=identity["model"],
        samples=samples,
        settings=identity["settings"],
        versions=library_versions(),
        statistics=statistics,
        tokens=tokens,
        responses=responses.drop("response_ids"),
        untrained=None if control is None else correlations(control, settings),
        untrained_tokens=control,
        baseline=baseline(tokens, settings),
    )


def correlations(tokens: pl.DataFrame, settings: MeasureOptions) -> dict[str, Correlation]:
    """The correlations that `fingerprint.STATISTICS` names, over the measured rows of `tokens`."""
    return {
        name: _correlation(tokens, "strength", settings, method=method, by=by)
        for name, (method, by) in STATISTICS.items()
    }


def baseline(tokens: pl.DataFrame, settings: MeasureOptions) -> Correlation | None:
    """Spearman's rho of entropy with logits_gradient over the measured rows; None if one of them has none."""
    if tokens.filter(pl.col("strength").is_not_null())["logits_gradient"].has_nulls():
        return None
    return _correlation(tokens, "logits_gradient", settings, method="spearman", by="position")


def _correlation(
    tokens: pl.DataFrame, column: str, settings: MeasureOptions, *, method: str, by: str
) -> Correlation:
    """Of entropy with another column over the rows whose strength was measured."""
    rows = tokens.filter(pl.col("strength").is_not_null())
    if not rows.height:
        which = "finished response" if settings.finished_only else "response"
        return Correlation(None, None, None, None, 0, 0, f"no {which} of two tokens or more")
    return correlate(
        rows["entropy_bits"].to_numpy(),
        rows[column].to_numpy(),
        rows["sample"].to_numpy(),
        method=method,
        by=by,
        position=rows["position"].to_numpy(),
        token_id=rows["token_id"].to_numpy(),
        confidence=settings.confidence,
        resamples=settings.resamples,
        permutations=settings.permutations,
        seed=settings.seed,
    )


def subsampling_error(rho: float | None, measured: int, written: int) -> dict[str, Any] | None:
    """What measuring `measured` of `written` tokens costs in precision; None if all were measured.

    standard_error is that of Spearman's rho over the m tokens drawn about the rho over all n tokens written,
    (1 - rho^2) sqrt((1 + rho^2 / 2) / (m - 3) (1 - m / n)): Bonett and Wright (2000), brought back from
    Fisher's z, with the finite-population factor. The reported interval, which resamples samples, contains
    it.
    """
    if measured == written:
        return None
    error = None
    if rho is not None and measured > 3:
        kept = (1 - measured / written) / (measured - 3)
        error = (1 - rho * rho) * ((1 + rho * rho / 2) * kept) ** 0.5
    return {"measured": measured, "written": written, "standard_error": error}
