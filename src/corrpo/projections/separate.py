"""Attention with four separate linear modules q_proj, k_proj, v_proj, o_proj.

Llama, Mistral, Qwen2, Qwen3, Gemma 2 and 3, OLMo-2 and their many relatives. Biases, q/k norms, sliding
windows and soft-capping live between or beside the four modules and need no mention here.
"""

from torch import nn

from corrpo.projections.layer import PROJECTIONS, AttentionLayer


def _text_decoder(model: nn.Module) -> tuple[str, nn.Module]:
    """The decoder of the text model, so that a vision tower's attention is not taken for it."""
    get_decoder = getattr(model, "get_decoder", None)
    decoder = get_decoder() if callable(get_decoder) else None
    if isinstance(decoder, nn.Module):
        for name, module in model.named_modules():
            if module is decoder:
                return f"{name}." if name else "", decoder
    return "", model


def separate_projections(model: nn.Module) -> list[AttentionLayer]:
    """Every module of the text decoder that holds all four projections, in order; empty if there is none."""
    prefix, decoder = _text_decoder(model)
    layers: list[AttentionLayer] = []
    for name, module in decoder.named_modules():
        found = {kind: getattr(module, f"{kind}_proj", None) for kind in PROJECTIONS}
        projections = {kind: child for kind, child in found.items() if isinstance(child, nn.Module)}
        if len(projections) == len(PROJECTIONS):
            layers.append(AttentionLayer(len(layers), prefix + name, module, projections))
    return layers
