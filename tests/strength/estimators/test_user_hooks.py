"""Hooks of a user on a model: every estimator gives what autograd gives by the weight, or refuses by name."""

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from corrpo.errors import UnsupportedModelError
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections.mixers import find_attention_layers
from problem import Problem
from recurrent_problems import RECURRENT

LLAMA = Problem("llama", "Llama")
IDS, _, POSITIONS = LLAMA.sequence()


def last_token(_module, _args, output):
    return torch.cat([output[:, :-1], output[:, -1:] + 0.5 * output[:, -1:].square()], dim=1)


def in_place(_module, _args, output):
    output[0, 4:12] *= 0.25


def first_of_tuple(_module, _args, output):
    return (output[0] * torch.linspace(0, 1, output[0].shape[1])[:, None].to(output[0]), *output[1:])


def mixing(_module, _args, output):
    return output + output.cumsum(1)


def with_tensor_hook(_module, _args, output):
    output.register_hook(lambda gradient: gradient * torch.linspace(0, 2, gradient.shape[-1]).to(gradient))


def forward(hook):
    return lambda module: module.register_forward_hook(hook)


def changed_input(_module, args, options):
    hidden = args[0] if args else options.pop("hidden_states")
    return (hidden + hidden.tanh(), *args[1:]), options


FORWARD = {
    "ablated": forward(lambda _m, _a, output: output * 0),
    "zeros": forward(lambda _m, _a, output: torch.zeros_like(output)),
    "detached": forward(lambda _m, _a, output: output.detach()),
    "squared": forward(lambda _m, _a, output: output + 0.3 * output.square()),
    "last token": forward(last_token),
    "in place": forward(in_place),
    "mixing": forward(mixing),
    "tensor hook": forward(with_tensor_hook),
    "recording": forward(lambda module, _a, output: module.__dict__.setdefault("seen", []).append(output)),
    "input": lambda module: module.register_forward_pre_hook(lambda _m, args: (args[0] + args[0].tanh(),)),
}
BACKWARD = {
    "gradient of the input": lambda module: module.register_full_backward_hook(
        lambda _m, at_input, _at_output: (at_input[0] * 0.5,)
    ),
    "gradient of the output": lambda module: module.register_full_backward_pre_hook(
        lambda _m, at_output: (at_output[0] * torch.linspace(0, 1, at_output[0].shape[-1]).to(at_output[0]),)
    ),
    "normalised gradient": lambda module: module.register_full_backward_pre_hook(
        lambda _m, at_output: (at_output[0] / at_output[0].square().sum(),)
    ),
}
PROJECTIONS = [
    f"model.layers.{layer}.self_attn.{kind}_proj"
    for layer, kind in ((1, "v"), (1, "o"), (2, "q"), (2, "k"), (2, "v"))
]
TABLE = [
    *((name, hook, place) for name, hook in (FORWARD | BACKWARD).items() for place in PROJECTIONS),
    ("first of tuple", forward(first_of_tuple), "model.layers.1.self_attn"),
    ("first of tuple", forward(first_of_tuple), "model.layers.2.self_attn"),
    (
        "in place of tuple",
        forward(lambda m, a, output: in_place(m, a, output[0])),
        "model.layers.1.self_attn",
    ),
    (
        "input",
        lambda module: module.register_forward_pre_hook(changed_input, with_kwargs=True),
        "model.layers.2.self_attn",
    ),
    (
        "input",
        lambda module: module.register_forward_pre_hook(changed_input, with_kwargs=True),
        "model.layers.1",
    ),
    ("squared", FORWARD["squared"], "model.layers.1"),
    ("in place", FORWARD["in place"], "model.layers.0"),
    ("in place", FORWARD["in place"], "model.embed_tokens"),
    ("squared", FORWARD["squared"], "model.norm"),
    ("tensor hook", FORWARD["tensor hook"], "model.layers.0.mlp"),
    ("logits", forward(lambda _m, _a, output: output * torch.arange(1, 54) / 9), "lm_head"),
    ("last token", FORWARD["last token"], "lm_head"),
    *(("gradient", hook, place) for hook in BACKWARD.values() for place in ("model.norm", "lm_head")),
]


def judged(model, estimator):
    """Norms of an estimator and of autograd, where they are to be equal."""
    truth = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    norms = logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
    if estimator == "last":
        return norms, truth[:, -1:]
    if estimator == "own":
        return norms[:, -1, [0, 3]], truth[:, -1, [0, 3]]
    return norms, truth


def judged_or_refused(model, estimator):
    """`judged`, and None; or nothing to compare, and why the estimator does not measure the model."""
    try:
        return *judged(model, estimator), None
    except UnsupportedModelError as error:
        return torch.empty(0), torch.empty(0), str(error)


