"""Templates to HTML: every string is made visible, then escaped; every number carries its full value."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from corrpo.errors import visible
from corrpo.report import formatting

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **context: Any) -> str:
    """A page from a template of this package.

    Whatever a template prints that is not markup of this package is made `visible` and escaped.
    """
    return _environment().get_template(template).render(**context)


def filled(text: str, facts: Mapping[str, Any]) -> Markup:
    """A sentence of this package with facts in the places of its {names}, made visible and escaped.

    >>> print(filled("the model's name is {name}", {"name": "<b>"}))
    the model&#39;s name is &lt;b&gt;
    """
    return escape(text).format(**{name: _finalize(value) for name, value in facts.items()})


def number_element(value: float | int | None, show: Callable[..., str], *args: int) -> Markup:
    """A number as `show` rounds it, with the full one beside it, as it stands in the JSON file."""
    if value is None:
        return Markup(formatting.DASH)
    return Markup('<data value="{}">{}</data>').format(json.dumps(value), show(value, *args))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    formats = {
        "decimal": formatting.decimal,
        "percent": formatting.percent,
        "significant": formatting.significant,
        "p_value": formatting.p_value,
        "count": formatting.count,
    }
    environment.filters |= {name: _filter(function) for name, function in formats.items()}
    environment.filters |= {"plain": formatting.plain}
    return environment


def _finalize(value: Any) -> Any:
    if hasattr(value, "__html__"):
        return value
    return visible(value if isinstance(value, str) else str(value))


def _filter(show: Callable[..., str]) -> Callable[..., Markup]:
    return lambda value, *args: number_element(value, show, *args)
