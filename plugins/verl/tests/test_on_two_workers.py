"""CorR-PO in verl's own worker group: two processes over Ray, FSDP1 and FSDP2 on gloo, recorded rollouts."""

from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from omegaconf import open_dict

from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.models.loading import load_model
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.inversion_step import InversionState
from corrpo.rewards.rollouts import RolloutMeter, RolloutSignals
from without_generation import MODEL, configuration, put, read, trainer_on

MIXED = [3, 5, 0, 6, 1, 7, 2, 4]
"""The rows of the batch in an order that keeps the first prompt first."""

MEASURED = {
    "fsdp": {"inversion_fit_tokens": 0},
    "fsdp2": {"inversion_fit_tokens": 16},
}
"""What the workers of each engine measure; one of the cases that were recorded on TRL."""


@pytest.fixture(scope="module", params=MEASURED)
def trainer(request, cluster, recorded, tmp_path_factory):
    """The trainer on an engine; tests set `inversion_settings`, and not what its workers measure."""
    settings = [f"+corrpo.{name}={value}" for name, value in MEASURED[request.param].items()]
    started = trainer_on(
        configuration(
            f"actor_rollout_ref.actor.strategy={request.param}",
            f"actor_rollout_ref.actor.data_loader_seed={recorded['rollouts']['seed'] - 1}",
            f"trainer.default_local_dir={tmp_path_factory.mktemp('run')}",
            *settings,
        )
    )
    started.engine = request.param
    return started


def of_trl(trainer, recorded):
    """The recorded cases that measure what the trainer's workers do."""
    cases = [
        case for case in recorded["cases"] if case["settings"].items() >= MEASURED[trainer.engine].items()
    ]
    assert cases
    return cases


def advantages(trainer, batch, settings=None, *, by_std=False):
    """Those of the first step under other settings, rows padded with 0, and the metrics."""
    if settings is not None:
        trainer.inversion_settings, trainer.inversion_state = InversionSettings(**settings), InversionState()
        trainer.actor_rollout_wg.set_judged_tokens(None)
    trainer.config.algorithm.norm_adv_by_std_in_grpo = by_std
    metrics = {}
    trainer._compute_advantage(batch, metrics)
    return read(batch, "advantages"), metrics


def reordered(values, order):
    return torch.tensor(values)[list(order)]


def test_rhos_are_those_of_one_process(trainer, recorded):
    batch, rollouts = put(recorded["rollouts"]), recorded["rollouts"]
    trainer.inversion_state = InversionState()
    trainer.actor_rollout_wg.set_judged_tokens(None)
    trainer._inversion_rewards(batch, {})
    signals = RolloutSignals.unstacked(read(batch, "inversion_signals"))
    model, _ = load_model(str(MODEL))
    alone = RolloutMeter(model, trainer.inversion_settings)(
        model, rollouts["prompts"], rollouts["completions"], seed=rollouts["seed"]
    )
    torch.testing.assert_close(signals.rho, alone.rho, atol=1e-6, rtol=0)
    torch.testing.assert_close(signals.strength_mean, alone.strength_mean, atol=0, rtol=1e-5)
    assert signals.tokens.tolist() == alone.tokens.tolist()


def test_rewards_and_advantages_are_those_of_the_trainer_on_trl(trainer, recorded):
    """In verl's order of a balanced batch, but where the choice of tokens depends on it.

    GRPO divides by std + 1e-6 on verl, by std + 1e-4 on TRL.
    """
    order = range(8) if trainer.inversion_settings.fit_tokens else MIXED
    task = reordered(recorded["rollouts"]["task"], order)
    for case in of_trl(trainer, recorded):
        batch = put(recorded["rollouts"], order=order)
        found, metrics = advantages(trainer, batch, case["settings"])
        weight = case["settings"].get("inversion_weight", 0.5)
        assert metrics["inversion/weight"] == weight
        total = task + weight * reordered(case["reward"], order)
        torch.testing.assert_close(read(batch, "token_level_rewards").sum(1), total, atol=1e-6, rtol=0)
        assert torch.equal(read(batch, "rm_scores").sum(1), task)
        theirs = reordered(case["advantages scaled by none"], order)
        torch.testing.assert_close(found[:, 0], theirs, atol=1e-6, rtol=0)

        scaled, _ = advantages(trainer, put(recorded["rollouts"], order=order), case["settings"], by_std=True)
        group = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])[list(order)]
        std = torch.stack([total[group == g].std() for g in group.tolist()])
        theirs = reordered(case["advantages scaled by group"], order)
        torch.testing.assert_close(scaled[:, 0] * (std + 1e-6) / (std + 1e-4), theirs, atol=2e-5, rtol=0)


@pytest.mark.parametrize("by_std", [False, True])
def test_weight_zero_leaves_the_advantages_of_verl_bit_for_bit(trainer, recorded, by_std):
    settings = {**MEASURED[trainer.engine], "inversion_weight": 0.0}
    ours, metrics = advantages(trainer, put(recorded["rollouts"]), settings, by_std=by_std)
    assert -1 < metrics["inversion/rho_mean"] < 1
    own = trainer_on(configuration(trainer="sync"), trainer.actor_rollout_wg)
    theirs, _ = advantages(own, put(recorded["rollouts"]), by_std=by_std)
    assert torch.equal(ours, theirs)
    assert theirs.abs().sum() > 0


