"""The split of fused projections is exact: each part is what the model's own code takes for q, k and v.

Where the model takes its attention function from transformers' AttentionInterface, a recording one shows what
it was given; elsewhere the model's own splitting of heads is called, and what attention does with its three
inputs tells which is which.
"""

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from corrpo.strength.projections import PROJECTIONS
from corrpo.strength.projections.mixers import find_attention_layers
from corrpo.strength.projections.projection import Projection
from fused_problems import FUSED, OWN_ATTENTION
from problems import LENGTH, PROBLEMS, Problem
from shared_models import shared_model

BACKEND = "corrpo_test_recording"
_given: dict[nn.Module, tuple[Tensor, Tensor, Tensor]] = {}

WITH_INTERFACE = [problem for problem in FUSED if problem.family not in OWN_ATTENTION and not problem.padding]
UNROTATED = {"GPT2", "GPTBigCode", "OPT"}
CHANGED = {"dbrx-clipped", "diffllama", "persimmon-qk-norm", "qwen3-moe", "qwen3-next-gated", "qwen3.5-gated"}
"""Where q and k are clipped or normalised, or v cut in two, between the projection and attention."""


def recording_attention(module, query, key, value, attention_mask, scaling=None, **_kwargs):
    _given[module] = query, key, value
    repeats = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    mask = None if attention_mask is None else attention_mask.bool()
    causal = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril() if mask is None else mask
    output = nn.functional.scaled_dot_product_attention(query, key, value, causal, scale=scaling)
    return output.transpose(1, 2), None


AttentionInterface.register(BACKEND, recording_attention)
AttentionMaskInterface.register(BACKEND, sdpa_mask)


def outputs_of(model: nn.Module, ids: Tensor) -> dict[nn.Module, Tensor]:
    """What each module that is part of a projection wrote, [1, T, d]."""
    written: dict[nn.Module, Tensor] = {}
    handles = []
    for layer in find_attention_layers(model):
        for projection in layer.projections.values():
            hook = lambda module, _inputs, output: written.update({module: output.flatten(1, -2)})  # noqa: E731
            handles.append(projection.module.register_forward_hook(hook))
    with torch.no_grad():
        model(input_ids=ids[None], use_cache=False)
    for handle in handles:
        handle.remove()
    return written


def heads(projection: Projection, written: dict[nn.Module, Tensor], count: int) -> Tensor:
    """A projection's own output as [1, heads, T, d_head]."""
    return projection.of(written[projection.module]).unflatten(-1, (count, -1)).transpose(1, 2)


