"""`measure` from Python: the rows, the statistics, stopping and going on, and samples it cannot use."""

import json
from dataclasses import replace

import polars as pl
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from scipy.stats import pearsonr, spearmanr

from corrpo import Fingerprint, logit_gradient_norms, measure
from corrpo.errors import BadInputError, NonFiniteError, OutputFolderError
from corrpo.jobs.files import write_json
from corrpo.measurement.fingerprint import STATISTICS
from corrpo.measurement.summary import subsampling_error
from measurement.quick import QUICK, SAMPLES


def test_every_number_of_a_row_is_what_a_user_computes(lab_model, lab_tokenizer):
    fingerprint = measure(lab_model, lab_tokenizer, SAMPLES, **QUICK)
    row = fingerprint.tokens.filter(sample="cat", position=5).row(0, named=True)
    prompt, response = (lab_tokenizer(SAMPLES[1][key]).input_ids for key in ("prompt", "response"))
    ids = torch.tensor(prompt + response)
    place = len(prompt) + 5
    logits = lab_model(ids[None]).logits[0, place - 1].double()
    p = logits.softmax(-1)
    norms = logit_gradient_norms(lab_model, ids, [place], estimator="reference")[0]
    assert row["token_id"] == ids[place]
    assert row["token"] == SAMPLES[1]["response"][5]
    assert row["entropy_bits"] == pytest.approx(-(p * p.log2()).sum().item(), rel=1e-4)
    assert row["logprob"] == pytest.approx(p[ids[place]].log().item(), rel=1e-3)
    assert row["target_logit"] == pytest.approx(logits[ids[place]].item(), rel=1e-4)
    torch.testing.assert_close(torch.tensor(row["norms"]), norms.detach(), rtol=1e-3, atol=0)
    assert row["strength"] == pytest.approx(norms.mean().item(), rel=1e-3)


def test_the_headline_is_the_correlation_of_the_columns(lab_model, lab_tokenizer):
    fingerprint = measure(lab_model, lab_tokenizer, SAMPLES, **QUICK)
    tokens = fingerprint.tokens
    assert tokens.height == sum(len(sample["response"]) for sample in SAMPLES)
    entropy, strength = tokens["entropy_bits"], tokens["strength"]
    assert fingerprint.spearman.value == pytest.approx(spearmanr(entropy, strength).statistic)
    assert fingerprint.pearson.value == pytest.approx(pearsonr(entropy, strength).statistic)
    unique = tokens.group_by("token_id").agg(pl.col("entropy_bits", "strength").mean())
    by_token = spearmanr(unique["entropy_bits"], unique["strength"]).statistic
    assert fingerprint.spearman_by_token.value == pytest.approx(by_token)
    assert fingerprint.spearman_by_token.n_tokens == unique.height
    assert fingerprint.spearman.low < fingerprint.spearman.value < fingerprint.spearman.high
    assert set(fingerprint.statistics) == set(STATISTICS)


def test_the_baseline_is_over_the_very_tokens_whose_strength_was_measured(lab_model, lab_tokenizer, tmp_path):
    fingerprint = measure(lab_model, lab_tokenizer, SAMPLES, max_tokens=6, output=tmp_path / "f", **QUICK)
    measured = fingerprint.measured_tokens
    assert measured.height < fingerprint.tokens.height
    expected = spearmanr(measured["entropy_bits"], measured["logits_gradient"]).statistic
    assert fingerprint.baseline.value == pytest.approx(expected)
    assert fingerprint.baseline.low < expected < fingerprint.baseline.high
    assert Fingerprint.load(tmp_path / "f").baseline == fingerprint.baseline
    assert str(fingerprint.baseline) in str(fingerprint)


def test_responses_that_were_cut_are_counted_and_left_out_on_request(lab_model, lab_tokenizer, tmp_path):
    asked = [{"prompt": [{"role": "user", "content": "What is 20 + 56?"}]} for _ in range(6)]
    options = {"max_new_tokens": 5, "resamples": 0, "permutations": 0, "estimator": "own"}
    every = measure(lab_model, lab_tokenizer, asked, output=tmp_path / "all", **options)
    assert 0 < every.cut < 6
    assert every.samples["cut"] == every.cut
    assert every.cut_share == every.cut / 6
    only = measure(lab_model, lab_tokenizer, asked, output=tmp_path / "only", finished_only=True, **options)
    assert only.responses.equals(every.responses)
    finished = every.responses.filter("finished")["id"]
    assert only.tokens.equals(every.tokens.filter(pl.col("sample").is_in(finished.to_list())))
    cut = every.responses.filter(~pl.col("finished"))["id"].to_list()
    assert only.samples["skipped"] == [{"sample": name, "reason": "cut at 5 tokens"} for name in cut]
    with pytest.raises(OutputFolderError, match=r"settings\.finished_only was None, now True"):
        measure(lab_model, lab_tokenizer, asked, output=tmp_path / "all", finished_only=True, **options)


