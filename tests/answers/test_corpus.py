r"""The corpus of answer pairs: as a file, judged by the check "math", and carried in boxes and tags alike."""

import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from corrpo.answers.reading import final_answer
from corrpo.answers.verdict import judge

PAIRS = [
    json.loads(line)
    for line in Path(__file__).with_name("corpus.jsonl").read_text(encoding="utf-8").splitlines()
]

_BOX = re.compile(r"\\boxed\{(.*)\}[^{}]*", re.DOTALL)
_TAGS = re.compile(r"<answer>(.*)</answer>", re.DOTALL)
_ELSEWHERE = re.compile(r"[$`]|align|\*\*|\*[0-9]|\\[\[(]|[A-Za-z]+ [A-Za-z]+ [A-Za-z]+|\. ?$|^= ")
"""Delimiters, markup and sentences, which belong where they stand."""


def bare_answer(response: str) -> str | None:
    r"""The answer of a response that has one, in a box or in tags, where it could stand in either.

    A box that the words beside it deny is none.

    >>> bare_answer(r"so $\boxed{\frac34}$."), bare_answer("<answer> 7 </answer>"), bare_answer(r"\boxed{}")
    ('\\frac34', '7', None)
    """
    if response.count("\\boxed") + response.count("<answer>") != 1:
        return None
    found = _BOX.search(response) or _TAGS.search(response)
    bare = found[1].strip() if found else ""
    is_denied = (final_answer(response) or "").strip() != bare
    return None if not bare or is_denied or _ELSEWHERE.search(bare) else bare


def assert_verdicts(pairs) -> None:
    """Fail with a line for each pair of response, answer and expected verdict that is judged otherwise."""
    responses, answers, expected = zip(*pairs, strict=True)
    lines = []
    for response, answer, wanted, reply in zip(
        responses, answers, expected, judge(responses, answers), strict=True
    ):
        if (reply.verdict == "right") != (wanted == "right"):
            lines.append(f"{response!r} for {answer!r} is {wanted}, judged {reply.verdict} {reply.detail}")
    if lines:
        pytest.fail("\n".join([f"{len(lines)} of {len(pairs)} pairs:", *lines]), pytrace=False)


def test_the_corpus_is_well_formed():
    assert len(PAIRS) >= 400
    assert {frozenset(pair) for pair in PAIRS} == {
        frozenset({"kind", "response", "answer", "expected", "source"})
    }
    assert len({(pair["response"], pair["answer"]) for pair in PAIRS}) == len(PAIRS), "a pair stands twice"
    assert sum(pair["expected"] == "not right" for pair in PAIRS) >= 0.45 * len(PAIRS)


def test_each_kind_has_both_verdicts_and_a_public_source():
    verdicts, sources = defaultdict(set), defaultdict(set)
    for pair in PAIRS:
        verdicts[pair["kind"]].add(pair["expected"])
        sources[pair["kind"]].add(pair["source"])
    assert {kind: found for kind, found in verdicts.items() if found != {"right", "not right"}} == {}
    assert all(len(found) == 1 and min(found).startswith("https://") for found in sources.values())


def test_every_pair_has_its_verdict():
    assert_verdicts([(pair["response"], pair["answer"], pair["expected"]) for pair in PAIRS])


@pytest.mark.parametrize("carrier", [r"\boxed{%s}", "<answer>%s</answer>"])
def test_a_box_and_tags_are_read_alike(carrier):
    carried = [
        (carrier.replace("%s", bare), pair["answer"], pair["expected"])
        for pair in PAIRS
        if (bare := bare_answer(pair["response"])) is not None
    ]
    assert len(carried) > 350
    assert_verdicts(carried)
