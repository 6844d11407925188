"""The corpus of answer pairs as a file: its keys, its size, both verdicts for each kind."""

import json
from collections import defaultdict
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus.jsonl")


def test_the_corpus_is_well_formed():
    pairs = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    assert len(pairs) >= 400
    assert {frozenset(pair) for pair in pairs} == {
        frozenset({"kind", "response", "answer", "expected", "source"})
    }
    assert len({(pair["response"], pair["answer"]) for pair in pairs}) == len(pairs), "a pair stands twice"
    assert sum(pair["expected"] == "not right" for pair in pairs) >= 0.45 * len(pairs)


def test_each_kind_has_both_verdicts_and_a_public_source():
    pairs = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    verdicts, sources = defaultdict(set), defaultdict(set)
    for pair in pairs:
        verdicts[pair["kind"]].add(pair["expected"])
        sources[pair["kind"]].add(pair["source"])
    assert {kind: found for kind, found in verdicts.items() if found != {"right", "not right"}} == {}
    assert all(len(found) == 1 and min(found).startswith("https://") for found in sources.values())
