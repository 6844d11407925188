"""One step of CorR-PO without any engine: the rollouts of a batch measured, and what reward follows."""

import math

import pytest
import torch

from corrpo.errors import BadInputError
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.inversion_step import InversionState, inversion_step
from corrpo.rewards.rollouts import RolloutMeter, RolloutSignals


def signals_of(*rhos):
    rho = torch.tensor(rhos, dtype=torch.float64)
    other = torch.ones_like(rho)
    return RolloutSignals(rho, other, other, other, other, other)


def step_of(signals, task_rewards=None, state=None, **settings):
    options = {"group_size": 2, "seed": 0, "progress": 0.25}
    options |= {"is_training": settings.pop("is_training", True)}
    state = state or InversionState()
    return inversion_step(signals, task_rewards, InversionSettings(**settings), state, **options)


def test_a_trainer_without_an_engine(lab_model):
    """The step of the page on other engines: measured in two processes' parts, gathered, rewarded."""
    settings, state = InversionSettings(inversion_weight=0.5), InversionState()
    meter = RolloutMeter(lab_model, settings)
    prompts = [[20, 21, 22]] * 4
    completions = [list(range(30 + row, 60 + row)) for row in range(4)]
    state.count_batch(0)
    seed = state.batch_seed(7)
    parts = [meter(lab_model, prompts[i : i + 2], completions[i : i + 2], seed=seed) for i in (0, 2)]
    signals = RolloutSignals.unstacked(torch.cat([part.stacked() for part in parts]))
    tasks = torch.tensor([[1.0], [0.0], [1.0], [1.0]])
    step = inversion_step(signals, tasks, settings, state, group_size=2, seed=seed, progress=0.0)
    torch.testing.assert_close(step.reward.double(), -signals.rho, atol=1e-6, rtol=0)
    assert step.weight == 0.5
    assert step.metrics["rho_mean"] == pytest.approx(signals.rho.mean().item())
    assert step.metrics["without_rho"] == 0


def test_pruned_keeps_as_many_positions_as_are_asked_for(lab_model):
    def rho(**settings):
        return RolloutMeter(lab_model, InversionSettings(**settings))(
            lab_model, [[20, 21, 22]], [list(range(30, 60))]
        ).rho

    exact = rho(inversion_estimator="exact")
    torch.testing.assert_close(rho(inversion_estimator="pruned"), exact)  # its default keeps all of 33
    assert rho(inversion_estimator="pruned", inversion_kept=1) != exact
    with pytest.raises(BadInputError, match="kept=8 with estimator 'own'"):
        InversionSettings(inversion_kept=8)


def test_a_rollout_that_no_task_reward_could_score_has_no_reward():
    tasks = torch.tensor([[1.0, 0.0], [math.nan, math.nan]])
    step = step_of(signals_of(-0.5, 0.25), tasks)
    assert step.reward.tolist()[0] == 0.5
    assert math.isnan(step.reward.tolist()[1])


def test_the_weight_follows_the_schedule():
    step = step_of(signals_of(-0.5, 0.25), inversion_weight=2.0, inversion_schedule="linear")
    assert step.weight == 1.5


def test_the_first_training_batch_sets_the_starting_rho_and_an_evaluation_does_not():
    state = InversionState()
    settings = {"inversion_control": "clamp", "state": state}
    step_of(signals_of(-0.5, -0.5), is_training=False, **settings)
    assert state.start_rho is None
    step_of(signals_of(math.nan, math.nan), **settings)
    assert state.start_rho is None
    step_of(signals_of(0.25, math.nan), **settings)
    assert state.as_dict() == {"start_rho": 0.25}
    assert step_of(signals_of(-0.25, 0.5), **settings).reward.tolist() == [-0.5, -0.25]
    assert InversionState(**state.as_dict()) == state


def test_a_checkpoint_keeps_the_starting_rho(tmp_path):
    state = InversionState(start_rho=0.25)
    assert not state.load(tmp_path, InversionSettings())
    assert state.start_rho == 0.25
    state.save(tmp_path, InversionSettings())
    resumed = InversionState()
    assert resumed.load(tmp_path, InversionSettings())
    assert resumed == state


def test_every_batch_has_its_seed_and_a_resumed_run_has_the_same():
    def seeds(tokens_seen):
        state, drawn = InversionState(), []
        for tokens in tokens_seen:
            state.count_batch(tokens)
            drawn.append(state.batch_seed(1))
        return drawn

    undisturbed = seeds([100, 200, 200, 200, 300])
    assert len(set(undisturbed)) == 5
    assert seeds([200, 200, 200, 300]) == undisturbed[1:]


def test_without_any_rho_the_metrics_are_nan_and_counted():
    step = step_of(signals_of(math.nan, math.nan))
    assert step.reward.tolist() == [0.0, 0.0]
    assert math.isnan(step.metrics["rho_mean"])
    assert step.metrics["without_rho"] == 1
