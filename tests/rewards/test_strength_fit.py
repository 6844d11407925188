"""Strengths of rollouts from own-position parts: the regression, and the meter beside a slow loop."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import spearmanr

from corrpo.errors import BadInputError, DamagedFileError
from corrpo.lab import checkpoint
from corrpo.models.loading import load_model
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.inversion_step import InversionState
from corrpo.rewards.rollouts import JUDGED_EVERY, RolloutMeter
from corrpo.rewards.strength_fit import RIDGE, WINDOW, StrengthFit, own_features
from corrpo.strength.gradient_norms import logit_gradient_norms


@pytest.fixture(scope="module")
def lab_model():
    return load_model(str(checkpoint("qwen2", "reasoning")), device="cpu", dtype="float32")[0]


def rollouts(count: int, tokens: int = 40) -> tuple[list[list[int]], list[list[int]]]:
    """Random prompts and completions of the lab's vocabulary."""
    draws = torch.Generator().manual_seed(count)
    ids = torch.randint(3, 60, (count, 12 + tokens), generator=draws).tolist()
    return [row[:12] for row in ids], [row[12:] for row in ids]


def slow_strengths(judged: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The regression as least squares with rows added for the penalty."""
    known, log_strength = judged[:, :-1], judged[:, -1]
    centre, scale = known.mean(0), known.std(0)
    columns = (known - centre) / np.where(scale > 0, scale, 1)
    rows = np.vstack([columns, np.sqrt(RIDGE) * np.eye(columns.shape[1])])
    values = np.concatenate([log_strength - log_strength.mean(), np.zeros(columns.shape[1])])
    weights = np.linalg.lstsq(rows, values, rcond=None)[0]
    return np.exp((features - centre) / np.where(scale > 0, scale, 1) @ weights + log_strength.mean())


def test_strengths_are_those_of_ridge_regression_as_least_squares():
    numbers = np.random.default_rng(0)
    judged, features = numbers.normal(size=(50, 6)), numbers.normal(size=(7, 5))
    judged[:, 2] = 1.0  # a part that never changes says nothing
    fit = StrengthFit()
    fit.add(torch.tensor(judged))
    found = fit.strengths(torch.tensor(features)).numpy()
    np.testing.assert_allclose(found, slow_strengths(judged, features), rtol=1e-10)


def test_the_latest_tokens_alone_count():
    fit = StrengthFit()
    for batch in range(WINDOW // 100 + 2):
        fit.add(torch.full((100, 2), float(batch)))
    assert fit.judged is not None
    assert fit.judged.shape == (WINDOW, 2)
    assert fit.judged[-1, 0] == WINDOW // 100 + 1


def test_without_a_judged_token_all_strengths_are_0_and_no_rollout_has_a_rho(lab_model):
    fit = StrengthFit()
    fit.add(torch.zeros(0, 18))
    assert fit.judged is None
    assert fit.strengths(torch.rand(3, 17).double()).tolist() == [0, 0, 0]
    meter = RolloutMeter(lab_model, InversionSettings())
    assert meter(lab_model, *rollouts(2), fit=fit).rho.isnan().all()


def test_the_meter_gives_the_rhos_of_a_slow_loop(lab_model):
    prompts, completions = rollouts(8)
    meter, fit = RolloutMeter(lab_model, InversionSettings()), StrengthFit()
    fit.add(meter.judge(lab_model, prompts, completions, fit, seed=5))
    found = meter(lab_model, prompts, completions, fit=fit, seed=5).rho
    judged = fit.judged.numpy()
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        ids, where = torch.tensor(prompt + completion), torch.arange(12, 52)
        own = logit_gradient_norms(lab_model, ids, where, estimator="own").double()
        strengths = slow_strengths(judged, own_features(own, where).numpy())
        with torch.no_grad():
            log_p = lab_model(input_ids=ids[None]).logits[0, 11:-1].double().log_softmax(-1)
        rho = spearmanr(-(log_p.exp() * log_p).sum(1), strengths).statistic
        assert found[row].item() == pytest.approx(rho, abs=2e-3)


def test_judged_tokens_hold_the_strength_of_the_whole_gradient(lab_model, monkeypatch):
    monkeypatch.setattr("corrpo.rewards.rollouts.JUDGED_KEPT", 32)
    prompts, completions = rollouts(2, tokens=16)
    meter = RolloutMeter(lab_model, InversionSettings())
    judged = meter.judge(lab_model, prompts, completions, StrengthFit())
    exact = [
        logit_gradient_norms(lab_model, torch.tensor(p + c), range(12, 28)).double().mean((1, 2)).log()
        for p, c in zip(prompts, completions, strict=True)
    ]
    np.testing.assert_allclose(judged[:, -1], torch.cat(exact), atol=1e-3)


def test_one_rollout_in_eight_is_judged_once_some_are_and_the_same_in_two_processes(lab_model):
    prompts, completions = rollouts(16)
    meter, fit = RolloutMeter(lab_model, InversionSettings(inversion_fit_tokens=4)), StrengthFit()
    first = meter.judge(lab_model, prompts, completions, fit)
    assert len(first) == JUDGED_EVERY * 4
    fit.add(first)
    together = meter.judge(lab_model, prompts, completions, fit, seed=3)
    halves = [
        meter.judge(lab_model, prompts[at : at + 8], completions[at : at + 8], fit, seed=3, first=at)
        for at in (0, 8)
    ]
    assert len(together) == 16 // JUDGED_EVERY * 4
    assert torch.equal(together, torch.cat(halves))


def test_fitted_strengths_rank_the_tokens_of_other_rollouts_more_like_exact_than_own_does(lab_model):
    prompts, completions = rollouts(24)
    meter, fit = RolloutMeter(lab_model, InversionSettings()), StrengthFit()
    for at in (0, 8):
        fit.add(meter.judge(lab_model, prompts[at : at + 8], completions[at : at + 8], StrengthFit()))
    agreement = {"own": [], "fitted": []}
    for prompt, completion in zip(prompts[16:], completions[16:], strict=True):
        ids, where = torch.tensor(prompt + completion), torch.arange(12, 52)
        exact = logit_gradient_norms(lab_model, ids, where).mean((1, 2))
        own = logit_gradient_norms(lab_model, ids, where, estimator="own")
        fitted = fit.strengths(own_features(own, where))
        agreement["own"].append(spearmanr(own.mean((1, 2)), exact).statistic)
        agreement["fitted"].append(spearmanr(fitted, exact).statistic)
    assert np.mean(agreement["fitted"]) > np.mean(agreement["own"])


def test_nothing_is_judged_where_own_is_taken_as_it_is(lab_model):
    meter = RolloutMeter(lab_model, InversionSettings(inversion_fit_tokens=0))
    assert not meter.fits
    assert not len(meter.judge(lab_model, *rollouts(8), StrengthFit()))


def test_a_checkpoint_keeps_the_judged_tokens(tmp_path):
    state, other = InversionState(start_rho=0.5), InversionState()
    state.fit.add(torch.rand(20, 4))
    state.save(tmp_path, InversionSettings())
    assert other.load(tmp_path, InversionSettings())
    assert torch.equal(other.fit.judged, state.fit.judged)


def test_judged_tokens_of_other_parts_are_left_behind(tmp_path, caplog):
    state, other = InversionState(), InversionState()
    state.fit.add(torch.rand(20, 4))
    state.save(tmp_path, InversionSettings())
    assert other.load(tmp_path, InversionSettings(inversion_projections=["o", "v", "k", "q"]))
    assert other.fit.judged is None
    assert "the regression of strengths starts anew" in caplog.text


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-4]), "cannot read .*inversion_fit"),
        (lambda file: file.write_bytes(b""), "cannot read .*inversion_fit"),
        (lambda file: save_file({"other": torch.zeros(2, 2)}, file), "'judged'"),
        (lambda file: save_file({"judged": torch.full((2, 2), math.nan)}, file), "not those of tokens"),
        (lambda file: (file.parent / "inversion_state.json").write_text("{}"), "holds no start_rho"),
    ],
    ids=["cut", "empty", "other", "nan", "no rho"],
)
def test_a_damaged_state_is_told(tmp_path, damage, said):
    state = InversionState()
    state.fit.add(torch.rand(20, 4))
    state.save(tmp_path, InversionSettings())
    damage(tmp_path / "inversion_fit.safetensors")
    with pytest.raises(DamagedFileError, match=said):
        InversionState().load(tmp_path, InversionSettings())


@pytest.mark.parametrize("size", [1, 2, 4, 7])
def test_some_rollout_of_every_batch_is_judged_however_small_it_is(lab_model, size):
    meter, fit = RolloutMeter(lab_model, InversionSettings(inversion_fit_tokens=4)), StrengthFit()
    fit.add(meter.judge(lab_model, *rollouts(8), fit))
    for seed in range(0, 96, 12):
        assert len(meter.judge(lab_model, *rollouts(size), fit, seed=42 + seed)) == 4


@pytest.mark.parametrize(("tokens", "estimator"), [(-1, "own"), (16, "exact")])
def test_fit_tokens_are_a_number_and_of_own(tokens, estimator):
    with pytest.raises(BadInputError, match=f"inversion_fit_tokens={tokens}.*{estimator}"):
        InversionSettings(inversion_fit_tokens=tokens, inversion_estimator=estimator)


@pytest.mark.parametrize("name", ["fit_tokens", "kept", "max_tokens", "min_tokens"])
@pytest.mark.parametrize("value", [1.5, math.nan, True, "3"])
def test_numbers_of_tokens_are_whole(name, value):
    settings = InversionSettings()
    setattr(settings, f"inversion_{name}", value)
    with pytest.raises(BadInputError, match=f"inversion_{name}={value!r}: expected a whole number"):
        settings.__post_init__()
