"""The cost model against counts: of weights, and of the matrix products that the real estimators make."""

from types import SimpleNamespace

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from corrpo import logit_gradient_norms
from corrpo.costs import ModelShape, Workload, operations
from corrpo.costs.arithmetic import exact, training_step
from corrpo.errors import BadInputError, UnsupportedModelError

COUNTED = 5e-3
"""Relative tolerance of the matrix products, which are all that PyTorch's counter counts. With one query head for
each key head, an outer product of `last` is made by elementwise operations, which it does not count."""

SHAPE = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": None,
}
MODELS = {
    "grouped": ("Qwen2", {"tie_word_embeddings": False}),
    "tied, all heads": ("Llama", {"num_key_value_heads": 8, "tie_word_embeddings": True}),
    "wide heads": ("Qwen3", {"head_dim": 32, "tie_word_embeddings": True}),
}
EXPERTS = {
    "Mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "Qwen3Moe": {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "head_dim": 16},
    "Qwen2Moe": {
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 48,
        "mlp_only_layers": [1],
    },
    "DeepseekV3": {
        "n_routed_experts": 8,
        "num_experts_per_tok": 2,
        "n_group": 2,
        "topk_group": 1,
        "moe_intermediate_size": 48,
        "first_k_dense_replace": 1,
        "q_lora_rank": 40,
        "kv_lora_rank": 24,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 16,
        "v_head_dim": 12,
        "num_key_value_heads": 8,
    },
}
LENGTHS = {"short": (40, 24), "a tail": (150, 10), "weights made again": (740, 4)}


def config_of(family, changes):
    return getattr(transformers, f"{family}Config")(**{**SHAPE, **changes})


def model_of(family, changes):
    torch.manual_seed(0)
    return getattr(transformers, f"{family}ForCausalLM")(config_of(family, changes)).eval()


def counted(call):
    """Multiplications and additions of all matrix products within `call`."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def products(found):
    return found.products + found.wide


@pytest.fixture(params=MODELS)
def model(request):
    """A small model with random weights."""
    return model_of(*MODELS[request.param])


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("estimator", ["own", "last"])
def test_one_pass_estimators_make_the_products_that_are_computed(model, estimator, length):
    prompt, response = LENGTHS[length]
    workload = Workload(prompt, response)
    ids = torch.randint(512, (prompt + response,))
    found = counted(lambda: logit_gradient_norms(model, ids, workload.positions, estimator=estimator))
    computed = operations(ModelShape.from_config(model.config), workload, estimator)
    assert products(computed) == pytest.approx(found, rel=COUNTED)


@pytest.mark.parametrize(("prompt", "response"), [(8, 40), (150, 10)])
def test_exact_makes_the_products_that_are_computed(model, prompt, response):
    workload = Workload(prompt, response)
    ids = torch.randint(512, (prompt + response,))
    found = counted(lambda: logit_gradient_norms(model, ids, workload.positions, estimator="exact"))
    shape = ModelShape.from_config(model.config)
    computed = exact(
        shape, workload.positions, 16, forwards=1, pairs_of=lambda length, _heads: length * length
    )
    assert products(computed) == pytest.approx(found, rel=COUNTED)


def test_reference_makes_the_products_that_are_computed(model):
    model.set_attn_implementation("eager")  # of the others, PyTorch's counter does not see all products
    workload = Workload(30, 3)
    ids = torch.randint(512, (33,))
    found = counted(lambda: logit_gradient_norms(model, ids, workload.positions, estimator="reference"))
    computed = operations(ModelShape.from_config(model.config), workload, "reference")
    assert products(computed) == pytest.approx(found, rel=COUNTED)


def test_a_training_step_makes_the_products_that_are_computed(model):
    model.set_attn_implementation("eager")
    ids = torch.randint(512, (1, 96))
    found = counted(lambda: model(input_ids=ids, labels=ids, use_cache=False).loss.backward())
    assert training_step(ModelShape.from_config(model.config), 96).products == pytest.approx(found, rel=0.02)


@pytest.mark.parametrize("family", EXPERTS)
def test_weights_of_mixtures_of_experts_are_those_of_the_model(family):
    config = config_of(family, EXPERTS[family])
    with torch.device("meta"):
        model = getattr(transformers, f"{family}ForCausalLM")(config)
    matrices = sum(each.numel() for each in model.parameters() if each.dim() > 1)
    assert ModelShape.from_config(config).weights == matrices


@pytest.mark.parametrize("family", ["Mixtral", "Qwen3Moe"])
def test_own_on_experts_counts_those_that_a_token_meets(family):
    model = model_of(family, EXPERTS[family])
    model.set_experts_implementation("eager")
    workload = Workload(40, 24)
    ids = torch.randint(512, (64,))
    found = counted(lambda: logit_gradient_norms(model, ids, workload.positions, estimator="own"))
    computed = operations(ModelShape.from_config(model.config), workload, "own")
    assert products(computed) == pytest.approx(found, rel=0.02)


def test_what_is_not_known_is_refused():
    with pytest.raises(UnsupportedModelError, match="'gpt2'.*qwen2"):
        ModelShape.from_config(transformers.GPT2Config())
    with pytest.raises(BadInputError, match="'fast'.*exact"):
        operations(ModelShape.from_config(config_of(*MODELS["grouped"])), Workload(1, 1), "fast")
    with pytest.raises(BadInputError, match="1 or more"):
        Workload(prompt=0, response=5)


def test_a_config_around_a_text_config_is_read():
    text = config_of(*MODELS["grouped"])
    outer = SimpleNamespace(get_text_config=lambda: text)
    assert ModelShape.from_config(outer) == ModelShape.from_config(text)
