"""What an estimator is asked, and the model made ready to answer and left as it was found."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn

from corrpo.errors import NonFiniteError, UnsupportedModelError
from corrpo.models.eval_mode import eval_mode
from corrpo.strength.backward.bare_weights import run_as_modules
from corrpo.strength.estimators.fit import takes_attention_function
from corrpo.strength.projections.layer import MixerLayer, Projection

_ONE_AT_A_TIME = RLock()


@dataclass(frozen=True)
class Query:
    """One sequence and the gradients wanted of it.

    Attributes:
        model: a causal LM, already in eval mode.
        input_ids: LongTensor [1, T], without padding, on the model's device.
        positions: LongTensor [n], ascending and distinct, each in [1, T-1]: the tokens whose logit,
            predicted at position - 1, is differentiated. On the model's device.
        layers: the layers measured.
        projections: names of the projections measured, which every layer holds.
        norm: one of `corrpo.strength.norms.NORMS`.
        target: "logit" or "logprob".
        tolerance: the largest relative error allowed of a nuclear norm; None for rounding alone.
    """

    model: nn.Module
    input_ids: Tensor
    positions: Tensor
    layers: list[MixerLayer]
    projections: tuple[str, ...]
    norm: str
    target: str
    tolerance: float | None = None

    def prefix(self, last: int) -> int:
        """How many tokens to read for targets up to position `last`.

        All of the sequence where the model's rotary embedding depends on its length (longrope, dynamic).
        """
        parameters = getattr(self.model.config.get_text_config(), "rope_parameters", None) or {}  # pyright: ignore
        kinds = [parameters, *(each for each in parameters.values() if isinstance(each, dict))]
        by_length = any(kind.get("rope_type") in ("longrope", "dynamic") for kind in kinds)
        return self.input_ids.shape[1] if by_length else last

    @property
    def rows(self) -> Tensor:
        """LongTensor [n]: the positions at which the targets are predicted, position - 1."""
        return self.positions - 1

    @property
    def tokens(self) -> Tensor:
        """LongTensor [n]: the ids of the tokens that were written."""
        return self.input_ids[0, self.positions]

    def empty_result(self) -> Tensor:
        """Zeros of the shape that estimators return: [n, layers, projections], float64."""
        shape = (len(self.positions), len(self.layers), len(self.projections))
        return self.input_ids.new_zeros(shape, dtype=torch.float64)


def target_scores(query: Query, positions: Tensor, prefix: int) -> Tensor:
    """The differentiable scores z of the tokens at `positions`, from one forward of `prefix` tokens.

    Args:
        query: the sequence, the model and the target.
        positions: LongTensor [m], all at most `prefix`.
        prefix: how many tokens are read; at least max(positions).

    Returns:
        [m]: raw logits, or natural log-probabilities.

    Raises:
        NonFiniteError: a score is NaN or infinite.
    """
    tokens, rows = query.input_ids[0, positions], positions - 1
    inputs = {"input_ids": query.input_ids[:, :prefix], "use_cache": False, "logits_to_keep": rows}
    only = tokens if query.target == "logit" else None
    with target_columns_only(query.model, only, rows) as only_columns:
        logits = _kept_rows(query.model(**inputs).logits[0], rows)
    if only_columns:
        scores = logits[:, 0]
    elif query.target == "logit":
        scores = logits.gather(-1, tokens[:, None])[:, 0]
    else:
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        scores = torch.log_softmax(wide, dim=-1).gather(-1, tokens[:, None])[:, 0]
    if not torch.isfinite(scores).all():
        worst = int(positions[~torch.isfinite(scores)][0])
        raise NonFiniteError(
            f"the {query.target} of the token at position {worst} is NaN or infinite; check the weights, "
            "and try a wider dtype (float32)"
        )
    return scores


def _kept_rows(tensor: Tensor, rows: Tensor) -> Tensor:
    """The given rows of [..., T, d], where a model did not mind logits_to_keep (xLSTM) and gives all T."""
    return tensor if tensor.shape[-2] == len(rows) else tensor[..., rows.to(tensor.device), :]


@contextmanager
def target_columns_only(model: nn.Module, tokens: Tensor | None, rows: Tensor) -> Iterator[bool]:
    """Let a plain linear head compute, at row rows[i] of the sequence, the logit of `tokens[i]` alone.

    The head is the largest matrix of many models and its gradient is dense; only one column of it is
    differentiated. What the model does to its logits afterwards (soft-capping, scaling) is kept, and must act
    on each logit alone, as in every architecture of transformers that we know. Yields False, and changes
    nothing, where the head is not a plain linear module or `tokens` is None.
    """
    head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # pyright: ignore
    if tokens is None or type(head) is not nn.Linear or "forward" in head.__dict__:
        yield False
        return

    head.forward = lambda hidden: picked_logits(head, _kept_rows(hidden, rows), tokens)  # pyright: ignore
    try:
        yield True
    finally:
        del head.forward


def picked_logits(head: nn.Linear, hidden: Tensor, tokens: Tensor) -> Tensor:
    """The logit of `tokens[i]` alone from row i of hidden [..., n, d]: [..., n, 1]."""
    columns = tokens.to(head.weight.device)
    picked = (hidden * head.weight[columns].to(hidden.device)).sum(-1, keepdim=True)
    return picked if head.bias is None else picked + head.bias[columns, None].to(picked.device)


@dataclass(frozen=True)
class Observed:
    """What a measured projection read and wrote in one forward pass.

    Attributes:
        projection: which part of the output is its own.
        inputs: [1, T, d_in].
        output: [1, T, d], or with further axes of one in the middle, as the module gave it: that of the whole
            module, in which targets are differentiated.
    """

    projection: Projection
    inputs: Tensor
    output: Tensor

    def part(self, derivative: Tensor) -> Tensor:
        """The projection's own features [..., 1, T, d] of a derivative [..., *shape of output]."""
        further = self.output.dim() - 3
        return self.projection.of(derivative.flatten(-2 - further, -2) if further else derivative)


