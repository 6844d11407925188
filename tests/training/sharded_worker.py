"""One of two processes that shard a tiny model, measure it unequally and train it: run by test_sharding.py.

    python sharded_worker.py RANK FOLDER

Writes FOLDER/RANK.pt: for every kind of sharding, what `study` returns.
"""

import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parents[1]))

import corrpo
from corrpo.errors import CorrpoError
from corrpo.models.sharding import full_parameters
from problems import VOCABULARY, Problem

CPU = torch.device("cpu")
ESTIMATORS = ("own", "last", "exact", "pruned", "reference")
LENGTHS = ((22, 9, 14), (17,))
"""Lengths of the sequences that process 0 and process 1 measure, beside a common one."""


def build(kind: str) -> nn.Module:
    """The model before it is sharded, the same in both processes."""
    model = Problem("sharded", "Qwen2").model()
    if "peft" not in kind:
        return model
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return adapted.eval()


def shard(model: nn.Module, kind: str) -> nn.Module:
    """Shard `model` as `kind` says: per decoder layer and the rest."""
    layers = [module for module in model.modules() if type(module).__name__ == "Qwen2DecoderLayer"]
    if "recomputing" in kind:
        apply_activation_checkpointing(model, check_fn=lambda module: module in layers)
    if kind.startswith("ddp"):
        return DistributedDataParallel(model)
    if kind.startswith("fsdp1"):
        return FullyShardedDataParallel(
            model,
            auto_wrap_policy=ModuleWrapPolicy({type(layers[0])}),
            use_orig_params="flat" not in kind,
            device_id=CPU,
        )
    mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    options = {"mesh": mesh, "mp_policy": policy if "bf16" in kind else MixedPrecisionPolicy()}
    for module in layers:
        fully_shard(module, **options)
    if "head" in kind:
        fully_shard(model.lm_head, **options)
    return fully_shard(model, **options)


def sequence(length: int, seed: int) -> Tensor:
    return torch.randint(3, VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed))


def norms(model: nn.Module, estimators=ESTIMATORS) -> list[Tensor]:
    """Norms of the common sequence with every estimator, then of this process's own sequences."""
    common = sequence(20, seed=0)
    results = [corrpo.logit_gradient_norms(model, common, (3, 9, 19), estimator=name) for name in estimators]
    for length in LENGTHS[dist.get_rank()]:
        ids = sequence(length, seed=length)
        results.append(corrpo.logit_gradient_norms(model, ids, (2, length - 1), estimator="own"))
    return results


def fail_in_every_place(sharded: nn.Module) -> None:
    """Errors before a forward, in it, after it and in a backward, on process 1; process 0 does well."""
    for place in ("before", "forward", "between", "backward"):
        try:
            with full_parameters(sharded) as full:
                if dist.get_rank() == 1:
                    fail_at(place, full)
        except ZeroDivisionError:
            continue
        assert dist.get_rank() == 0, f"the error {place} was swallowed"


def fail_at(place: str, full: nn.Module) -> None:
    def fail(*_):
        raise ZeroDivisionError(place)

    def hook(_module, _inputs, output):
        fail() if place == "forward" else output.register_hook(fail)

    if place == "before":
        fail()
    embedded = torch.ones(1, 8, 32, requires_grad=True)
    middle = [module for module in full.modules() if type(module).__name__ == "Qwen2MLP"][1]
    handle = middle.register_forward_hook(hook) if place != "between" else None
    try:
        score = full(inputs_embeds=embedded).logits.sum()
        if place == "between":
            fail()
        torch.autograd.grad(score, embedded)
    finally:
        if handle is not None:
            handle.remove()


def pieces(model: nn.Module) -> list:
    """What tells a sharded parameter from a whole one, and a model in its wrappers from one without."""
    parameters = [
        (name, type(parameter), parameter.shape, parameter.requires_grad, parameter.is_leaf)
        for name, parameter in model.named_parameters()
    ]
    return parameters + [(type(module), module.training, *module._modules) for module in model.modules()]


