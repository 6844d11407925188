r"""81 hostile expressions: judged in bounded time and memory, none is right, and the verifier lives on.

Nine families of nine. The right answer is 17 throughout, which no expression equals, though some come near.
"""

import resource
import sys
import time

import pytest

from corrpo.answers.verdict import is_correct, judge
from corrpo.answers.verifier import TIME_LIMIT

TOWER = "9^{9^{9^{9}}}"
DEEP = 100_000
"""Levels of nesting."""
LONG = 1_000_000
"""Digits of a number."""


def nested(opening: str, core: str, closing: str, depth: int = DEEP) -> str:
    return opening * depth + core + closing * depth


FAMILIES = {
    "towers of powers": [
        TOWER,
        "9^(9^(9^9))",
        "9**9**9**9",
        rf"\frac{{1}}{{{TOWER}}}",
        f"17 + 9^{{-{TOWER}}}",
        "(10^{10})^{10^{10}}",
        rf"\sqrt{{{TOWER}}}",
        rf"\left(\frac{{1}}{{9}}\right)^{{{TOWER}}}",
        f"{TOWER} \\bmod 100",
    ],
    "deep nesting": [
        nested(r"\sqrt{", "2", "}"),
        nested("{", "18", "}"),
        nested("(", "18", ")"),
        nested(r"\frac{1}{1+", "x", "}"),
        nested(r"\left(", "18", r"\right)"),
        nested("x^{", "x", "}"),
        nested(r"\sqrt{", "2", "}", 250),
        nested(r"\frac{1}{1+", "x", "}", 140),
        nested("(", "18", ")", 900),
    ],
    "factorials and binomials": [
        "(10^9)!",
        "100000000!",
        "9!!!!!!!!",
        "(((9!)!)!)!",
        r"\binom{10^9}{5 \cdot 10^8}",
        r"\frac{(10^8)!}{(10^8-1)!}",
        rf"\binom{{{TOWER}}}{{2}}",
        r"17 + \frac{1}{(10^8)!}",
        r"\Gamma(10^9)",
    ],
    "long numbers": [
        "1" * LONG,
        "0." + "3" * LONG,
        "17." + "0" * LONG + "1",
        rf"\frac{{{'7' * LONG}}}{{{'3' * LONG}}}",
        "17e1000000000",
        "1e-1000000000",
        "1" + ",000" * 333_333,
        "2" * DEEP + "_{3}",
        rf"17 \times 10^{{{'9' * 1000}}}",
    ],
    "matrices, sets and lists": [
        rf"\begin{{pmatrix}} {TOWER} & 1 \\ 1 & {TOWER} \end{{pmatrix}}",
        r"\begin{pmatrix}" + r" \\ ".join([" & ".join("1" * 120)] * 120) + r"\end{pmatrix}",
        nested(r"\begin{pmatrix}", "17", r"\end{pmatrix}", 60),
        rf"\{{{','.join(map(str, range(DEEP)))}\}}",
        ", ".join(["17"] * DEEP),
        r" \cup ".join(f"({2 * n}, {2 * n + 1})" for n in range(3000)),
        rf"\{{{TOWER}, 17\}}",
        f"[-{TOWER}, {TOWER}]",
        rf"\begin{{pmatrix}} 2 & 1 \\ 1 & 1 \end{{pmatrix}}^{{{TOWER}}}",
    ],
    "sums, products and integrals": [
        r"\sum_{n=1}^{10^9} n",
        r"\sum_{k=1}^{10^9} \frac{1}{k}",
        r"\prod_{n=1}^{10^8} n",
        r"\sum_{i=1}^{10^5} \sum_{j=1}^{10^5} \frac{1}{i^2+j^2}",
        r"\int_0^{10} e^{e^{e^{x}}} \, dx",
        r"\int_0^1 \int_0^1 \int_0^1 \sin(x^{y^{z}}) \, dx \, dy \, dz",
        r"\lim_{n \to \infty} \frac{(2n)!}{n! \, n^n}",
        r"\sum_{n=0}^{\infty} n! \, 17^{n!}",
        r"\prod_{n=1}^{10^6} \left(1 + \frac{1}{n^n}\right)",
    ],
    "algebra": [
        "(x+1)^{1000000}",
        "(a+b+c+d+e)^{400}",
        "".join(f"(x-{n})" for n in range(400)),
        " + ".join(f"x^{{{n}}}" for n in range(5000)),
        nested(r"\sin(", "x", ")", 150),
        r"\sqrt[1000000007]{2} + \sqrt[999999937]{3}",
        " + ".join(rf"\sqrt{{{n}}}" for n in range(2, 60)),
        rf"x^{{{TOWER}}} + 1 = 0",
        r"\frac{x^{99991}-1}{x^{97}-1}",
    ],
    "malformed text": [
        "{" * 1000 + "18",
        "18" + "}" * 1000,
        r"\frac" * 500,
        r"\left(" * 300 + "18",
        r"\begin{pmatrix}" * 200 + "18",
        "$" * 1001 + "18",
        r"\boxed{" * 5000 + "18",
        "18" + "^" * 500 + "_" * 500,
        "\\" * 999 + "18",
    ],
    "odd characters and code": [
        "\x001\x007\x00",
        "\ud800 17 \udfff",
        "1" + "\u0301" * 2000 + "8",
        "\u202e17\u202c" * 100,
        "\x1b[31m1" + "\u200b" * 1000 + "8\x1b[0m",
        "__import__('time').sleep(60)",
        "[].__class__.__base__.__subclasses__()",
        "(lambda f: f(f))(lambda f: f(f))",
        "eval('9**9**9**9')",
    ],
}


def carried(expressions: list[str]) -> list[str]:
    """In boxes and in tags by turns."""
    carriers = [r"\boxed{%s}", "<answer>%s</answer>"]
    return [carriers[turn % 2].replace("%s", one) for turn, one in enumerate(expressions)]


def test_there_are_81_of_them():
    assert len({one for family in FAMILIES.values() for one in family}) == 81


def peak_memory(whose: int) -> int:
    """Bytes that this process, or the largest of its children that ended, had resident at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(whose).ru_maxrss * unit


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_hostile_expressions_are_bounded_and_never_right(family):
    responses = carried(FAMILIES[family])
    before, started = peak_memory(resource.RUSAGE_SELF), time.monotonic()
    replies = judge(responses, ["17"] * len(responses))
    took = time.monotonic() - started
    right = [text[:80] for text, reply in zip(responses, replies, strict=True) if reply.verdict == "right"]
    assert right == []
    assert took < len(responses) * (TIME_LIMIT + 5), "the limit bounds the time of each"
    assert peak_memory(resource.RUSAGE_SELF) - before < 1 << 30, "memory of the process of the caller"
    assert peak_memory(resource.RUSAGE_CHILDREN) < 4 << 30, "memory of the processes of the verifier"
    assert is_correct("<answer>34/2</answer>", "17"), "the verifier lives on"
