"""`pruned`: a backward for each target through the positions that matter alone. An approximation.

What goes back in a block is told in `derivatives.pruned_backward`. The gradients are sums over the positions
kept, Delta^T A with as many rows, and their norms come from small Gram matrices. The cost of a target hardly
grows with the length. With as many positions kept as there are tokens nothing is left out, and the norms are
those of `exact`.
"""

from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from corrpo.errors import UnsupportedModelError
from corrpo.strength.attention.gathered_backward import BACKEND
from corrpo.strength.attention.replacement import replaced_attention
from corrpo.strength.derivatives.block_chain import NotAChainError
from corrpo.strength.derivatives.differentiation_plan import alike, computing_dtype, plan_for, short_request
from corrpo.strength.derivatives.pruned_backward import Sizes, check_residual_path, pruned_products
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.derivatives.user_hooks import user_hooks
from corrpo.strength.estimators.estimator import Estimator
from corrpo.strength.estimators.exact import budget, exact_norms
from corrpo.strength.estimators.misfits import misfit_of_replaced_attention
from corrpo.strength.estimators.passes import Pass, has_room_for_graph
from corrpo.strength.norms.factored import product_norm, short_factor
from corrpo.strength.projections.projection import MixerLayer

_TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-2}
_HALF_TOLERANCE = 0.25
_fitting: WeakKeyDictionary[nn.Module, set[object]] = WeakKeyDictionary()


def pruned_norms(request: GradientRequest) -> Tensor:
    """Norms [n, layers, projections] (float64) of the gradients of the kept positions."""
    assert request.spec.kept is not None
    _check_rule(request)
    return _norms(request, Sizes.of(request.spec.kept))


def _norms(request: GradientRequest, sizes: Sizes) -> Tensor:
    result, spec = request.empty_result(), request.spec
    with replaced_attention(request.model, BACKEND, "pruned", "'exact' or 'reference'"):
        for part in _passes(request):
            positions = request.positions[part.targets]
            inputs = factor = None
            for at in pruned_products(request, positions, part.prefix, sizes, keep=part.keeps_graph):
                if at.inputs is not inputs:
                    inputs, factor = at.inputs, short_factor(at.inputs, spec.norm)
                assert factor is not None
                norms = product_norm(at.deltas, factor, spec.norm, spec.tolerance)
                result[part.targets, at.layer, at.kind] = norms.to(result.device)
    return result


def _passes(request: GradientRequest) -> list[Pass]:
    """Targets in groups, as memory allows, each with a forward pass, or two without room for all blocks."""
    sizes, plan = Sizes.of(request.spec.kept or 1), plan_for(request)
    token_bytes = plan.token_bytes // len(request.layers)  # of one block
    passes, end = [], len(request.positions)
    while end > 0:
        prefix = max(2, request.prefix(int(request.positions[end - 1])))
        room = budget(request.input_ids.device)
        graph = plan.graph_bytes(prefix)
        keeps = has_room_for_graph(graph, room)
        room -= graph if keeps else 0
        target_bytes = token_bytes * (2 * min(sizes.rows, prefix) + min(sizes.keys, prefix) + prefix // 8)
        start = max(0, end - max(1, room // max(1, target_bytes)))
        passes.append(Pass(slice(start, end), prefix, keeps, backwards=end - start))
        end = start
    return passes


def _check_rule(request: GradientRequest) -> None:
    """Try the rule on a few tokens of a new model: with all positions kept it must give what `exact` gives.

    Raises:
        UnsupportedModelError: the model cannot be cut so.
    """
    known, kind = _fitting.setdefault(request.model, set()), alike(request)
    if kind in known:
        return
    short = short_request(request)
    short = replace(short, spec=replace(request.spec, norm="frobenius", tolerance=None))
    everything = Sizes.of(short.input_ids.shape[1])
    name = type(request.model).__name__
    why = f"needs blocks that follow one another, in which attention alone mixes positions; {name} has others"
    try:
        with replaced_attention(request.model, BACKEND, "pruned", "'exact' or 'reference'"):
            if not check_residual_path(short):
                why = f"lets gradients pass where it prunes, and blocks of {name} do more to them than add"
                raise NotAChainError
        norms, truth = _norms(short, everything), exact_norms(short)
        tolerance = _TOLERANCES.get(computing_dtype(short), _HALF_TOLERANCE)
        if not (norms - truth).abs().le(tolerance * truth.amax()).all():
            raise NotAChainError
    except torch.OutOfMemoryError:
        raise
    except (NotAChainError, RuntimeError) as error:
        raise UnsupportedModelError(f"estimator 'pruned' {why}; use 'exact' or 'reference'") from error
    known.add(kind)


def _misfit(model: nn.Module, layers: Sequence[MixerLayer], projections: Sequence[str]) -> str | None:
    if hooks := user_hooks(model):
        return f"runs modules at some positions alone, and {hooks[0]} may look at others"
    return misfit_of_replaced_attention(model, layers, projections)


ESTIMATOR = Estimator(
    name="pruned",
    label="pruned backward",
    summary="an approximation. Each token's gradient goes back through the positions where it is largest, "
    "and not through the others.",
    norms=pruned_norms,
    passes=_passes,
    misfit=_misfit,
    is_exact=False,
)
