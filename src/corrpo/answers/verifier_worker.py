"""What math-verify is asked, in a process of `verifier_process`.

math-verify bounds its own time by SIGALRM, which needs the main thread and cannot break into one long
operation on big integers: here it runs without, and whoever started the process kills it. Nothing but
math-verify is imported, so that a process is up in half a second.
"""

import logging
import re
from itertools import product
from typing import Any

from latex2sympy2_extended import NormalizationConfig
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

logging.getLogger("math_verify").setLevel(logging.ERROR)

_LATEX = LatexExtractionConfig(boxed_match_priority=0)
_PLAIN = ExprExtractionConfig()
_IN_A_RESPONSE = LatexExtractionConfig(
    boxed_match_priority=0,
    normalization_config=NormalizationConfig(units=True),
    try_extract_without_anchor=False,
)

_DELIMITED = re.compile(r"(?<!\\)\$|\\\(|\\\[|\\boxed")
_NAMES = r"arcsin|arccos|arctan|sin|cos|tan|log|ln|exp|sqrt|max|min|and|or"
_BARE_NAME = re.compile(r"(?<![\\A-Za-z])(pi|sin|cos|tan|log|ln|exp)(?![A-Za-z])")
_NOT_PROSE = re.compile(
    rf"\\(?:begin|end|text|mathrm|operatorname)\{{[^{{}}]*\}}|\\[A-Za-z]+|(?:{_NAMES})(?![A-Za-z])"
)
_PROSE = re.compile(r"[A-Za-z]{3}|^\s*no\s*$", re.IGNORECASE)
_ARITHMETIC = re.compile(r"[0-9.\s+*/^()×÷%-]*")
_OPERATION = re.compile(r"[+*/^()×÷]|.-")
_MIXED = re.compile(r"^\s*(-?)\s*([0-9]+)\s+([0-9]+/[0-9]+)\s*$")
_EXPONENT = re.compile(r"\^\(([^()]*)\)")
_TWO_NUMBERS = re.compile(r"[0-9]\s+[0-9]")
_GROUPED = re.compile(r"\s*-?[0-9]{1,3}(?: [0-9]{3})+\s*")


def read(text: str) -> list[Any]:
    r"""What an answer says, as math-verify has it: a sympy object and its text, or text alone, or nothing.

    Text with $, \(, \[ or \boxed is left to math-verify. Other text is one expression in LaTeX or plain
    notation: arithmetic in digits is read as such, prose (a word of three letters or more that names no
    function) for a number in it, and the rest as LaTeX.

    >>> read("1/2")[0], read(r"\frac{1}{2}")[0], read("[1,2)")[0], read("yes")
    (1/2, 1/2, Interval.Ropen(1, 2), [])
    """
    if _DELIMITED.search(text):
        return parse(text, [_LATEX, _PLAIN], parsing_timeout=None, raise_on_error=True)  # pyright: ignore
    if _GROUPED.fullmatch(text) or _PROSE.search(_NOT_PROSE.sub(" ", text)):
        return _read_plain(text)
    text = _MIXED.sub(r"\1(\2+\3)", text.replace("\\%", "%"))
    if _TWO_NUMBERS.search(text):
        return []  # math-verify adds the two: "1 2" would be 3
    return _read_arithmetic("".join(text.split())) or _read_latex(text)


def _read_arithmetic(text: str) -> list[Any]:
    """Numbers and operators, all of the text or nothing: math-verify would take "1/2+" for a 1."""
    if not _ARITHMETIC.fullmatch(text):
        return []
    reading = _read_plain(text, extraction_mode="first_match")
    is_complete = not _OPERATION.search(text) or text in reading
    return reading if is_parsed(reading) and is_complete else []


def _read_latex(text: str) -> list[Any]:
    latex = _EXPONENT.sub(r"^{\1}", _BARE_NAME.sub(r"\\\1 ", text))
    return parse(f"${latex}$", [_LATEX], parsing_timeout=None, raise_on_error=True)  # pyright: ignore


def _read_plain(text: str, **how: Any) -> list[Any]:
    return parse(text, [_PLAIN], parsing_timeout=None, raise_on_error=True, **how)  # pyright: ignore


def read_response(text: str) -> list[Any]:
    r"""The answer in a response without answer tags: its \boxed, or LaTeX that it names as its answer.

    >>> read_response(r"1 + 1 is $2$, so \boxed{2}")[0], read_response("I say 2")
    (2, [])
    """
    return parse(
        text,
        [_IN_A_RESPONSE],
        extraction_mode="first_match",
        parsing_timeout=None,  # pyright: ignore
        raise_on_error=True,
    )


def is_parsed(reading: list[Any]) -> bool:
    """Whether what was read holds more than text: an expression, a set, a relation, a matrix."""
    return any(not isinstance(one, str) for one in reading)


def compare(gold: list[Any], predicted: list[Any]) -> tuple[str, str]:
    """The verdict on two readings and, for "error", what went wrong.

    "right" if any pair is equal by math-verify. Failing that, "unparsed" for a prediction that is not
    mathematics, "error" if a comparison failed, and "wrong".
    """
    failure = ""
    for one, other in product(gold, predicted):
        try:
            if verify(one, other, numeric_precision=60, timeout_seconds=None, raise_on_error=True):
                return "right", ""
        except MemoryError:
            raise
        except Exception as error:  # sympy may raise anything; the verdict tells it
            failure = _describe_error(error)
    if not is_parsed(predicted):
        return "unparsed", ""
    return ("error", failure) if failure else ("wrong", "")


def _describe_error(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def respond(gold: str, prediction: str | None, tagged: bool) -> tuple[str, str]:
    """The verdict on one request, and what went wrong for "error".

    `prediction` is the answer alone where `tagged`, else the complete response. None asks whether the gold
    can be read: the verdict is then "readable" or "unreadable".
    """
    try:
        wanted = read(gold)
        if prediction is None:
            return ("readable" if is_parsed(wanted) else "unreadable"), ""
        return compare(wanted, read(prediction) if tagged else read_response(prediction))
    except MemoryError:
        raise
    except Exception as error:  # the parsers may raise anything; the verdict tells it
        return "error", _describe_error(error)
