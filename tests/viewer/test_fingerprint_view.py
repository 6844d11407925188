"""What the viewer shows of a fingerprint, without a browser."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import corrpo
from corrpo.answers.verifier import Reply
from corrpo.errors import BadInputError
from corrpo.jobs.files import read_json, write_json
from corrpo.lab import sample_location
from corrpo.models.model_names import model_location
from corrpo.samples import load_samples
from corrpo.statistics import spearman
from corrpo.viewer import fingerprint_view
from corrpo.viewer.fingerprint_view import ViewedFingerprint, viewed_fingerprints
from corrpo.viewer.response_verdicts import response_verdicts
from viewer.results import HOSTILE, made


@pytest.fixture
def folder(tmp_path):
    made(6, 30).save(tmp_path / "run")
    return tmp_path / "run"


def test_the_index_counts_and_judges_every_sample(folder):
    index = ViewedFingerprint(folder, "run").index
    assert index["rho"] == "−0.10 [−0.20, 0.00]"
    assert [sample["correct"] for sample in index["samples"]] == [None, False, True, None, True, False]
    assert index["unknown"] == {"no right answer to compare with": 2}
    assert {sample["tokens"] for sample in index["samples"]} == {30}
    tokens = pl.read_parquet(folder / "tokens.parquet").filter(pl.col("sample") == "s4")
    measured = tokens.drop_nulls("strength")
    expected = spearman(measured["entropy_bits"].to_numpy(), measured["strength"].to_numpy())
    assert index["samples"][4]["rho"] == pytest.approx(expected)
    assert index["samples"][4]["entropy"] == pytest.approx(tokens["entropy_bits"].mean())
    assert "coverage" in index["warning"]
    json.dumps(index, allow_nan=False)


def test_the_share_that_is_done_grows_to_one(folder):
    shares = list(ViewedFingerprint(folder, "run").prepare())
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_a_sample_has_a_value_of_each_kind_for_every_token(folder):
    shown = ViewedFingerprint(folder, "run").sample(2)
    tokens = pl.read_parquet(folder / "tokens.parquet").filter(pl.col("sample") == "s2")
    assert shown["entropy"] == tokens["entropy_bits"].to_list()
    assert shown["strength"] == tokens["strength"].to_list()
    assert shown["probability"] == pytest.approx(np.exp(tokens["logprob"].to_numpy()).tolist())
    assert shown["rank"] == [1] * 30
    assert [q is None for q in shown["disagreement"]] == [s is None for s in shown["strength"]]
    assert shown["prompt"] == "user: What is 2 + 1?"
    assert (shown["answer"], shown["correct"], shown["reason"]) == ("2", True, None)
    json.dumps(shown, allow_nan=False)


def test_quantiles_are_those_among_all_measured_tokens(folder):
    run = ViewedFingerprint(folder, "run")
    result = np.array([q for i in range(6) for q in run.sample(i)["entropy_quantile"] if q is not None])
    assert len(result) == 6 * 20
    assert np.sort(result) == pytest.approx((np.arange(120) + 0.5) / 120, abs=1e-4)
    values = [e for i in range(6) for e, s in zip(*_columns(run, i), strict=True) if s is not None]
    assert run.index["edges"]["entropy"][50] == pytest.approx(np.median(values))


def _columns(run, number):
    shown = run.sample(number)
    return shown["entropy"], shown["strength"]


def test_disagreement_is_high_where_entropy_is_high_and_strength_low(folder):
    run = ViewedFingerprint(folder, "run")
    shown = run.sample(1)
    place = next(i for i, value in enumerate(shown["disagreement"]) if value is not None)
    expected = shown["entropy_quantile"][place] - shown["strength_quantile"][place]
    assert shown["disagreement"][place] == pytest.approx(expected, abs=2e-4)
    assert all(-1 < value < 1 for value in shown["disagreement"] if value is not None)


def test_a_token_has_its_map_or_none(folder):
    run = ViewedFingerprint(folder, "run")
    tokens = pl.read_parquet(folder / "tokens.parquet").filter(pl.col("sample") == "s3")
    shown = run.token(3, 0)
    assert shown == {
        "text": "␣the",
        "characters": 4,
        "projections": ["q", "o"],
        "layers": [0, 1],
        "norms": tokens["norms"][0].to_list(),
    }
    assert run.token(3, 8)["norms"] is None
    assert run.token(3, 7)["text"] == "\\n"
    for number, place in ((6, 0), (-1, 0), (0, 30), (0, -1)):
        with pytest.raises(IndexError):
            run.token(number, place)


def test_jumps_go_to_every_token_of_high_entropy_and_low_strength(folder, monkeypatch):
    run = ViewedFingerprint(folder, "run")
    result = {
        (i, token): (high, low)
        for i in range(6)
        for token, (high, low) in enumerate(_quantiles(run.sample(i)))
        if high is not None and high >= 0.9 and low <= 0.5
    }
    assert [(i, token) for i, tokens in enumerate(run.index["jumps"]) for token in tokens] == sorted(result)
    monkeypatch.setattr(fingerprint_view, "JUMPS", 2)
    few = ViewedFingerprint(folder, "run").index["jumps"]
    kept = sorted(result, key=lambda key: result[key][1] - result[key][0])[:2]
    assert [(i, token) for i, tokens in enumerate(few) for token in tokens] == sorted(kept)


def _quantiles(shown):
    return zip(shown["entropy_quantile"], shown["strength_quantile"], strict=True)


def test_hostile_tokens_are_visible_text_that_json_can_hold(tmp_path):
    made(1, len(HOSTILE), texts=HOSTILE).save(tmp_path)
    run = ViewedFingerprint(tmp_path, "run")
    shown = run.sample(0)
    text = json.dumps(shown, ensure_ascii=False).encode("utf-8").decode()
    assert not any(char in text for char in "\x00\x1b\u202e")
    assert shown["token"][4] == "line⏎\nbreak"
    assert len(shown["token"][7]) == 200
    assert run.token(0, 7)["characters"] == 10_000


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(), max_size=40))
def test_any_prompt_and_answer_can_be_sent(tmp_path_factory, text):
    """Lone surrogates and controls among them, in ids and answers too."""
    folder = tmp_path_factory.mktemp("any")
    fingerprint = made(1, 3)
    fingerprint.save(folder)
    row = {"id": "s0", "prompt": [{"role": text, "content": text}], "response": text, "answer": text}
    (folder / "responses.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    summary = read_json(folder / "fingerprint.json")
    write_json(folder / "fingerprint.json", summary | {"responses_sha256": None})
    run = ViewedFingerprint(folder, text)
    for content in (run.index, run.sample(0)):
        sent = json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8")
        assert json.loads(sent) == content


def test_tokens_of_a_sample_are_brought_together_and_older_files_have_no_rank(folder):
    tokens = pl.read_parquet(folder / "tokens.parquet").drop("rank")
    tokens.sample(fraction=1.0, shuffle=True, seed=1).write_parquet(folder / "tokens.parquet")
    run = ViewedFingerprint(folder, "run")
    assert sorted(name for name, _, _ in run.bounds) == [f"s{i}" for i in range(6)]
    for number, (name, _, _) in enumerate(run.bounds):
        of_sample = tokens.filter(pl.col("sample") == name)
        shown = run.sample(number)
        assert shown["entropy"] == of_sample["entropy_bits"].to_list()
        assert shown["rank"] == [None] * 30
        assert run.token(number, 1)["norms"] == of_sample["norms"][1].to_list()


def test_a_fingerprint_without_any_strength_can_be_read(tmp_path):
    made(2, 9, norms=False).save(tmp_path)
    run = ViewedFingerprint(tmp_path, "run")
    assert run.index["jumps"] == [[], []]
    assert run.index["edges"] == {"entropy": None, "strength": None}
    assert run.sample(0)["entropy_quantile"] == [None] * 9


def test_values_that_are_not_finite_are_not_sent(folder):
    tokens = pl.read_parquet(folder / "tokens.parquet")
    tokens = tokens.with_columns(
        entropy_bits=pl.when(pl.col("position") == 0).then(float("nan")).otherwise("entropy_bits"),
        logprob=pl.when(pl.col("position") == 1).then(float("-inf")).otherwise("logprob"),
    )
    tokens.write_parquet(folder / "tokens.parquet")
    run = ViewedFingerprint(folder, "run")
    shown = run.sample(0)
    assert (shown["entropy"][0], shown["entropy_quantile"][0], shown["probability"][1]) == (None, None, 0)
    json.dumps([shown, run.index], allow_nan=False)


ROW = {"response": "so \\boxed{0.5}", "answer": "\\frac12"}


def test_a_response_is_judged_behind_what_its_chat_has_begun():
    chat = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "So \\boxed{"}]
    row = {"prompt": chat, "response": "2}", "answer": "2"}
    alone = row | {"prompt": "1 + 1?"}
    assert [verdict.correct for verdict in response_verdicts([row, alone], "math")] == [True, False]


def test_math_sees_what_text_does_not():
    assert [verdict.correct for verdict in response_verdicts([ROW], "exact")] == [False]
    assert [verdict.correct for verdict in response_verdicts([ROW], "math")] == [True]
    (unchecked,) = response_verdicts([ROW], "none")
    assert (unchecked.correct, unchecked.reason) == (None, "answers are not checked")


@pytest.mark.parametrize(
    ("verdict", "correct", "reason"),
    [
        ("right", True, None),
        ("wrong", False, None),
        ("unparsed", False, None),
        ("timeout", None, "math-verify ran out of time"),
        ("error", None, "math-verify failed"),
        ("unreadable", None, "the right answer cannot be read"),
    ],
)
def test_where_math_verify_fails_a_response_is_neither(monkeypatch, verdict, correct, reason):
    monkeypatch.setattr(
        "corrpo.viewer.response_verdicts.judge",
        lambda texts, answers, check: [Reply(verdict, "")] * len(texts),
    )
    (result,) = response_verdicts([ROW], "math")
    assert (result.correct, result.reason) == (correct, reason)


@pytest.mark.parametrize("row", [None, ROW | {"answer": None}, ROW | {"answer": " "}, {"answer": "1"}])
@pytest.mark.parametrize("check", ["exact", "math"])
def test_without_an_answer_nothing_is_known(row, check):
    (result,) = response_verdicts([row], check)
    assert (result.correct, result.reason) == (None, "no right answer to compare with")


def test_folders_are_named_by_their_path_below_the_one_given(tmp_path):
    for name in ("a/step-2", "a/step-1"):
        made(1, 3).save(tmp_path / name)
    assert [fingerprint.label for fingerprint in viewed_fingerprints(tmp_path, "exact")] == [
        "a/step-1",
        "a/step-2",
    ]
    assert [fingerprint.label for fingerprint in viewed_fingerprints(tmp_path / "a/step-2", "exact")] == [
        "step-2"
    ]
    (tmp_path / "void").mkdir()
    with pytest.raises(BadInputError, match=r"holds no fingerprint\.json"):
        viewed_fingerprints(tmp_path / "void", "exact")
    with pytest.raises(BadInputError, match="is not a folder"):
        viewed_fingerprints(tmp_path / "nowhere", "exact")


def test_links_that_lead_out_of_the_folder_are_not_followed(tmp_path):
    made(1, 3).save(tmp_path / "other")
    made(1, 3).save(tmp_path / "here" / "run")
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "other")
    assert [fingerprint.label for fingerprint in viewed_fingerprints(tmp_path / "here", "exact")] == ["run"]
    tokens = tmp_path / "here" / "run" / "tokens.parquet"
    tokens.unlink()
    tokens.symlink_to(tmp_path / "other" / "tokens.parquet")
    with pytest.raises(BadInputError, match=r"tokens\.parquet is a link that leads out of"):
        viewed_fingerprints(tmp_path / "here", "exact")


def _cut(folder):
    path = folder / "tokens.parquet"
    path.write_bytes(path.read_bytes()[:200])


def _without(*columns):
    def change(folder):
        path = folder / "tokens.parquet"
        pl.read_parquet(path).drop(columns).write_parquet(path)

    return change


def _written(name, text):
    return lambda folder: (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_cut, r"cannot read .*tokens\.parquet"),
        (lambda folder: (folder / "tokens.parquet").unlink(), r"cannot read .*tokens\.parquet"),
        (_without("entropy_bits", "token"), r"tokens\.parquet has no column token, entropy_bits"),
        (lambda folder: made(1, 0).tokens.write_parquet(folder / "tokens.parquet"), "has no tokens"),
        (lambda folder: (folder / "responses.jsonl").unlink(), r"cannot read .*responses\.jsonl"),
        (_written("responses.jsonl", '{"id": "s0", "prompt": ""}\n[1]\n'), r"responses\.jsonl line 2 is not"),
        (_written("fingerprint.json", "{"), r"fingerprint\.json is not valid JSON"),
        (_written("fingerprint.json", '{"schema_version": 9}'), "has schema version 9"),
        (_written("fingerprint.json", '{"schema_version": 1}'), r"is not whole: KeyError\('statistics'\)"),
    ],
)
def test_broken_files_are_reported_by_name(folder, change, message):
    change(folder)
    with pytest.raises(BadInputError, match=message):
        _ = ViewedFingerprint(folder, "run").index


def test_without_norms_the_rest_can_be_read(folder):
    _without("norms")(folder)
    run = ViewedFingerprint(folder, "run")
    assert len(run.sample(0)["token"]) == 30
    with pytest.raises(BadInputError, match="norms"):
        run.token(0, 0)


def test_what_measure_writes_is_shown_as_it_is(tmp_path):
    model, tokenizer = corrpo.load_model(model_location("lab:qwen2/reasoning"))
    samples = load_samples(sample_location("lab:reasoning"))[:4]
    fingerprint = corrpo.measure(
        model, tokenizer, samples, max_new_tokens=120, max_tokens=20, resamples=20, permutations=0
    )
    fingerprint.save(tmp_path)
    run = ViewedFingerprint(tmp_path, "run")
    tokens = fingerprint.tokens.filter(pl.col("sample") == samples[1].id)
    shown = run.sample(1)
    assert "".join(shown["token"]) == "".join(tokens["token"])
    assert shown["rank"] == tokens["rank"].to_list()
    place = next(i for i, value in enumerate(shown["strength"]) if value is not None)
    norms = run.token(1, place)["norms"]
    assert np.mean(norms) == pytest.approx(shown["strength"][place])
    assert run.token(1, place)["projections"] == ["q", "k", "v", "o"]
    assert None not in [sample["correct"] for sample in run.index["samples"]]
