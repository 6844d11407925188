"""A fingerprint in a few lines: as text for a terminal, and as HTML for a notebook."""

from html import escape
from typing import TYPE_CHECKING

from corrpo.errors import visible
from corrpo.statistics import Correlation
from corrpo.statistics.correlation_records import decimal
from corrpo.strength.estimators import measures_last_layer_alone

if TYPE_CHECKING:
    from corrpo.measurement.fingerprint import Fingerprint

_NAMES = {
    "spearman": "Spearman",
    "pearson": "Pearson",
    "spearman_by_token": "Spearman by unique token",
    "pearson_by_token": "Pearson by unique token",
    "position_partial": "Spearman, position held constant",
}
_CELL = "padding:0.15em 0.8em 0.15em 0;text-align:left"


def in_short(fingerprint: "Fingerprint") -> str:
    """One line: model, samples and headline correlation."""
    return visible(f"<Fingerprint of {_title(fingerprint)}: {fingerprint.spearman}>")


def in_lines(fingerprint: "Fingerprint") -> str:
    """Model and samples, the settings that matter, and every correlation with its interval and counts."""
    rows = _rows(fingerprint)
    width = max(len(name) for name, _ in rows)
    facts = [f"  {fact}" for fact in _facts(fingerprint)]
    lines = [f"  {name:<{width}}  {correlation}" for name, correlation in rows]
    return "\n".join(map(visible, [f"Fingerprint of {_title(fingerprint)}", *facts, *lines]))


def in_html(fingerprint: "Fingerprint") -> str:
    """The same as an HTML element that needs nothing else; names are escaped."""
    header = "".join(
        f'<th style="{_CELL}">{name}</th>'
        for name in ("correlation", "value", "interval", "permutation p", "tokens", "samples", "")
    )
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(cell)}</td>' for cell in _cells(name, value)) + "</tr>"
        for name, value in _rows(fingerprint)
    )
    facts = "<br>".join(escape(fact) for fact in _facts(fingerprint))
    return (
        f"<div><p><strong>Fingerprint of {escape(_title(fingerprint))}</strong><br>{facts}</p>"
        f"<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _title(fingerprint: "Fingerprint") -> str:
    return f"{fingerprint.model.get('name')} on {fingerprint.samples.get('name')}"


def _facts(fingerprint: "Fingerprint") -> list[str]:
    """What was measured, and on how much of the responses."""
    settings, samples = fingerprint.settings, fingerprint.samples
    layers = settings.get("layers")
    where = "all layers" if layers is None else f"layers {' '.join(map(str, layers))}"
    if measures_last_layer_alone(settings.get("estimator")):
        where = "the last layer"
    kept = f" ({settings['kept']} kept)" if settings.get("kept") else ""
    measured, written = samples.get("measured_tokens"), samples.get("response_tokens")
    skipped = len(samples.get("skipped") or ())
    return [
        f"{settings.get('norm')} norms of the {settings.get('target')}'s gradient, estimator "
        f"{settings.get('estimator')}{kept}, projections {' '.join(settings.get('projections') or ())}, "
        f"{where}",
        f"{measured:,} of {written:,} response tokens measured; of {samples.get('given'):,} samples "
        f"{skipped:,} skipped, {fingerprint.cut:,} with a response that was cut",
    ]


def _rows(fingerprint: "Fingerprint") -> list[tuple[str, Correlation]]:
    rows = [(_NAMES[name], correlation) for name, correlation in fingerprint.statistics.items()]
    if fingerprint.baseline is not None:
        rows.append(("Spearman of the logits' gradient", fingerprint.baseline))
    if fingerprint.untrained is not None:
        rows.append(("Spearman of random weights", fingerprint.untrained["spearman"]))
    return rows


def _cells(name: str, correlation: Correlation) -> list[str]:
    value, low, high, p = correlation.value, correlation.low, correlation.high, correlation.p
    return [
        name,
        "undefined" if value is None else decimal(value),
        "" if low is None or high is None else f"[{decimal(low)}, {decimal(high)}]",
        "" if p is None else f"{p:.2g}",
        f"{correlation.n_tokens:,}",
        f"{correlation.n_samples:,}",
        correlation.reason or "",
    ]
