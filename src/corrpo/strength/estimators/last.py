"""`last`: closed forms for the last attention layer, exact there, from one forward and one short backward.

After the last attention layer everything acts on each position alone, so one backward of sum_t z_t gives
every token its own derivatives at the outputs of o_proj and q_proj and of the attention itself (METHOD 4).
With t' = t - 1 the position where token t is predicted, g^h the derivative at the output of head h, alpha
its attention weights and x the inputs of the projections:

- O and Q have rank one: |delta| |a| at t'.
- V: sum_h g^h c_h^T in the rows of h's key-value head, c_h = sum_s alpha^h_t's x_s; rank at most H.
- K: beta^h_t's = alpha^h_t's (g^h . v_s - g^h . out^h) / sqrt(d_head); the derivative at the key of s is
  sum_h beta^h_t's q^h_t', taken back through rotary embedding and key norm by autograd.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from corrpo.errors import UnsupportedModelError
from corrpo.strength.attention.calls import AttentionCall, RecordedCall, grouped, recorded_calls
from corrpo.strength.attention.own_position_backward import BACKEND
from corrpo.strength.attention.replacement import replaced_attention
from corrpo.strength.derivatives.block_chain import differentiate, zeros_for_none
from corrpo.strength.derivatives.observation import Observed, derivatives_of, observed
from corrpo.strength.derivatives.position_check import check_positionwise
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.derivatives.scores import target_scores
from corrpo.strength.derivatives.user_hooks import naming
from corrpo.strength.estimators.estimator import Estimator
from corrpo.strength.estimators.misfits import misfit_of_replaced_attention
from corrpo.strength.estimators.passes import Pass
from corrpo.strength.norms.factored import prefix_norms, product_norm, rank_one_norm, second_factor
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.projection import MixerLayer

_GROUP_ELEMENTS = 1 << 25


def last_layer_norms(request: GradientRequest) -> Tensor:
    """Norms [n, 1, projections] (float64) in the last attention layer, `reference`'s but for rounding."""
    prefix = request.prefix(int(request.positions[-1]))
    with (
        replaced_attention(request.model, BACKEND, "last", "'exact' or 'reference'"),
        recorded_calls(request.layers[0].mixer) as calls,
        observed(request.layers, PROJECTIONS) as record,
    ):
        scores = target_scores(request, request.positions, prefix)
    call, attended = _call_of(request, calls)
    io = dict(zip(PROJECTIONS, record, strict=True))
    wanted = [io["q"].output, io["o"].output, attended]
    derivatives = derivatives_of(scores, wanted, keep=True)
    check_positionwise(request, scores, wanted, derivatives, "last")
    at_q, at_o, g = derivatives
    delta_q, delta_o = io["q"].part(at_q), io["o"].part(at_o)
    request = replace(request, positions=request.positions.to(delta_o.device))
    columns = {
        "q": lambda: _rank_one_norms(request, delta_q, io["q"]),
        "o": lambda: _rank_one_norms(request, delta_o, io["o"]),
        "v": lambda: _value_norms(request, call, g, io["v"]),
        "k": lambda: _key_norms(request, call, attended.detach(), g, io["k"]),
    }
    norms = torch.stack([columns[kind]() for kind in request.spec.projections], dim=-1)
    return norms[:, None].detach()


def _passes(request: GradientRequest) -> list[Pass]:
    prefix = request.prefix(int(request.positions[-1]))
    return [Pass(slice(0, len(request.positions)), prefix, keeps_graph=True, backwards=1)]


def _rank_one_norms(request: GradientRequest, delta: Tensor, at: Observed) -> Tensor:
    """Norms [n] of gradients that arise at one position each."""
    return rank_one_norm(delta[0, request.rows], at.inputs[0, request.rows], request.spec.norm)


def _call_of(request: GradientRequest, calls: list[RecordedCall]) -> tuple[AttentionCall, Tensor]:
    """The one attention call of the measured layer, and its output."""
    if len(calls) != 1:
        raise UnsupportedModelError(
            f"estimator 'last' needs {request.layers[0].name} to call attention once, and it calls it "
            f"{len(calls)} times{naming(request.hooks)}; use 'exact' or 'reference'"
        )
    return calls[0].call, calls[0].output


