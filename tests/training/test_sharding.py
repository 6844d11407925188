"""Whole parameters for a while: equal to the unsharded model, unequal between processes, and no trace left.

Two gloo processes on the CPU (sharded_worker.py) do for every kind of sharding what a training run does;
FSDP1 runs there as well as FSDP2. ZeRO-3 has only a stand-in here: its tests say which calls are made and in
what order, not that DeepSpeed does what it promises.
"""

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

import corrpo
from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.models.sharding import _require, full_parameters
from problems import Problem

KINDS = ("fsdp2", "fsdp2 bf16 head apart", "fsdp2 peft recomputing", "fsdp1 flat", "fsdp1 peft", "ddp")
TIME_LIMIT = 120
IDS = torch.tensor([3, 14, 15, 9, 26, 5])


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> list[dict]:
    """What each of the two processes found, by kind of sharding."""
    folder = tmp_path_factory.mktemp("sharded")
    worker = Path(__file__).with_name("sharded_worker.py")
    logs = [folder / "0.log", folder / "1.log"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(worker), str(rank), str(folder), *KINDS],
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for rank, log in enumerate(logs)
    ]
    deadline = time.monotonic() + TIME_LIMIT
    try:
        ended = [process.wait(timeout=deadline - time.monotonic()) for process in processes]
    except subprocess.TimeoutExpired:
        ended = ["over the time limit"]
    finally:
        for process in processes:
            process.kill()
    tails = "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in logs)
    assert ended == [0, 0], f"the processes ended with {ended}\n{tails}"
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_norms_are_those_of_the_whole_model(studies, kind):
    """Every estimator on one sequence, then other sequences in another number on each process."""
    zero, one = studies[0][kind], studies[1][kind]
    assert (len(zero["norms"]), len(one["norms"])) == (8, 6)
    for study in (zero, one):
        for result, expected in zip(study["norms"], study["norms of the whole model"], strict=True):
            assert expected.min() > 0
            # sharded, exact differentiates the whole graph, else block by block: bf16 rounds in between
            torch.testing.assert_close(result, expected, rtol=5e-2 if "bf16" in kind else 1e-5, atol=0)
    for ours, theirs in zip(zero["norms"][:5], one["norms"][:5], strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_sharded_as_before(studies, kind):
    for study in studies:
        assert study[kind]["sharded as before"]
        assert study[kind]["settings"] == study[kind]["undisturbed settings"]
    if kind.startswith("fsdp2"):
        assert [True, True, True, True] in studies[0][kind]["settings"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_training_goes_on_as_if_nothing_had_happened(studies, kind):
    """Bit for bit, with passes on one process and failing ones on the other, also amid an accumulation."""
    for study in studies:
        weights, start = study[kind]["weights"], study[kind]["weights at the start"]
        assert not all(torch.equal(*pair) for pair in zip(weights, start, strict=True))
        for result, expected in zip(weights, study[kind]["undisturbed weights"], strict=True):
            assert torch.equal(result, expected)


@pytest.mark.slow
def test_what_cannot_be_made_whole_is_refused(studies):
    for message in (studies[0]["refusals"], studies[1]["refusals"]):
        assert "BadInputError: FSDPQwen2DecoderLayer is a part of a model" in message["part"]
        assert "give the whole model" in message["part"]
        assert "UnsupportedModelError: 1 parameters of Qwen2ForCausalLM" in message["tensor parallel"]
        assert "lm_head.weight" in message["tensor parallel"]


def test_a_plain_or_adapted_model_is_its_own():
    model = Problem("plain", "Qwen2").model()
    with full_parameters(model) as full:
        assert full is model
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    with full_parameters(adapted) as full:
        assert full is adapted
        assert corrpo.logit_gradient_norms(full, IDS, [3], estimator="own").shape == (1, 3, 4)


def test_a_compiled_model_is_read_uncompiled():
    model = nn.Linear(2, 2)
    with full_parameters(torch.compile(nn.DataParallel(torch.compile(model)))) as full:
        assert full is model


def test_checkpoint_wrappers_keep_their_activations_inside():
    """They recompute in eval mode too, where an estimator's hooks would see every layer twice."""
    plain, model = Problem("plain", "Qwen2").model(), Problem("plain", "Qwen2").model()
    layers = set(model.model.layers)
    apply_activation_checkpointing(model, check_fn=layers.__contains__)
    recompute = model.model.layers[0].checkpoint_fn
    with full_parameters(model) as full:
        result = corrpo.logit_gradient_norms(full, IDS, [3, 5])
    assert torch.equal(result, corrpo.logit_gradient_norms(plain, IDS, [3, 5]))
    assert model.model.layers[0].checkpoint_fn is recompute


def test_an_older_torch_is_refused_for_what_it_lacks():
    """The settings of FSDP2 have no getters; where an attribute is missing, nothing has been changed yet."""
    with pytest.raises(UnsupportedModelError, match="keeps no reduce_grads in SimpleNamespace"):
        _require(SimpleNamespace(all_reduce_grads=True), ("all_reduce_grads", "reduce_grads"))


class StandInEngine(nn.Module):
    """What of DeepSpeedEngine our branch and trl's hooks touch. It writes down what is done to it."""

    def __init__(self, model: nn.Module, stage: int = 3):
        super().__init__()
        self.module, self.stage, self.log = model, stage, []
        hook = SimpleNamespace(remove=lambda: self.log.append("hook removed"))
        self.optimizer = SimpleNamespace(
            module=model,
            forward_hooks=[hook],
            backward_hooks=[hook],
            _register_deepspeed_module=lambda module: self.log.append(("hooks added", module is model)),
        )

    def zero_optimization_stage(self) -> int:
        return self.stage


@pytest.fixture
def stand_in_deepspeed(monkeypatch):
    """A module named deepspeed whose GatheredParameters writes into the engine's log."""

    class Gathering:
        log: list

        @contextmanager
        def gathered(self, parameters):
            self.log.append(("gathered", len(parameters)))
            yield
            self.log.append("partitioned")

    gathering = Gathering()
    zero = SimpleNamespace(GatheredParameters=gathering.gathered)
    monkeypatch.setitem(sys.modules, "deepspeed", SimpleNamespace(zero=zero))
    return gathering


def partitioned_linear() -> nn.Linear:
    """A module whose parameters carry the marks of ZeRO-3."""
    model = nn.Linear(2, 2)
    for number, parameter in enumerate(model.parameters()):
        parameter.ds_id, parameter.ds_active_sub_modules = number, {0}
    model.ds_external_parameters = lambda: []
    return model


@pytest.mark.parametrize("failing", [False, True])
def test_zero3_calls_in_order_with_a_stand_in_for_deepspeed(stand_in_deepspeed, failing):
    engine = StandInEngine(partitioned_linear())
    stand_in_deepspeed.log = engine.log
    try:
        with full_parameters(engine) as full:
            assert full is engine.module
            engine.log.append("measured")
            if failing:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert failing
    assert engine.log[:4] == [("gathered", 2), "hook removed", "hook removed", "measured"]
    assert engine.log[4] == ("hooks added", True)
    assert failing or engine.log[5:] == ["partitioned"]
    assert all(not parameter.ds_active_sub_modules for parameter in engine.parameters())


def test_zero3_parameters_without_their_engine_are_refused():
    with (
        pytest.raises(BadInputError, match="no engine wraps it; give the engine.*trainer.model_wrapped"),
        full_parameters(partitioned_linear()),
    ):
        pass


def test_the_other_zero_stages_need_only_unwrapping():
    engine = StandInEngine(nn.Linear(2, 2), stage=2)
    with full_parameters(engine) as full:
        assert full is engine.module
    assert engine.log == []
