"""Numbers and strings as a reader meets them; no string can break or disguise the page it stands on."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from corrpo.errors import visible
from corrpo.statistics import Correlation, Difference
from corrpo.statistics.checkpoint_association import Association

DASH = "—"
"""Stands for a number that does not exist; never 0."""


def shortened(text: str, limit: int = 60) -> str:
    """At most `limit` characters of `text`, an ellipsis among them.

    >>> shortened("abcdef", 4)
    'abc…'
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def token_text(token: str, limit: int = 40) -> str:
    r"""A token with its spaces marked and what is invisible escaped.

    >>> print(token_text(" the\n"))
    ␣the\n
    """
    return visible(shortened(token, limit)).replace(" ", "␣")


def decimal(value: float | None, digits: int = 2) -> str:
    """A number with a true minus sign, or a dash.

    >>> decimal(-0.421), decimal(None), decimal(-0.001)
    ('−0.42', '—', '0.00')
    """
    if value is None:
        return DASH
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def percent(value: float | None, digits: int = 1) -> str:
    """A share as per cent, or a dash.

    >>> percent(0.5), percent(None)
    ('50.0', '—')
    """
    return decimal(None if value is None else 100 * value, digits)


def significant(value: float | None, digits: int = 3) -> str:
    """A number to `digits` significant digits, or a dash.

    >>> significant(0.0012345), significant(1234.5)
    ('0.00123', '1,234')
    """
    if value is None:
        return DASH
    text = f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:#.{digits}g}".rstrip(".")
    return text.replace("-", "−")


def p_value(value: float | None) -> str:
    """A p-value to one digit below 0.1, two decimals above.

    >>> p_value(0.00099), p_value(0.21), p_value(3e-9)
    ('0.001', '0.21', '<0.0001')
    """
    if value is None:
        return DASH
    if value < 0.0001:
        return "<0.0001"
    return f"{value:.1g}" if value < 0.095 else f"{value:.2f}"


def count(value: int | None) -> str:
    """A whole number with thousands separated, or a dash."""
    return DASH if value is None else f"{value:,}"


def bracketed(low: float | None, high: float | None, show: Callable[[float | None], str] = decimal) -> str:
    """`[low, high]`, or nothing where there is no interval.

    >>> bracketed(-0.51, -0.33), bracketed(0.1, None)
    ('[−0.51, −0.33]', '')
    """
    return "" if low is None or high is None else f"[{show(low)}, {show(high)}]"


def with_interval(result: Correlation | Difference | Association) -> str:
    """The value and its interval, or a dash.

    >>> with_interval(Correlation(-0.42, -0.51, -0.33, 0.001, 1234, 64))
    '−0.42 [−0.51, −0.33]'
    """
    return f"{decimal(result.value)} {bracketed(result.low, result.high)}".rstrip()


def plain(value: Any) -> str:
    """A setting in one line: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def markdown_table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int, number_rule: str = "---:"
) -> str:
    """A Markdown table, a line for the head, the rule and each row; numbers follow the `text_columns`.

    >>> print(markdown_table(["arm", "rho"], [["grpo", "0.1"]], text_columns=1))
    | arm | rho |
    | --- | ---: |
    | grpo | 0.1 |
    """
    rule = ["---" if column < text_columns else number_rule for column in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))
