"""Templates to HTML: every string is made visible, then escaped; every number carries its full value."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from corrpo.report import formatting

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **context: Any) -> str:
    """A page from a template of this package.

    Whatever a template prints that is not markup of this package passes `formatting.visible` and is escaped.
    """
    return _environment().get_template(template).render(**context)


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
    environment.filters |= {name: _data(function) for name, function in formats.items()}
    environment.filters |= {"plain": formatting.plain}
    return environment


def _finalize(value: Any) -> Any:
    if hasattr(value, "__html__"):
        return value
    return formatting.visible(value if isinstance(value, str) else str(value))


def _data(show: Callable[..., str]) -> Callable[..., Markup]:
    """A filter that shows a rounded number and keeps the full one, as it stands in the JSON file."""

    def shown(value: float | int | None, *args: int) -> Markup:
        if value is None:
            return Markup(formatting.DASH)
        return Markup('<data value="{}">{}</data>').format(json.dumps(value), show(value, *args))

    return shown