def test_a_fingerprint_tells_of_its_run_which_makes_no_two_unequal(lab_model, lab_tokenizer, tmp_path):
    first, second = (measure(lab_model, lab_tokenizer, SAMPLES[:1], **QUICK) for _ in range(2))
    assert set(first.run) == {"date", "seconds", "device", "threads", "processes", "command"}
    assert first.run["device"] == "cpu"
    assert first == replace(second, run=None)
    first.save(tmp_path / "f")
    assert Fingerprint.load(tmp_path / "f").run == first.run


def test_generated_responses_stop_at_the_end_token_and_repeat_with_the_seed(lab_model, lab_tokenizer):
    asked = [{"prompt": [{"role": "user", "content": "What is 20 + 56?"}]} for _ in range(3)]
    options = {"max_new_tokens": 40, "resamples": 0, "permutations": 0}
    first = measure(lab_model, lab_tokenizer, asked, **options)
    again = measure(lab_model, lab_tokenizer, asked, **options)
    other = measure(lab_model, lab_tokenizer, asked, seed=1, **options)
    assert first.tokens.equals(again.tokens)
    assert not first.tokens["token_id"].equals(other.tokens["token_id"])
    finished = first.responses.filter(pl.col("finished"))
    for name in finished["id"]:
        ids = first.tokens.filter(sample=name)["token_id"].to_list()
        assert ids[-1] == lab_tokenizer.eos_token_id
        assert lab_tokenizer.eos_token_id not in ids[:-1]


@pytest.mark.parametrize(
    "own",
    [
        {"repetition_penalty": 5.0},
        {"top_k": 1},
        {"no_repeat_ngram_size": 1},
        {"suppress_tokens": list(range(70, 90))},
        {"typical_p": 0.1},
    ],
    ids=lambda own: next(iter(own)),
)
def test_generation_sets_the_checkpoints_own_sampling_settings_aside(lab_model, lab_tokenizer, own):
    asked = [{"prompt": "The dog "}]
    for temperature in (0.0, 1.0):
        options = {**QUICK, "temperature": temperature, "max_new_tokens": 12}
        plain = measure(lab_model, lab_tokenizer, asked, **options)
        before = lab_model.generation_config.to_dict()
        lab_model.generation_config.update(**own)
        assert measure(lab_model, lab_tokenizer, asked, **options).responses.equals(plain.responses)
        assert lab_model.generation_config.to_dict() == before | own
        lab_model.generation_config = type(lab_model.generation_config).from_dict(before)


def test_greedy_and_sampled_generation(lab_model, lab_tokenizer):
    asked = [{"prompt": "The dog "}]
    options = {**QUICK, "temperature": 0.0, "max_new_tokens": 12}
    greedy = [measure(lab_model, lab_tokenizer, asked, **options, seed=seed) for seed in range(2)]
    assert greedy[0].responses.equals(greedy[1].responses)
    sampled = [measure(lab_model, lab_tokenizer, asked, **QUICK, max_new_tokens=12, seed=s) for s in range(3)]
    assert len({fingerprint.responses["response"][0] for fingerprint in sampled}) > 1


def test_a_model_in_training_is_measured_in_eval_mode_and_left_in_training(lab_model, lab_tokenizer):
    asked = [*SAMPLES, {"prompt": "The dog "}]
    options = {**QUICK, "max_new_tokens": 12}
    truth = measure(lab_model, lab_tokenizer, asked, **options)
    for layer in lab_model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    lab_model.train()
    lab_model.lm_head.eval()
    modes = [module.training for module in lab_model.modules()]
    assert measure(lab_model, lab_tokenizer, asked, **options).tokens.equals(truth.tokens)
    assert [module.training for module in lab_model.modules()] == modes


