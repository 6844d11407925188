"""Full parameters for a while: a model that training keeps in pieces, made one model on every process.

A pass over a rollout is a forward and a backward through activations outside the training step, and each
process has its own number of rollouts of its own lengths. A sharded model gathers its weights layer by layer
in collective operations, so processes that run different numbers of passes would wait for one another for
ever. `full_parameters` gathers everything once, on all processes together; what happens inside communicates
nothing, and leaving it communicates nothing either.

| the model | inside |
| --- | --- |
| plain, PEFT | as it is |
| torch.compile'd, DataParallel, DDP, ZeRO-1 and -2 | the module beneath |
| FSDP2 (`fully_shard`) | unsharded; resharding and gradient reduction held back |
| FSDP1 (`FullyShardedDataParallel`) | the module beneath, unsharded, inner wrappers set aside |
| ZeRO-3 | the module beneath, gathered, the engine's hooks removed (not tried with DeepSpeed itself) |
| any, with torch's `checkpoint_wrapper` around its layers | the same, without recomputation |

Memory: each process holds all the parameters for as long (15 GB for 7 billion in bfloat16), beside its
shards of gradients and optimizer states.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch._dynamo.eval_frame import OptimizedModule
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DataParallel, DistributedDataParallel

from corrpo.errors import BadInputError, UnsupportedModelError

_WRAPPERS = (DataParallel, DistributedDataParallel, FullyShardedDataParallel)

_FSDP2_HELD = {
    "post_forward_mesh_info": None,  # None: stay unsharded after the forward
    "reshard_after_backward": False,
    "reduce_grads": False,
    "all_reduce_grads": False,
}
_FSDP2_REMEMBERED = (*_FSDP2_HELD, "_partial_reduce_output")

_open: dict[nn.Module, nn.Module] = {}


@contextmanager
def full_parameters(model: nn.Module) -> Iterator[nn.Module]:
    """Every parameter of `model` complete on this process inside; the model sharded as before after.

    Entering gathers: all processes must enter together. Inside, forward and `torch.autograd.grad` with
    respect to activations may run any number of times, another number on each process, with the results of
    the unsharded model. Gradients that were being accumulated are kept, and neither touched nor reduced, so
    that training goes on as if nothing had happened, also after an error. Not for the middle of a training
    forward or backward, and weights must not be changed inside (some of the changes would be lost).

    The precision is that of the unsharded parameters: under FSDP2 that of its mixed-precision policy,
    under FSDP1 that of the stored parameters, whatever its policy. A call inside of another, on the same
    model, does nothing.

    Args:
        model: the whole model as it is trained, its wrappers included: `trainer.model_wrapped`, not
            `trainer.model`, which under ZeRO-3 lacks the engine. Parameters of any dtype.

    Yields:
        The model to run: `model` itself or the module beneath its wrappers.

    Raises:
        BadInputError: parameters of ZeRO-3 without their engine, or a part of a model under FSDP2.
        UnsupportedModelError: the parameters are also split in another way (tensor parallelism), or torch
            keeps the settings of FSDP2 in another place than 2.13 does.

    >>> layer = nn.Linear(2, 2)
    >>> with full_parameters(nn.DataParallel(layer)) as full:
    ...     full is layer
    True
    """
    if model in _open:
        yield _open[model]
        return
    chain = _wrapping_chain(model)
    inner = chain[-1]
    with _gathering(chain), _without_recomputation(inner):
        _check_complete(inner)
        _open[model] = _open[inner] = inner
        try:
            yield inner
        finally:
            _open.pop(inner)
            _open.pop(model, None)


def _wrapping_chain(model: nn.Module) -> list[nn.Module]:
    """The model, the module it wraps, and so on to the one that wraps nothing."""
    chain = [model]
    while True:
        outer: Any = chain[-1]
        if isinstance(outer, OptimizedModule):
            chain.append(outer._orig_mod)
        elif isinstance(outer, _WRAPPERS) or _is_deepspeed_engine(outer):
            chain.append(outer.module)
        else:
            return chain


def _gathering(chain: list[nn.Module]) -> AbstractContextManager[None]:
    """The context that makes the parameters of a wrapped model complete."""
    outer, inner = chain[0], chain[-1]
    if any(hasattr(parameter, "ds_id") for parameter in inner.parameters()):
        return _zero3_gathered(chain)
    if any(isinstance(module, FullyShardedDataParallel) for module in outer.modules()):
        return _fsdp1_summoned(outer, inner)
    if any(isinstance(module, FSDPModule) for module in inner.modules()):
        return _fsdp2_unsharded(inner)
    return nullcontext()


def _check_complete(model: nn.Module) -> None:
    split = [name for name, parameter in model.named_parameters() if isinstance(parameter, DTensor)]
    if split:
        raise UnsupportedModelError(
            f"{len(split)} parameters of {type(model).__name__} (first: {split[0]}) are split over processes "
            "by something other than FSDP, such as tensor parallelism; gradient strengths need whole "
            "parameters: train with FSDP, ZeRO or DDP alone"
        )


def awaits_engine(model: nn.Module) -> bool:
    """Whether ZeRO-3 has the parameters in pieces already, and its engine does not wrap them yet.

    So it is while a Trainer is made; `full_parameters` can gather them once training begins.
    """
    partitioned = any(hasattr(parameter, "ds_id") for parameter in model.parameters())
    return partitioned and not _is_deepspeed_engine(model)


def _is_deepspeed_engine(module: nn.Module) -> bool:
    """Recognised by its interface, as importing deepspeed starts things of its own."""
    return callable(getattr(module, "zero_optimization_stage", None)) and hasattr(module, "module")


@contextmanager
def _without_recomputation(model: nn.Module) -> Iterator[None]:
    """Let torch's checkpoint wrappers, which FSDP plugins put around layers, keep their activations.

    They recompute in eval mode too, and a recomputation that runs without the hooks of an estimator, or again
    with them, is not the forward that was differentiated.
    """

    def run(module: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return module(*args, **kwargs)

    wrappers: list[Any] = [module for module in model.modules() if isinstance(module, CheckpointWrapper)]
    before = [{"checkpoint_fn": wrapper.checkpoint_fn} for wrapper in wrappers]
    _set_all(wrappers, [{"checkpoint_fn": run}] * len(wrappers))
    try:
        yield
    finally:
        _set_all(wrappers, before)


@contextmanager
def _zero3_gathered(chain: list[nn.Module]) -> Iterator[None]:
    """ZeRO-3: gather, and take away the hooks by which the engine follows and partitions every layer.

    Raises:
        BadInputError: there is no engine in `chain`, so that its hooks cannot be reached.
    """
    engine: Any = next((module for module in chain if _is_deepspeed_engine(module)), None)
    if engine is None:
        raise BadInputError(
            f"the parameters of {type(chain[-1]).__name__} are partitioned by DeepSpeed ZeRO-3 and no engine "
            "wraps it; give the engine that deepspeed.initialize or accelerator.prepare returned "
            "(trainer.model_wrapped)"
        )
    import deepspeed  # pyright: ignore[reportMissingImports]
    from trl.models.utils import add_hooks, remove_hooks

    with deepspeed.zero.GatheredParameters(list(engine.parameters())):
        remove_hooks(engine)
        try:
            yield
        finally:
            add_hooks(engine)


@contextmanager
def _fsdp1_summoned(outer: nn.Module, inner: nn.Module) -> Iterator[None]:
    """FSDP1: summon, and set inner wrappers aside, whose forward would gather and free again."""
    with FullyShardedDataParallel.summon_full_params(outer, writeback=False):
        places = [
            (parent, name, child)
            for parent in inner.modules()
            for name, child in parent._modules.items()
            if isinstance(child, FullyShardedDataParallel)
        ]
        try:
            for parent, name, child in reversed(places):
                setattr(parent, name, child.module)
            yield
        finally:
            for parent, name, child in places:
                setattr(parent, name, child)


@contextmanager
def _fsdp2_unsharded(model: nn.Module) -> Iterator[None]:
    """FSDP2: unshard all, and hold back what its hooks would do in a pass: reshard and reduce gradients.

    The hooks stay, as they cast to the mixed-precision policy's types. Besides resharding, each backward ends
    in a callback that reduces whatever gradients wait for the end of an accumulation, a collective
    operation: hence `reduce_grads`. Afterwards the order of forwards that FSDP2 noted for its
    prefetching is forgotten, or the next training backward would gather after it. All these settings have
    public setters but no getters; their attributes are those of torch 2.13.

    Raises:
        BadInputError: `model` is a part of a model whose root is outside of it.
        UnsupportedModelError: an attribute is not where it was.
    """
    modules = [module for module in model.modules() if isinstance(module, FSDPModule)]
    roots = _fsdp2_roots(modules)
    groups = [group for state in _fsdp2_states(modules) for group in state._fsdp_param_groups]
    for group in groups:
        _require(group, _FSDP2_REMEMBERED)
    remembered = [{name: getattr(group, name) for name in _FSDP2_REMEMBERED} for group in groups]
    try:
        _set_all(groups, [_FSDP2_HELD] * len(groups))
        for module in modules:
            module.unshard()
        yield
    finally:
        for root in roots:
            root.reset_iter_state()
        _set_all(groups, remembered)


def _fsdp2_states(modules: Sequence[FSDPModule]) -> list[Any]:
    """The states of sharded modules; modules that were sharded as a group share one."""
    states = list(dict.fromkeys(module._get_fsdp_state() for module in modules))
    for state in states:
        _require(state, ("_lazy_init", "_is_root", "_fsdp_param_groups"))
    return states


def _fsdp2_roots(modules: Sequence[FSDPModule]) -> list[FSDPModule]:
    """The modules that FSDP2 calls roots, of which the first forward would otherwise decide.

    That decision comes with a setting of the root's resharding, and must come before settings are remembered.
    """
    _require(modules[0], ("reset_iter_state",))
    _fsdp2_states(modules)
    for module in modules:
        state = module._get_fsdp_state()
        if state._is_root is None:
            state._lazy_init()
    roots = [module for module in modules if module._get_fsdp_state()._is_root]
    if modules[0] not in roots:
        raise BadInputError(
            f"{type(modules[0]).__name__} is a part of a model that FSDP2 runs from further up; "
            "give the whole model"
        )
    return roots


def _require(thing: object, names: tuple[str, ...]) -> None:
    missing = [name for name in names if not hasattr(thing, name)]
    if missing:
        raise UnsupportedModelError(
            f"torch {torch.__version__} keeps no {', '.join(missing)} in {type(thing).__name__}, which "
            "corrpo needs to unshard a fully_shard (FSDP2) model; use torch 2.13, or train with FSDP1, ZeRO "
            "or DDP"
        )


def _set_all(things: list[Any], values: list[dict[str, Any]]) -> None:
    for thing, attributes in zip(things, values, strict=True):
        for name, value in attributes.items():
            setattr(thing, name, value)
