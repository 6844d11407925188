"""The token mixers of a model and the projections in them, found by the families, one file each."""

from collections.abc import Callable, Sequence

from torch import nn

from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.codegen import codegen_projections
from corrpo.strength.projections.falcon import falcon_projections
from corrpo.strength.projections.gated import gated_projections
from corrpo.strength.projections.gated_delta import gated_delta_projections
from corrpo.strength.projections.gpt2 import gpt2_projections
from corrpo.strength.projections.gpt_bigcode import gpt_bigcode_projections
from corrpo.strength.projections.gpt_neox import gpt_neox_projections
from corrpo.strength.projections.griffin import griffin_projections
from corrpo.strength.projections.layer import MixerLayer, Projection
from corrpo.strength.projections.lightning import lightning_projections
from corrpo.strength.projections.mamba import mamba_projections
from corrpo.strength.projections.mla import mla_projections
from corrpo.strength.projections.mpt import mpt_projections
from corrpo.strength.projections.phi3 import phi3_projections
from corrpo.strength.projections.rwkv import rwkv_projections
from corrpo.strength.projections.separate import separate_projections
from corrpo.strength.projections.shared_keys import shared_key_projections
from corrpo.strength.projections.short_convolution import short_convolution_projections
from corrpo.strength.projections.unknown import refuse_unknown
from corrpo.strength.projections.xlstm import xlstm_projections

_FAMILIES: tuple[Callable[[nn.Module], dict[str, Projection] | None], ...] = (
    gpt2_projections,
    gpt_bigcode_projections,
    gpt_neox_projections,
    falcon_projections,
    phi3_projections,
    mpt_projections,
    codegen_projections,
    mla_projections,
    gated_projections,
    shared_key_projections,
    gated_delta_projections,  # before separate: some of these have a q_proj, too
    lightning_projections,
    separate_projections,
    mamba_projections,
    rwkv_projections,
    short_convolution_projections,
    griffin_projections,
    xlstm_projections,
)


_OTHER_SEQUENCE = ("encoder_attn", "crossattention", "cross_attn")


def find_mixers(model: nn.Module) -> list[MixerLayer]:
    """The token mixers of a causal LM, in the order of the forward pass.

    Attention to another sequence, for which many decoders have room and which a causal LM does not run, is
    left out.

    Raises:
        UnsupportedModelError: no family of corrpo recognises one, or one computes several projections in a
            module whose layout is not known.
    """
    prefix, decoder = _text_decoder(model)
    found: list[MixerLayer] = []
    for name, module in decoder.named_modules():
        if next(module.children(), None) is None:  # nothing in it to be a projection, as in most modules
            continue
        inside = found and f"{prefix}{name}".startswith(f"{found[-1].name}.")
        if inside or any(part in _OTHER_SEQUENCE for part in name.split(".")):
            continue
        for family in _FAMILIES:
            if projections := family(module):
                found.append(MixerLayer(len(found), prefix + name, module, projections))
                break
        else:
            refuse_unknown(module)
    if not found:
        raise UnsupportedModelError(
            f"{type(model).__name__}: no attention or other token mixer that corrpo knows was found; "
            "docs/MODELS.md lists the families it measures, and how to add one"
        )
    return found


def find_layers(model: nn.Module, projections: Sequence[str]) -> list[MixerLayer]:
    """The token mixers that hold all of the named projections, in the order of the forward pass.

    Raises:
        BadInputError: no mixer holds these projections; the message tells which there are.
        UnsupportedModelError: no mixer is recognised.
    """
    mixers = find_mixers(model)
    fitting = [mixer for mixer in mixers if set(projections) <= set(mixer.projections)]
    if not fitting:
        kinds = {" ".join(mixer.projections): mixer.name for mixer in mixers}
        there = "; ".join(f"{names} (as in {name})" for names, name in kinds.items())
        raise BadInputError(
            f"projections={tuple(projections)}: {type(model).__name__} has no layer with all of them; "
            f"expected distinct names out of {there}"
        )
    return fitting


def find_attention_layers(model: nn.Module) -> list[MixerLayer]:
    """The layers that hold all of q, k, v and o.

    Raises:
        UnsupportedModelError: see `find_layers`.
    """
    return find_layers(model, PROJECTIONS)


def select_layers(found: Sequence[MixerLayer], layers: Sequence[int] | None) -> list[MixerLayer]:
    """The layers with the given places in `found`; all of them for None.

    Negative places count from the end. The order is that of `layers`.

    Raises:
        BadInputError: a place outside the model, a repeated one, or none at all.
    """
    if layers is None:
        return list(found)
    n = len(found)
    outside = [i for i in layers if not -n <= i < n]
    if outside or not layers:
        raise BadInputError(f"layers={list(layers)}: expected indices in [{-n}, {n - 1}], at least one")
    chosen = [i % n for i in layers]
    if len(set(chosen)) < len(chosen):
        raise BadInputError(f"layers={list(layers)}: a layer is named twice (of {n} layers)")
    return [found[i] for i in chosen]


def _text_decoder(model: nn.Module) -> tuple[str, nn.Module]:
    """The decoder of the text model, so that a vision tower's attention is not taken for it."""
    get_decoder = getattr(model, "get_decoder", None)
    decoder = get_decoder() if callable(get_decoder) else None
    if isinstance(decoder, nn.Module):
        for name, module in model.named_modules():
            if module is decoder:
                return f"{name}." if name else "", decoder
    return "", model