def settings(model: nn.Module) -> list:
    """The settings of FSDP2 that `full_parameters` changes for a while."""
    modules = [module for module in model.modules() if isinstance(module, FSDPModule)]
    groups = [group for module in modules for group in module._get_fsdp_state()._fsdp_param_groups]
    names = ("_reshard_after_forward", "reshard_after_backward", "reduce_grads", "all_reduce_grads")
    return [[getattr(group, name) for name in names] for group in groups]


@contextmanager
def accumulating(model: nn.Module):
    """No reduction of gradients inside, as a trainer does for all but the last micro-batch of a step."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(False)
        yield
        model.set_requires_gradient_sync(True)
    else:
        with model.no_sync():
            yield


def train(kind: str, between) -> tuple[nn.Module, list[Tensor]]:
    """Two steps of two micro-batches, with `between(model)` before, amid and after them.

    Returns the model and its whole weights.
    """
    model = shard(build(kind), kind).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    between(model)
    for step in range(2):
        for last in (False, True):
            ids = sequence(12, seed=10 * step + 5 * last + dist.get_rank())[None]
            with nullcontext() if last else accumulating(model):
                model(input_ids=ids, labels=ids).loss.backward()
            between(model)
        optimizer.step()
        optimizer.zero_grad()
        between(model)
    return model, full_weights(model)


def full_weights(model: nn.Module) -> list[Tensor]:
    if isinstance(model, FullyShardedDataParallel):
        with FullyShardedDataParallel.summon_full_params(model):
            return [parameter.detach().clone() for parameter in model.parameters()]
    parameters = [parameter.detach() for parameter in model.parameters()]
    return [(p.full_tensor() if isinstance(p, DTensor) else p).clone() for p in parameters]


def read_unequally(model: nn.Module) -> None:
    """Measure, and read without a gradient, on process 0 alone; process 1 has nothing to measure."""
    with full_parameters(model) as full:
        if dist.get_rank() == 0:
            norms(full, estimators=("own",))
            with torch.no_grad():
                full(input_ids=sequence(11, seed=1)[None])
    fail_in_every_place(model)


def study(kind: str) -> dict:
    """Everything that the tests compare about one kind of sharding."""
    plain, sharded = build(kind), shard(build(kind), kind)
    if "bf16" in kind:
        for parameter in plain.parameters():
            parameter.data = parameter.data.bfloat16()
    before = pieces(sharded)
    with full_parameters(sharded) as full, full_parameters(full) as nested:
        assert nested is full
        results = norms(full)
    after = pieces(sharded)
    undisturbed, expected = train(kind, lambda model: None)
    measured, weights = train(kind, read_unequally)
    return {
        "norms": results,
        "norms of the whole model": norms(plain),
        "sharded as before": before == after and pieces(measured) == pieces(undisturbed),
        "settings": settings(measured),
        "undisturbed settings": settings(undisturbed),
        "weights": weights,
        "undisturbed weights": expected,
        "weights at the start": [parameter.detach() for parameter in build(kind).parameters()],
    }


def refusals() -> dict[str, str]:
    """What is said to a part of an FSDP2 model, and to a model under tensor parallelism."""
    part = shard(build("fsdp2"), "fsdp2")
    part(input_ids=sequence(5, seed=0)[None])
    split = build("tensor parallel")
    weight = distribute_tensor(split.lm_head.weight.detach(), dist.device_mesh.init_device_mesh("cpu", (2,)))
    split.lm_head.weight = nn.Parameter(weight)
    return {"part": refusal(part.model.layers[0]), "tensor parallel": refusal(split)}


def refusal(model: nn.Module) -> str:
    try:
        with full_parameters(model):
            return "nothing"
    except CorrpoError as error:
        return f"{type(error).__name__}: {error}"


def main(rank: int, folder: Path, kinds: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    results: dict = {"refusals": refusals()}
    for kind in kinds:
        print(kind, flush=True)
        results[kind] = study(kind)
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
