"""Verdicts on answers: speed and memory beside math-verify alone, and both on the corpus of answer pairs.

    python benchmarks/answers.py

Each side judges the same 1,000 answers in a process of its own; starting processes counts.
"""

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

CORPUS = Path(__file__).parents[1] / "tests" / "answers" / "corpus.jsonl"
ANSWERS = 1000
SIDES = ("corrpo", "math-verify")

Judge = Callable[[Sequence[str], Sequence[str]], list[bool]]


def mixed_answers() -> tuple[list[str], list[str]]:
    """Responses and right answers as of a benchmark of mathematics; two thirds of the responses are right."""
    rng = random.Random(0)
    responses, golds = [], []
    for _ in range(ANSWERS):
        number, bottom = rng.randint(2, 400), rng.choice((3, 7, 11))
        given = number if rng.random() < 2 / 3 else number + 1
        gold, answer = rng.choice(
            [
                (str(number), str(given)),
                (str(number), f"{given}.0"),
                (f"{number * 1000:,}", str(given * 1000)),
                (rf"\frac{{{number}}}{{{bottom}}}", rf"\dfrac{{{given}}}{{{bottom}}}"),
                (f"{number}/{bottom}", rf"\frac{{{2 * given}}}{{{2 * bottom}}}"),
                (rf"{number}\sqrt{{{bottom}}}", rf"\sqrt{{{bottom}}} \cdot {given}"),
                (rf"\frac{{{number}\pi}}{{{bottom}}}", rf"\frac{{{given}}}{{{bottom}}}\pi"),
                (f"x^2 + {number}x", f"x(x + {given})"),
                (f"({number}, {bottom})", f"({given}, {bottom})"),
                (rf"[{number}, \infty)", rf"[{given},\infty)"),
            ]
        )
        golds.append(gold)
        responses.append(rf"Adding up, I get $\boxed{{{answer}}}$.")
    return responses, golds


def judge_by_corrpo(responses: Sequence[str], golds: Sequence[str]) -> list[bool]:
    """Whether each is right by the check "math"."""
    from corrpo.answers.verdict import judge

    return [reply.verdict == "right" for reply in judge(responses, golds)]


def judge_by_math_verify(responses: Sequence[str], golds: Sequence[str]) -> list[bool]:
    """Whether each is right by math-verify as its documentation has it: the right answer between $."""
    from math_verify import parse, verify

    return [verify(parse(f"${gold}$"), parse(text)) for text, gold in zip(responses, golds, strict=True)]


JUDGES: dict[str, Judge] = dict(zip(SIDES, (judge_by_corrpo, judge_by_math_verify), strict=True))


def measured(side: str) -> dict[str, float]:
    """Seconds for all answers, and MiB at most of a new process and of the largest that it starts."""
    command = [sys.executable, __file__, side]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(side: str) -> dict[str, float]:
    """What `measured` reports, in the process that it starts."""
    responses, golds = mixed_answers()
    start = time.perf_counter()
    right = JUDGES[side](responses, golds)
    seconds = time.perf_counter() - start
    if side == "corrpo":
        from corrpo.answers.checks.math import VERIFIER

        VERIFIER._at_exit()  # the processes end, so that their memory is known
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {"seconds": seconds, "right": sum(right), "own": peaks[0] / 1024, "children": peaks[1] / 1024}


def confusion(side: str) -> list[str]:
    """A row of the table: right ones found and missed, wrong ones refused and taken for right."""
    pairs = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    found = JUDGES[side]([pair["response"] for pair in pairs], [pair["answer"] for pair in pairs])
    counts = {(expected, verdict): 0 for expected in ("right", "not right") for verdict in (True, False)}
    for pair, verdict in zip(pairs, found, strict=True):
        counts[pair["expected"], verdict] += 1
    return [side, *(str(counts[cell]) for cell in counts)]


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """As Markdown."""
    for row in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(row)} |")


def main() -> None:
    """The two tables."""
    rows = []
    for side in SIDES:
        took = measured(side)
        speed = f"{ANSWERS / took['seconds']:.0f}"
        rows.append([side, speed, f"{took['right']:.0f}", f"{took['own']:.0f}", f"{took['children']:.0f}"])
    print_table(["1,000 answers", "verdicts/s", "right", "MiB", "MiB of its largest process"], rows)
    print()
    print_table(
        ["corpus", "right: found", "right: missed", "wrong: taken for right", "wrong: refused"],
        [confusion(side) for side in SIDES],
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
    else:
        main()