def _groups(request: GradientRequest, elements_per_target: int) -> list[slice]:
    """Neighbouring targets, as many at once as keep the working tensors bounded."""
    step = max(1, min(32, _GROUP_ELEMENTS // max(1, elements_per_target)))
    n = len(request.positions)
    return [slice(start, min(start + step, n)) for start in range(0, n, step)]


def _at_rows(tensor: Tensor, rows: Tensor, kv_heads: int) -> Tensor:
    """Rows of [1, H, T, d] as [H_kv, H / H_kv, rows, d]."""
    return grouped(tensor, kv_heads)[0, :, :, rows]


def _value_norms(request: GradientRequest, call: AttentionCall, g: Tensor, at: Observed) -> Tensor:
    """Norms [n] of the gradients of V, from factors with one row per head."""
    inputs, output = at.inputs, at.part(at.output)
    if not _are_values(call, at):
        raise UnsupportedModelError(
            f"estimator 'last' needs the values of attention to be the outputs of the V projection, and "
            f"{request.layers[0].name} changes them in between{naming(request.hooks)}; use 'exact' or "
            "'reference'"
        )
    kv_heads, width = call.key.shape[1], output.shape[-1]
    heads = call.query.shape[1]
    norms = []
    for group in _groups(request, heads * (width + inputs.shape[-1])):
        rows = request.rows[group]
        alpha = call.weights(rows)[0][0].detach()
        c = torch.matmul(alpha, inputs[0].to(alpha.dtype))  # [H_kv, groups, m, d_in]
        g_rows = _at_rows(g, rows, kv_heads)
        placed = g_rows.new_zeros(*g_rows.shape[:3], kv_heads, g_rows.shape[-1])
        for head in range(kv_heads):
            placed[head, :, :, head] = g_rows[head]
        norms.append(
            product_norm(
                _by_target(placed.flatten(3)), _by_target(c), request.spec.norm, request.spec.tolerance
            )
        )
    return torch.cat(norms)


def _are_values(call: AttentionCall, at: Observed) -> bool:
    """Whether the values of attention are what V wrote, and go back to it unchanged."""
    value = call.value[0].transpose(0, 1).flatten(1)
    if not torch.equal(value, at.part(at.output)[0]):
        return False
    cotangent = torch.linspace(1, 2, value.numel(), dtype=value.dtype, device=value.device).view_as(value)
    (back,) = derivatives_of(value, [at.output], cotangent, keep=True)
    return torch.equal(at.part(back)[0], cotangent)


def _by_target(tensor: Tensor) -> Tensor:
    """[H_kv, groups, m, d] to [m, H, d]."""
    return tensor.flatten(0, 1).transpose(0, 1)


def _key_norms(
    request: GradientRequest, call: AttentionCall, output: Tensor, g: Tensor, at: Observed
) -> Tensor:
    """Norms [n] of the gradients of K, from the derivatives at its output over each target's prefix."""
    kv_heads, length, width = call.key.shape[1], at.inputs.shape[1], at.output.shape[-1]
    factor = second_factor(at.inputs[0].detach(), request.spec.norm)
    norms = []
    for group in _groups(request, length * (width + call.query.shape[1])):
        rows = request.rows[group]
        g_rows, q_rows, o_rows = (_at_rows(x, rows, kv_heads) for x in (g, call.query.detach(), output))
        alpha, by_scores = (x.detach() for x in call.weights(rows))
        beta = call.at_scores(alpha, by_scores, g_rows[None], o_rows[None])
        beta = (beta[0] * call.scaling).to(q_rows.dtype)
        at_keys = torch.einsum("jgms,jgmd->mjsd", beta, q_rows)
        derivative = _at_projection(call.key, at.output, at_keys[:, None])
        delta = at.part(derivative)
        prefixes = request.positions[group].tolist()
        norms.append(prefix_norms(delta[:, 0], factor, prefixes, request.spec.norm, request.spec.tolerance))
    return torch.cat(norms)


def _at_projection(key: Tensor, output: Tensor, at_keys: Tensor) -> Tensor:
    """Derivatives at the output of K from those at the keys of attention, one target along the first axis."""
    return zeros_for_none(differentiate([key], [output], [at_keys], batched=True), [output], len(at_keys))[0]


def _misfit(model: nn.Module, layers: Sequence[MixerLayer], projections: Sequence[str]) -> str | None:
    return misfit_of_replaced_attention(model, layers, projections, first=layers[-1])


ESTIMATOR = Estimator(
    name="last",
    label="last layer alone",
    summary="exact for the last attention layer, and says nothing about the layers below it.",
    norms=last_layer_norms,
    passes=_passes,
    misfit=_misfit,
    is_exact=True,
    is_last_layer_alone=True,
)