@contextmanager
def observed(layers: Sequence[MixerLayer], projections: Sequence[str]) -> Iterator[list[Observed]]:
    """Record every measured projection, layers outside, projections inside.

    An output that carries no graph is made a leaf that requires grad, so the graph starts at the first
    measured projection and no weight needs a gradient. Filled when the forward pass has run.

    Raises:
        UnsupportedModelError: a module ran twice, as in blocks that share one set of weights, or not at all.
    """
    measured = [layer.projections[kind] for layer in layers for kind in projections]
    names = [f"{kind} of {layer.name}" for layer in layers for kind in projections]
    record: list[Observed] = [None] * len(measured)  # type: ignore
    handles = []
    of_module: dict[nn.Module, list[int]] = {}
    for slot, projection in enumerate(measured):
        of_module.setdefault(projection.module, []).append(slot)

    def keep(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if not output.requires_grad:
            output.requires_grad_(True)
        inputs = args[0] if args[0].dim() == 3 else args[0].flatten(1, -2)
        for slot in of_module[module]:
            if record[slot] is not None:
                raise _not_run_once(names[slot], "runs more than once")
            record[slot] = Observed(measured[slot], inputs, output)

    try:
        for module in of_module:
            handles.append(module.register_forward_hook(keep))
        with run_as_modules([projection.module for projection in measured if projection.bare]):
            yield record
        for name, each in zip(names, record, strict=True):
            if each is None:
                raise _not_run_once(name, "does not run as a module")
    finally:
        for handle in handles:
            handle.remove()


def _not_run_once(name: str, what: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"the projection {name} {what} in a forward pass, and this estimator observes every module once; "
        "use 'reference', or projections of other layers"
    )


def derivatives_at(
    record: Sequence[Observed], differentiate: Callable[[list[Tensor]], Sequence[Tensor]]
) -> list[Tensor]:
    """The derivative at every projection's own output features; projections of one module share one.

    Args:
        record: of `observed`.
        differentiate: gives the derivatives at the tensors it is given.
    """
    outputs = distinct_outputs(record)
    return parts_at(record, outputs, differentiate(outputs))


def distinct_outputs(record: Sequence[Observed]) -> list[Tensor]:
    """The outputs of the modules of a record, each once."""
    return list({id(each.output): each.output for each in record}.values())


def parts_at(
    record: Sequence[Observed], outputs: Sequence[Tensor], derivatives: Sequence[Tensor]
) -> list[Tensor]:
    """Each projection's own features of the derivatives at `distinct_outputs(record)`."""
    of = {id(output): derivative for output, derivative in zip(outputs, derivatives, strict=True)}
    return [each.part(of[id(each.output)]) for each in record]


@contextmanager
def left_as_found(model: nn.Module) -> Iterator[None]:
    """Eval mode and no weight requiring grad inside; each module's mode and each flag restored after.

    What torch.compile made of a model, or of parts of it, runs eagerly inside: compiled code knows no hooks
    that come later, and its backward cannot be run twice. That is set for the whole process, and models may
    share a config or be one model, so threads take turns.
    """
    with _ONE_AT_A_TIME, _as_found(model):
        yield


@contextmanager
def _as_found(model: nn.Module) -> Iterator[None]:
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    eager = torch.compiler.set_stance("force_eager")
    with eager, eval_mode(model), torch.inference_mode(False), torch.enable_grad():
        try:
            for parameter, _ in flags:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, requires_grad in flags:
                parameter.requires_grad_(requires_grad)


def check_positionwise(query: Query, scores: Tensor, at: Observed, delta: Tensor, name: str) -> None:
    """Refuse a model in which a target's derivative at a projection is not at its own position alone.

    Looks at the positions that predict no target; if every position predicts one, differentiates one target
    by itself.

    Args:
        query: the targets.
        scores: [n], whose graph is kept.
        at: the projection.
        delta: [1, T, d_out], the derivative of the sum of scores at its output.
        name: the estimator, for the message.

    Raises:
        UnsupportedModelError: something besides attention mixes positions.
    """
    rows = query.rows.to(delta.device)
    if len(rows) == delta.shape[1] and len(rows) > 1:
        rows = rows[len(rows) // 2 :][:1]
        (whole,) = torch.autograd.grad(scores[len(query.rows) // 2], at.output, retain_graph=True)
        delta = at.part(whole)
    check_others(query.model, rows, delta, name)


def check_others(model: nn.Module, rows: Tensor, delta: Tensor, name: str) -> None:
    """Refuse a model whose derivative `delta` [1, T, d] is not zero beside `rows`: `check_positionwise`."""
    others = torch.ones(delta.shape[1], dtype=torch.bool, device=delta.device)
    others[rows] = False
    if delta[0, others].any():
        raise mixes_positions(model, name)


def mixes_positions(model: nn.Module, name: str) -> UnsupportedModelError:
    """The refusal of a model that estimator `name` cannot measure."""
    return UnsupportedModelError(
        f"estimator {name!r} needs a model in which attention alone mixes positions, and something else "
        f"in {type(model).__name__} does too; use 'exact' or 'reference'"
    )


@contextmanager
def attention_backend(model: nn.Module, name: str, estimator: str, fitting: str) -> Iterator[None]:
    """Run `model` with the attention function registered as `name`, and give it back its own after.

    Raises:
        UnsupportedModelError: the model does not take its attention function from transformers'
            AttentionInterface; `fitting` names the estimators that do not need it to.
    """
    if not takes_attention_function(model):
        raise UnsupportedModelError(
            f"estimator {estimator!r} replaces the attention function, and {type(model).__name__} does not "
            f"take its own from transformers' AttentionInterface; use {fitting}"
        )
    configs = _attention_configs(model)
    before = [(config, config._attn_implementation) for config in configs.values()]
    try:
        model.set_attn_implementation(name)  # pyright: ignore[reportCallIssue]
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation = implementation


def _attention_configs(model: nn.Module) -> dict[int, Any]:
    configs = (getattr(module, "config", None) for module in model.modules())
    return {id(config): config for config in configs if hasattr(config, "_attn_implementation")}
