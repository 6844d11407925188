"""Linear attention with a gated delta rule (Gated DeltaNet, Kimi Delta Attention), under own names.

Qwen3-Next: in_proj_qkvz, in_proj_ba, out_proj. Qwen3.5: in_proj_qkv, in_proj_z, in_proj_b, in_proj_a,
out_proj. OLMo-Hybrid: q_proj, k_proj, v_proj, g_proj, a_proj, b_proj, o_proj. Kimi Linear and its relatives:
q_proj, k_proj, v_proj, b_proj, g_proj or g_a_proj and g_b_proj, o_proj, and f_a_proj and f_b_proj in
forget_gate. The last two look like softmax attention by their names, and are kept apart from it by the decay
A_log: queries and keys meet in a recurrent state here, so the default projections q, k, v, o of a hybrid
model are those of its softmax layers alone.
"""

from torch import nn

from corrpo.strength.projections.module_names import has_modules, has_parameters, under_module_names
from corrpo.strength.projections.projection import Projection

_ENTRIES = ("in_proj_qkvz", "in_proj_ba", "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a")
_SEPARATE = (
    *("q_proj", "k_proj", "v_proj", "g_proj", "g_a_proj", "g_b_proj", "a_proj", "b_proj"),
    *("forget_gate.f_a_proj", "forget_gate.f_b_proj", "o_proj"),
)


def projections_of(mixer: nn.Module) -> dict[str, Projection] | None:
    """The linear maps of a mixer with a decay A_log and queries, keys and values, fused or not; else None."""
    if not (has_parameters(mixer, "A_log") or has_parameters(mixer, "forget_gate.A_log")):
        return None
    if has_modules(mixer, "out_proj") and (
        has_modules(mixer, "in_proj_qkvz") or has_modules(mixer, "in_proj_qkv")
    ):
        return under_module_names(mixer, (*_ENTRIES, "out_proj"))
    if has_modules(mixer, "q_proj", "k_proj", "v_proj", "o_proj"):
        return under_module_names(mixer, _SEPARATE)
    return None
