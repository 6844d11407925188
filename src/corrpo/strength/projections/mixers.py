"""The token mixers of a model and the projections in them, found by the families, one file each."""

from collections.abc import Sequence

from torch import nn

from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.families import families
from corrpo.strength.projections.projection import MixerLayer
from corrpo.strength.projections.unknown_layouts import refuse_unknown

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
    known_families = families()
    mixers: list[MixerLayer] = []
    for name, module in decoder.named_modules():
        if next(module.children(), None) is None:  # nothing in it to be a projection, as in most modules
            continue
        inside = mixers and f"{prefix}{name}".startswith(f"{mixers[-1].name}.")
        if inside or any(part in _OTHER_SEQUENCE for part in name.split(".")):
            continue
        for family in known_families:
            if projections := family(module):
                mixers.append(MixerLayer(len(mixers), prefix + name, module, projections))
                break
        else:
            refuse_unknown(module)
    if not mixers:
        raise UnsupportedModelError(
            f"{type(model).__name__}: no attention or other token mixer that corrpo knows was found; "
            "docs/MODELS.md lists the families it measures, and how to add one"
        )
    return mixers


def find_layers(model: nn.Module, projections: Sequence[str]) -> list[MixerLayer]:
    """The token mixers that hold all of the named projections, in the order of the forward pass."""
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


def select_layers(of: Sequence[MixerLayer], layers: Sequence[int] | None) -> list[MixerLayer]:
    """The layers with the given places in `of`, negative ones from the end; all of them for None."""
    if layers is None:
        return list(of)
    n = len(of)
    outside = [i for i in layers if not -n <= i < n]
    if outside or not layers:
        raise BadInputError(f"layers={list(layers)}: expected indices in [{-n}, {n - 1}], at least one")
    chosen = [i % n for i in layers]
    if len(set(chosen)) < len(chosen):
        raise BadInputError(f"layers={list(layers)}: a layer is named twice (of {n} layers)")
    return [of[i] for i in chosen]


def _text_decoder(model: nn.Module) -> tuple[str, nn.Module]:
    """The decoder of the text model, so that a vision tower's attention is not taken for it."""
    get_decoder = getattr(model, "get_decoder", None)
    decoder = get_decoder() if callable(get_decoder) else None
    if isinstance(decoder, nn.Module):
        for name, module in model.named_modules():
            if module is decoder:
                return f"{name}." if name else "", decoder
    return "", model