def test_it_is_measured_in_the_dtype_of_its_weights_inside_of_autocast(lab_model, lab_tokenizer):
    """So that the dtype of the fingerprint is the one that was used."""
    samples = [*SAMPLES[:1], {"id": "asked", "prompt": "2 + 2 = "}]
    options = QUICK | {"max_new_tokens": 6}
    plain = measure(lab_model, lab_tokenizer, samples, **options)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = measure(lab_model, lab_tokenizer, samples, **options)
        assert torch.is_autocast_enabled("cpu")
    assert inside.tokens.equals(plain.tokens)
    assert inside.model["dtype"] == "float32"
    own = lab_model.forward
    AcceleratorState._reset_state(reset_partial_state=True)  # of tests before, which had another precision
    wrapped = Accelerator(cpu=True, mixed_precision="bf16").prepare(lab_model)
    assert measure(wrapped, lab_tokenizer, samples, **options).tokens.equals(plain.tokens)
    assert wrapped.forward != own
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_long_prompt_does_not_shorten_its_neighbours(lab_model, lab_tokenizer):
    from corrpo.models.generation.backend import Generation
    from corrpo.models.generation.backends import transformers

    def endless(_model, _tokenizer, prompts, *, max_new_tokens, **_):
        return [Generation([40] * max_new_tokens, finished=False) for _ in prompts]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(transformers, "generate", endless)
        asked = [{"prompt": "a" * 236}, {"prompt": "a"}]
        fingerprint = measure(lab_model, lab_tokenizer, asked, max_new_tokens=50, estimator="own", **QUICK)
    assert fingerprint.responses["response_tokens"].to_list() == [20, 50]


def test_nan_while_generating_names_the_sample(lab_model, lab_tokenizer):
    with torch.no_grad():
        lab_model.get_input_embeddings().weight[lab_tokenizer("@").input_ids[0]] = float("nan")
        lab_model.lm_head.weight = torch.nn.Parameter(lab_model.lm_head.weight.nan_to_num().clone())
    asked = [{"id": "fine", "prompt": "a"}, {"id": "bad", "prompt": "@"}]
    for temperature in (0.0, 1.0):
        with pytest.raises(NonFiniteError, match="sample 'bad': .*while generating"):
            measure(lab_model, lab_tokenizer, asked, temperature=temperature, **QUICK)


def test_subsampling_is_stratified_seeded_and_reported(lab_model, lab_tokenizer):
    fingerprint = measure(lab_model, lab_tokenizer, SAMPLES, max_tokens=6, **QUICK)
    tokens = fingerprint.tokens
    assert tokens["entropy_bits"].null_count() == 0
    measured = tokens.filter(pl.col("strength").is_not_null())
    assert measured.group_by("sample").len()["len"].to_list() == [6, 6, 6]
    assert measured["norms"].null_count() == 0
    thirds = measured.filter(sample="dog")["position"] // (28 / 3)
    assert set(thirds.cast(pl.Int32)) == {0, 1, 2}
    full = measure(lab_model, lab_tokenizer, SAMPLES, **QUICK)
    joined = measured.join(full.tokens, on=["sample", "position"])
    assert joined["strength"].to_list() == pytest.approx(joined["strength_right"].to_list(), rel=1e-5)
    report = fingerprint.samples["subsampling"]
    assert report["measured"] == 18
    assert 0 < report["standard_error"] < 0.4
    assert full.samples["subsampling"] is None


def test_the_standard_error_of_subsampling_is_that_of_a_simulation():
    import numpy as np

    rng = np.random.default_rng(0)
    x, y = rng.multivariate_normal([0, 0], [[1, -0.5], [-0.5, 1]], size=400).T
    rho = spearmanr(x, y).statistic
    draws = [rng.choice(400, 80, replace=False) for _ in range(2000)]
    spread = np.std([spearmanr(x[d], y[d]).statistic for d in draws])
    assert subsampling_error(rho, 80, 400)["standard_error"] == pytest.approx(spread, rel=0.15)


def test_save_and_load(lab_model, lab_tokenizer, tmp_path):
    fingerprint = measure(lab_model, lab_tokenizer, SAMPLES, untrained=True, **QUICK)
    fingerprint.save(tmp_path / "f")
    loaded = Fingerprint.load(tmp_path / "f")
    assert loaded.statistics == fingerprint.statistics
    assert loaded.untrained == fingerprint.untrained
    assert loaded.tokens.equals(fingerprint.tokens)
    assert loaded.responses.equals(fingerprint.responses)
    assert loaded.untrained_tokens.equals(fingerprint.untrained_tokens)
    assert (loaded.model, loaded.samples, loaded.settings) == (
        fingerprint.model,
        fingerprint.samples,
        fingerprint.settings,
    )
    with pytest.raises(BadInputError, match=r"holds no fingerprint\.json"):
        Fingerprint.load(tmp_path)
    stored = json.loads((tmp_path / "f" / "fingerprint.json").read_text())
    write_json(tmp_path / "f" / "fingerprint.json", stored | {"schema_version": 9})
    with pytest.raises(BadInputError, match="schema version 9"):
        Fingerprint.load(tmp_path / "f")