def stepped(trainer, rollouts, folder):
    """One whole step of a trainer; the policy's shards after it, and the metrics."""
    batch, metrics = put(rollouts), {}
    trainer.replay_buffer = SimpleNamespace(sample=lambda **_: (batch, {}))
    trainer.step(metrics, trainer.timing_raw)
    trainer.actor_rollout_wg.save_checkpoint(str(folder))
    shards = [
        torch.load(folder / f"model_world_size_2_rank_{rank}.pt", weights_only=False) for rank in (0, 1)
    ]
    return [value.to_local().clone() for shard in shards for value in shard.values()], metrics


def test_a_step_at_weight_zero_trains_as_verl_does_and_another_weight_does_not(trainer, recorded, tmp_path):
    workers = trainer.actor_rollout_wg
    workers.save_checkpoint(str(tmp_path / "start"))
    own = trainer_on(configuration(trainer="sync"), workers)
    policies = {}
    for name, which, weight in (("verl", own, None), ("zero", trainer, 0.0), ("one", trainer, 1.0)):
        if weight is not None:
            which.inversion_settings = InversionSettings(**MEASURED[which.engine], inversion_weight=weight)
        policies[name], metrics = stepped(which, recorded["rollouts"], tmp_path / name)
        assert metrics["actor/grad_norm"] > 0
        workers.load_checkpoint(str(tmp_path / "start"))
    assert "inversion" in trainer.timing_raw
    same = {name: all(map(torch.equal, policies["verl"], policies[name])) for name in policies}
    assert same == {"verl": True, "zero": True, "one": False}


def test_groups_of_unequal_size_and_padding(trainer, recorded):
    rollouts = {name: recorded["rollouts"][name][:7] for name in ("prompts", "completions", "task")}
    batch = put(rollouts, sizes=(4, 3))
    batch = trainer._balance_batch(batch, {})
    assert len(batch) == 8
    settings = {**MEASURED[trainer.engine], "inversion_weight": 2.0}
    found, metrics = advantages(trainer, batch, settings)
    rho = RolloutSignals.unstacked(read(batch, "inversion_signals")).rho
    assert metrics["inversion/rho_mean"] == pytest.approx(rho.nanmean().item())
    assert metrics["inversion/without_rho"] == 0
    total = read(batch, "rm_scores").sum(1) - 2.0 * rho.nan_to_num()
    for prompt in ("prompt0", "prompt1"):
        rows = [row for row, key in enumerate(batch.keys) if key.startswith(prompt)]
        expected = total[rows] - total[rows].mean()
        torch.testing.assert_close(found[rows, 0].double(), expected.double(), atol=1e-5, rtol=0)
    padding = [row for row, tag in enumerate(batch.tags) if tag.get("is_padding")]
    assert found[padding].abs().sum() == 0
    assert rho[padding].isnan().all()


def test_a_checkpoint_keeps_the_starting_rho(trainer, recorded, caplog):
    settings = {**MEASURED[trainer.engine], "inversion_control": "clamp"}
    _, metrics = advantages(trainer, put(recorded["rollouts"]), settings)
    assert trainer.inversion_state.start_rho == pytest.approx(metrics["inversion/rho_mean"])
    trainer._save_checkpoint()
    config = deepcopy(trainer.config)
    config.trainer.v1.trainer_mode = "corrpo"
    resumed = trainer_on(config, trainer.actor_rollout_wg)
    resumed._load_checkpoint()
    assert resumed.global_steps == 1
    assert resumed.inversion_state.start_rho == trainer.inversion_state.start_rho
    judged = trainer.actor_rollout_wg.judged_tokens()
    if trainer.inversion_settings.fit_tokens:
        assert torch.equal(judged[0], judged[1])
        assert torch.equal(judged[0], resumed.inversion_state.fit.judged)
    else:
        assert judged == [None, None]

    folder = trainer._checkpoint()
    (folder / "inversion_state.json").unlink()
    with open_dict(config):
        config.trainer.v1.trainer_mode = "corrpo"
        config.trainer.resume_mode, config.trainer.resume_from_path = "resume_path", str(folder)
    fresh = trainer_on(config, trainer.actor_rollout_wg)
    fresh._load_checkpoint()
    assert fresh.inversion_state.start_rho is None
    assert "was not written by the trainer 'corrpo'" in caplog.text


def test_images_are_refused(trainer, recorded):
    batch = put(recorded["rollouts"], images=True)
    with pytest.raises(UnsupportedModelError, match="the prompts hold images"):
        trainer._compute_advantage(batch, {})


def test_a_layer_that_there_is_not_ends_the_run_while_workers_start(cluster):
    with pytest.raises(BadInputError, match=r"layers=\[9\]: expected indices in \[-4, 3\]"):
        trainer_on(configuration("+corrpo.inversion_layers=[9]"))