def obvious(model):
    """Nuclear norms by autograd and nothing else, hooks as they are."""
    weights = [p.module.weight for layer in find_attention_layers(model) for p in layer.projections.values()]
    logits = model(IDS[None], use_cache=False).logits[0]
    rows = []
    for position in POSITIONS.tolist():
        score = logits[position - 1, IDS[position]]
        gradients = torch.autograd.grad(score, weights, retain_graph=True, materialize_grads=True)
        rows.append(torch.stack([torch.linalg.svdvals(gradient).sum() for gradient in gradients]))
    return torch.stack(rows).unflatten(1, (-1, 4))


@pytest.mark.parametrize(("name", "hook", "place"), TABLE, ids=[f"{n}-{p}" for n, _, p in TABLE])
def test_every_estimator_gives_the_gradient_by_the_weight_or_names_the_hook(name, hook, place):
    model = LLAMA.model(torch.float64)
    hook(model.get_submodule(place))
    reference = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    torch.testing.assert_close(reference, obvious(model), rtol=1e-8, atol=1e-12)
    norms, truth = judged(model, "exact")
    torch.testing.assert_close(norms, truth, rtol=1e-5, atol=1e-11)
    for estimator in ("own", "last"):
        norms, truth, refusal = judged_or_refused(model, estimator)
        torch.testing.assert_close(norms, truth, rtol=1e-5, atol=1e-11)
        if refusal:
            assert "hook" in refusal
            assert place in refusal
            assert name in ("mixing", "normalised gradient", "gradient") or place.endswith(
                "2.self_attn.v_proj"
            )
    with pytest.raises(UnsupportedModelError, match=f"hook .* on {place}.*use 'exact'"):
        logit_gradient_norms(model, IDS, POSITIONS, estimator="pruned")


@pytest.mark.parametrize("estimator", ["exact", "own", "last"])
@pytest.mark.parametrize("register", ["register_module_forward_hook", "register_module_forward_pre_hook"])
def test_hooks_on_all_modules(estimator, register):
    model = LLAMA.model(torch.float64)

    def change(module, arguments, output=None):
        if isinstance(module, nn.Linear) and module.out_features == 32:
            given = arguments[0] if output is None else output
            return given + 0.1 * given.square()
        return None

    handle = getattr(torch_module, register)(change)
    try:
        norms, truth = judged(model, estimator)
        reference = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
        torch.testing.assert_close(reference, obvious(model), rtol=1e-8, atol=0)
    finally:
        handle.remove()
    torch.testing.assert_close(norms, truth, rtol=1e-5, atol=0)


@pytest.mark.parametrize("estimator", ["exact", "last"])
def test_under_an_adapter_a_hook_changes_what_the_effective_weight_gave(estimator):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(target_modules=["q_proj", "v_proj"], r=2, init_lora_weights=False)
    model = peft.get_peft_model(LLAMA.model(torch.float64), config).double().eval()
    layers = find_attention_layers(model)
    layers[-1].projections["q"].module.register_forward_hook(lambda _m, _a, output: output + output.square())
    norms, truth = judged(model, estimator)
    torch.testing.assert_close(norms, truth, rtol=1e-5, atol=0)
    merged = LLAMA.model(torch.float64)
    for layer, plain in zip(layers, find_attention_layers(merged), strict=True):
        for kind in "qv":
            adapted = layer.projections[kind].module
            with torch.no_grad():
                plain.projections[kind].module.weight += adapted.get_delta_weight("default")
    module = find_attention_layers(merged)[-1].projections["q"].module
    module.register_forward_hook(lambda _m, _a, output: output + output.square())
    torch.testing.assert_close(judged(merged, "exact")[0][:, -1], truth[:, -1], rtol=1e-6, atol=0)


def test_a_hook_on_a_weight_changes_no_norm_and_stays():
    model = LLAMA.model(torch.float64)
    before = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    weight = model.model.layers[1].self_attn.v_proj.weight
    called = []
    weight.register_hook(lambda gradient: called.append(1) or gradient * 3)
    after = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert not called
    model(IDS[None]).logits.sum().backward()
    assert called


def test_a_hook_on_a_module_that_the_model_does_not_run_is_not_run():
    """Mamba multiplies by the weight of dt_proj itself."""
    problem = next(problem for problem in RECURRENT if problem.family == "Mamba")
    model = problem.model(torch.float64)
    ids, positions = problem.sequence()
    options = {"projections": ("dt_proj",)}
    before = logit_gradient_norms(model, ids, positions, **options)
    called = []
    model.backbone.layers[0].mixer.dt_proj.register_forward_hook(lambda *_: called.append(1))
    after = logit_gradient_norms(model, ids, positions, **options)
    torch.testing.assert_close(after, before, rtol=1e-9, atol=0)
    assert not called


def test_a_change_in_place_that_cannot_be_followed_is_refused():
    model = LLAMA.model(torch.float64)
    attention = model.model.layers[2].self_attn

    def halve(_module, args, _output):
        args[0].detach().mul_(0.5)

    attention.o_proj.register_forward_hook(halve)
    with pytest.raises(UnsupportedModelError, match="o of model.layers.2.self_attn .* in place"):
        logit_gradient_norms(model, IDS, POSITIONS)