def test_the_untrained_control_reads_the_same_tokens_with_other_weights(lab_model, lab_tokenizer):
    fingerprint = measure(lab_model, lab_tokenizer, SAMPLES, untrained=True, **QUICK)
    control = fingerprint.untrained_tokens
    assert control["token_id"].equals(fingerprint.tokens["token_id"])
    assert control["entropy_bits"].mean() > 0.95 * torch.tensor(float(lab_model.config.vocab_size)).log2()
    assert set(fingerprint.untrained) == set(STATISTICS)


def test_saved_responses_are_a_samples_file(lab_model, lab_tokenizer, tmp_path):
    asked = [{"prompt": [{"role": "user", "content": "What is 20 + 56?"}], "answer": "76"}]
    options = {"max_new_tokens": 20, "resamples": 0, "permutations": 0}
    first = measure(lab_model, lab_tokenizer, asked, output=tmp_path / "a", **options)
    again = measure(lab_model, lab_tokenizer, tmp_path / "a" / "responses.jsonl", **options)
    n = again.tokens.height
    assert again.tokens["token_id"].to_list() == first.tokens["token_id"].to_list()[:n]
    assert again.responses["answer"][0] == "76"


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        ({"prompt": "a", "response": "b" * 400}, "sample 1: .*does not fit into the model's context of 256"),
        ({"prompt": "a" * 400}, "sample 1: the prompt of 400 tokens does not fit"),
    ],
)
def test_a_sample_that_cannot_be_measured_is_named_before_anything_is_computed(
    lab_model, lab_tokenizer, tmp_path, sample, words
):
    with pytest.raises(BadInputError, match=words):
        measure(lab_model, lab_tokenizer, [SAMPLES[0], sample], output=tmp_path / "out", **QUICK)
    assert not (tmp_path / "out").exists()


def test_a_given_response_too_short_to_measure_is_left_out_and_counted_or_refused(lab_model, lab_tokenizer):
    samples = [
        *SAMPLES[:1],
        {"id": "none", "prompt": "Hi", "response": ""},
        {"prompt": "Hi", "response": "x"},
    ]
    fingerprint = measure(lab_model, lab_tokenizer, samples, **QUICK)
    reasons = {left["sample"]: left["reason"] for left in fingerprint.samples["skipped"]}
    assert reasons == {"none": "the response has no token", "2": "the response has a single token"}
    with pytest.raises(BadInputError, match=r"sample 1: the response '' has 0 token\(s\)"):
        measure(lab_model, lab_tokenizer, samples, strict=True, **QUICK)


def test_a_generated_response_of_one_token_is_left_out_and_listed(lab_model, lab_tokenizer, monkeypatch):
    from corrpo.models.generation.backend import Generation
    from corrpo.models.generation.backends import transformers as module

    written = [Generation([lab_tokenizer.eos_token_id], True), Generation([40, 41, 42], False)]
    monkeypatch.setattr(module, "generate", lambda *_, **__: written)
    fingerprint = measure(lab_model, lab_tokenizer, [{"prompt": "a"}, {"prompt": "b"}], **QUICK)
    assert fingerprint.samples["skipped"] == [{"sample": "0", "reason": "the response has a single token"}]
    assert fingerprint.tokens["sample"].unique().to_list() == ["1"]
    monkeypatch.setattr(module, "generate", lambda *_, **__: written[:1])
    nothing = measure(lab_model, lab_tokenizer, [{"prompt": "a"}], **QUICK)
    assert nothing.spearman.value is None
    assert nothing.spearman.reason == "no response of two tokens or more"


def test_constant_entropy_gives_null_with_a_reason(lab_model, lab_tokenizer):
    with torch.no_grad():
        for parameter in lab_model.lm_head.parameters():
            parameter.zero_()
    fingerprint = measure(lab_model, lab_tokenizer, SAMPLES, estimator="own", **QUICK)
    assert fingerprint.spearman.value is None
    assert "constant" in fingerprint.spearman.reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temprature": 1}, "no option 'temprature'.*temperature"),
        ({"temperature": -1.0}, r"temperature=-1\.0"),
        ({"top_p": 0.0}, r"top_p=0\.0"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"max_tokens": 1}, "max_tokens=1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
        ({"confidence": 95.0}, "confidence must lie between 0 and 1"),
        ({"resamples": -1}, "resamples must be a whole number"),
        ({"layers": (99,)}, r"layers=\[99\]: expected indices in \[-4, 3\]"),
        ({"projections": ("q", "q")}, "expected distinct names"),
    ],
)
def test_a_bad_option_is_named_before_anything_is_written(lab_model, lab_tokenizer, tmp_path, options, words):
    with pytest.raises(BadInputError, match=words):
        measure(lab_model, lab_tokenizer, SAMPLES, output=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