@pytest.mark.parametrize("problem", WITH_INTERFACE, ids=lambda problem: problem.name)
def test_the_parts_are_what_the_attention_function_is_given(problem):
    model = problem.model(torch.float64)
    model.set_attn_implementation(BACKEND)
    _given.clear()
    written = outputs_of(model, problem.sequence()[0])
    layers = find_attention_layers(model)
    assert {layer.mixer for layer in layers} == set(_given)
    for layer in layers:
        q, k, v = _given[layer.mixer]
        parts = layer.projections
        if problem.name not in {"dbrx-clipped", "diffllama"}:
            assert torch.equal(heads(parts["v"], written, v.shape[1]), v)
        query, key = heads(parts["q"], written, q.shape[1]), heads(parts["k"], written, k.shape[1])
        if problem.family in UNROTATED:
            scale = q.norm() / query.norm()  # OPT scales its queries first
            torch.testing.assert_close(query * scale, q, rtol=1e-12, atol=1e-12)
            assert torch.equal(key, k)
        elif problem.family.startswith(("Deepseek", "MiniCPM", "AXK")):
            unrotated = key.shape[-1]
            assert torch.equal(key, k[..., :unrotated])
            assert torch.equal(query[..., :unrotated], q[..., :unrotated])
            torch.testing.assert_close(query.norm(dim=-1), q.norm(dim=-1), rtol=1e-5, atol=0)
        elif problem.name not in CHANGED:  # a rotation keeps the norm of each head
            torch.testing.assert_close(query.norm(dim=-1), q.norm(dim=-1), rtol=1e-5, atol=0)
            torch.testing.assert_close(key.norm(dim=-1), k.norm(dim=-1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["qwen3-next-gated", "qwen3.5-gated", "qwen3-moe", "persimmon-qk-norm"])
def test_normed_queries_and_keys_are_norms_of_the_parts(name):
    """The model's own norm of each part, before rotation: a rotation keeps the norm of each head."""
    problem = next(problem for problem in PROBLEMS if problem.name == name)
    model = problem.model(torch.float64)
    model.set_attn_implementation(BACKEND)
    _given.clear()
    written = outputs_of(model, problem.sequence()[0])
    for layer in find_attention_layers(model):
        for kind, given in zip("qk", _given[layer.mixer][:2], strict=True):
            norm = getattr(layer.mixer, f"{kind}_norm", None) or getattr(layer.mixer, f"{kind}_layernorm")
            with torch.no_grad():
                normed = norm(heads(layer.projections[kind], written, given.shape[1]))
            torch.testing.assert_close(normed.norm(dim=-1), given.norm(dim=-1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["qwen3-next-gated", "qwen3.5-gated"])
def test_the_gate_multiplies_the_output_of_the_heads(name):
    problem = next(problem for problem in PROBLEMS if problem.name == name)
    model = problem.model(torch.float64)
    layer = find_attention_layers(model)[0]
    gate, read = layer.projections["gate"], []
    layer.projections["o"].module.register_forward_pre_hook(lambda _module, args: read.append(args[0]))
    ids = problem.sequence()[0]
    written = outputs_of(model, ids)
    features = gate.features
    closed = torch.full_like(written[gate.module][..., features], -1e6)

    def close(_module, _args, output):
        return output.index_copy(-1, features, closed)

    handle = gate.module.register_forward_hook(close)
    outputs_of(model, ids)
    handle.remove()
    assert read[0].abs().min() > 0
    assert not read[1].any()


def split_of(mixer: nn.Module, fused: Tensor) -> tuple[Tensor, ...]:
    """q, k and v by the model's own code, each [1, T, its features]."""
    kind = type(mixer).__name__
    if kind in {"FalconAttention", "PersimmonAttention"}:
        parts = mixer._split_heads(fused)
    elif kind == "BloomAttention":
        parts = [part.transpose(1, 2) for part in mixer._reshape(fused)]
    elif kind == "GPTNeoXJapaneseAttention":
        shape = (*fused.shape[:-1], mixer.num_attention_heads, 3 * mixer.head_size)
        parts = fused.view(shape).split(mixer.head_size, dim=-1)
    else:
        assert kind in {"MptAttention", "Attention"}
        parts = fused.chunk(3, dim=-1)
    return tuple(part.flatten(2) for part in parts)


FUSED_WITHOUT = [
    problem
    for problem in FUSED
    if problem.family in {"Bloom", "Falcon", "Mpt", "OpenAIGPT", "GPTNeoXJapanese", "Persimmon"}
]


@pytest.mark.parametrize("problem", FUSED_WITHOUT, ids=lambda problem: problem.name)
def test_the_parts_are_those_of_the_models_own_split(problem):
    model = shared_model(problem)
    for layer in find_attention_layers(model):
        parts = [layer.projections[kind] for kind in "qkv"]
        assert len({part.module for part in parts}) == 1
        fused = torch.arange(widths(parts[0].module)).float().expand(1, 2, -1)
        mixer = layer.mixer
        for part, truth in zip(parts, split_of(mixer, fused), strict=True):
            mine = part.of(fused)
            repeats = truth.shape[-1] // mine.shape[-1]  # grouped keys and values come once per query head
            once = truth if repeats == 1 else truth.unflatten(-1, (-1, repeats, mixer.head_dim))[..., 0, :]
            assert torch.equal(mine, once.flatten(2))


def read_by_o(problem: Problem, changes: dict[str, Tensor]) -> Tensor:
    """What the first layer's output projection reads when the parts q, k, v are replaced or shifted.

    Args:
        problem: the model.
        changes: "q" or "k" to what is put in its place, "v" to what is added to it, [1, T, d].
    """
    model = problem.model(torch.float64)
    layer = find_attention_layers(model)[0]
    read: list[Tensor] = []
    layer.projections["o"].module.register_forward_pre_hook(lambda _module, args: read.append(args[0]))
    for kind, change in changes.items():
        projection = layer.projections[kind]

        def changed(_module, _args, output, projection=projection, kind=kind, change=change):
            every = torch.arange(output.shape[-1])
            output = output.clone()
            output[..., projection.of(every)] = change + (projection.of(output) if kind == "v" else 0)
            return output

        projection.module.register_forward_hook(changed)
    with torch.no_grad():
        model(input_ids=problem.sequence()[0][None, :LENGTH], use_cache=False)
    return read[0]


BEHAVING = [
    problem
    for problem in FUSED
    if problem.family in OWN_ATTENTION and not problem.padding and problem.name != "mpt-clipped"
]


@pytest.mark.parametrize("problem", BEHAVING, ids=lambda problem: problem.name)
def test_attention_treats_the_parts_as_queries_keys_and_values(problem):
    """A shift of all values shifts the output by as much; without queries, keys do not matter, nor without
    keys queries."""
    model = problem.model(torch.float64)
    parts = find_attention_layers(model)[0].projections
    d_q, d_k = (len(parts[kind].of(torch.arange(widths(parts[kind].module)))) for kind in "qk")
    noise = torch.randn(2, 1, LENGTH, max(d_q, d_k), generator=torch.Generator().manual_seed(2)).double()
    none = torch.zeros(1, LENGTH, max(d_q, d_k), dtype=torch.float64)

    as_is = read_by_o(problem, {})
    shift = noise[0, :, :1, :d_k]
    by_query_head = shift.unflatten(-1, (-1, 8)).repeat_interleave(d_q // d_k, dim=-2).flatten(-2)
    shifted = read_by_o(problem, {"v": shift}) - as_is
    torch.testing.assert_close(
        shifted, by_query_head.expand_as(as_is), rtol=1e-5, atol=1e-6
    )  # float32 softmax

    without_q = [read_by_o(problem, {"q": none[..., :d_q], "k": k[..., :d_k]}) for k in noise]
    torch.testing.assert_close(*without_q, rtol=1e-12, atol=1e-12)
    without_k = [read_by_o(problem, {"k": none[..., :d_k], "q": q[..., :d_q]}) for q in noise]
    torch.testing.assert_close(*without_k, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(as_is, without_q[0])
    with_both = read_by_o(problem, {"q": noise[0, ..., :d_q], "k": noise[1, ..., :d_k]})
    assert not torch.allclose(with_both, without_q[0])


def widths(module: nn.Module) -> int:
    return getattr(module, "out_features", None) or module.nf


@pytest.mark.parametrize("problem", FUSED, ids=lambda problem: problem.name)
def test_no_feature_is_in_two_parts_and_none_is_left_out(problem):
    """But for the rotary rows of latent attention's kv_a_proj_with_mqa, which is whole under its own name."""
    for layer in find_attention_layers(shared_model(problem)):
        of_module: dict[nn.Module, list[Tensor]] = {}
        for projection in layer.projections.values():
            every = torch.arange(widths(projection.module))
            of_module.setdefault(projection.module, []).append(projection.of(every))
        for module, features in of_module.items():
            assert torch.cat(features).sort().values.tolist() == list(range(widths(module)))
        assert set(PROJECTIONS) <= set(layer.projections)


def test_problem_names_are_distinct():
    assert len({problem.name for problem in PROBLEMS}) == len(PROBLEMS)
    assert all(isinstance(problem, Problem) for problem in PROBLEMS)
