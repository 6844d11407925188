"""The cost model against counts: of weights, and of the matrix products that the real estimators make."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from corrpo import logit_gradient_norms
from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.strength.estimators import exact, own
from cost_model import ModelShape, Workload, operations
from cost_model.cluster import H100, Setting, cost, gpus_needed, total_seconds
from cost_model.memory import memory
from cost_model.operations import training_step
from cost_model.passes import graph_bytes, own_by_blocks
from peak import peak_bytes

COUNTED = 5e-3
"""Relative tolerance of the matrix products, which are all that PyTorch's counter counts. With one query head
for each key head, an outer product of `last` is made by elementwise operations, which it does not count."""
PLANNED = 0.03
"""Where the number of targets of a pass follows from bytes, which are computed to some 2 percent."""
PEAK = 0.15
"""Relative tolerance of peak memory."""
ROOM = 1 << 20
"""Free bytes that make `own` go block by block at every size of these tests."""

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
DTYPES = [
    pytest.param(torch.float32, id="float32"),
    pytest.param(torch.bfloat16, id="bfloat16", marks=pytest.mark.slow),  # few CPUs multiply it quickly
]
SIZES = [pytest.param(240, 16, id="256"), pytest.param(1016, 8, id="1024", marks=pytest.mark.slow)]
LENGTHS = {"short": (40, 24), "a tail": (150, 10), "weights made again": (740, 4)}


def config_of(family, changes):
    return getattr(transformers, f"{family}Config")(**{**SHAPE, **changes})


def model_of(family, changes):
    torch.manual_seed(0)
    return getattr(transformers, f"{family}ForCausalLM")(config_of(family, changes)).eval()


class Counter(TorchDispatchMode):
    """PyTorch's own count of each product; its FlopCounterMode cannot go back to a leaf within a model."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **(kwargs or {}), out_val=result)
        return result


def counted(call):
    """Multiplications and additions of all matrix products within `call`."""
    with Counter() as counter:
        call()
    return counter.total


def products(result):
    return result.products + result.wide


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

    def call():
        return logit_gradient_norms(model, ids, workload.positions, estimator=estimator)

    call()  # tries out how the model can be differentiated
    computed = operations(ModelShape.from_config(model.config), workload, estimator)
    assert products(computed) == pytest.approx(counted(call), rel=COUNTED)


@pytest.mark.parametrize("layers", [None, 2])
def test_own_block_by_block_makes_the_products_that_are_computed(model, monkeypatch, layers):
    prompt, response = LENGTHS["a tail"]
    workload = Workload(prompt, response, layers=layers)
    ids = torch.randint(512, (prompt + response,))
    measured = None if layers is None else range(-layers, 0)

    def call():
        return logit_gradient_norms(model, ids, workload.positions, estimator="own", layers=measured)

    call()
    shape = ModelShape.from_config(model.config)
    once, twice = (operations(shape, workload, "own", budget=budget) for budget in (None, ROOM / 2))
    assert products(once) == pytest.approx(counted(call), rel=COUNTED)
    monkeypatch.setattr(own, "free_memory", lambda device: ROOM)
    assert products(twice) == pytest.approx(counted(call), rel=COUNTED)
    assert products(twice) > 1.2 * products(once)


def test_own_goes_block_by_block_where_the_estimator_does(monkeypatch):
    model = model_of(*MODELS["grouped"])
    shape, workload = ModelShape.from_config(model.config), Workload(150, 10)
    ids = torch.randint(512, (160,))

    def call():
        return logit_gradient_norms(model, ids, workload.positions, estimator="own")

    call()
    graph = workload.length * sum(graph_bytes(shape, block, 4.0) for block in shape.blocks)
    for part, by_blocks in ((0.95, True), (1.05, False)):
        monkeypatch.setattr(own, "free_memory", lambda device, room=2 * part * graph: int(room))
        assert own_by_blocks(shape, workload.length, part * graph, 4.0) is by_blocks
        computed = operations(shape, workload, "own", budget=part * graph)
        assert products(computed) == pytest.approx(counted(call), rel=COUNTED)


@pytest.mark.parametrize("layers", [None, 2])
@pytest.mark.parametrize(("prompt", "response"), [(8, 40), (150, 10)])
def test_exact_makes_the_products_that_are_computed(model, prompt, response, layers):
    workload = Workload(prompt, response, layers=layers)
    ids = torch.randint(512, (prompt + response,))
    measured = None if layers is None else range(-layers, 0)

    def call():
        return logit_gradient_norms(model, ids, workload.positions, estimator="exact", layers=measured)

    call()  # tries out how the model can be differentiated
    computed = operations(ModelShape.from_config(model.config), workload, "exact")
    assert products(computed) == pytest.approx(counted(call), rel=COUNTED)


def test_exact_without_room_for_graphs_makes_the_products_that_are_computed(monkeypatch):
    model = model_of(*MODELS["grouped"])  # norms of queries and keys would add bytes that are not counted
    budget = 6 << 20
    monkeypatch.setattr(exact, "MEMORY_BUDGET", budget)
    workload = Workload(150, 10)
    ids = torch.randint(512, (160,))

    def call():
        return logit_gradient_norms(model, ids, workload.positions, estimator="exact")

    call()
    computed = operations(ModelShape.from_config(model.config), workload, "exact", budget=budget)
    assert products(computed) == pytest.approx(counted(call), rel=PLANNED)


def test_reference_makes_the_products_that_are_computed(model):
    model.set_attn_implementation("eager")  # of the others, PyTorch's counter does not see all products
    workload = Workload(30, 3)
    ids = torch.randint(512, (33,))
    result = counted(lambda: logit_gradient_norms(model, ids, workload.positions, estimator="reference"))
    computed = operations(ModelShape.from_config(model.config), workload, "reference")
    assert products(computed) == pytest.approx(result, rel=COUNTED)


def test_a_training_step_makes_the_products_that_are_computed(model):
    model.set_attn_implementation("eager")
    ids = torch.randint(512, (1, 96))

    def step():
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()

    result = counted(step)
    assert training_step(ModelShape.from_config(model.config), 96).products == pytest.approx(result, rel=0.02)


@pytest.mark.parametrize("family", EXPERTS)
def test_weights_of_mixtures_of_experts_are_those_of_the_model(family):
    config = config_of(family, EXPERTS[family])
    with torch.device("meta"):
        model = getattr(transformers, f"{family}ForCausalLM")(config)
    matrices = sum(parameter.numel() for parameter in model.parameters() if parameter.dim() > 1)
    assert ModelShape.from_config(config).weights == matrices


@pytest.mark.parametrize("family", ["Mixtral", "Qwen3Moe"])
def test_own_on_experts_counts_those_that_a_token_meets(family):
    model = model_of(family, EXPERTS[family])
    model.set_experts_implementation("eager")
    workload = Workload(40, 24)
    ids = torch.randint(512, (64,))

    def call():
        return logit_gradient_norms(model, ids, workload.positions, estimator="own")

    call()
    computed = operations(ModelShape.from_config(model.config), workload, "own")
    assert products(computed) == pytest.approx(counted(call), rel=0.02)


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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("prompt", "response"), SIZES)
@pytest.mark.parametrize("estimator", ["own", "exact"])
def test_peak_memory_is_that_which_is_computed(estimator, prompt, response, dtype):
    wide = {"hidden_size": 256, "intermediate_size": 704, "tie_word_embeddings": False}
    model = model_of("Qwen2", wide).to(dtype)
    workload = Workload(prompt, response)
    ids = torch.randint(512, (prompt + response,))

    def call():
        return logit_gradient_norms(model, ids, workload.positions, estimator=estimator)

    call()
    computed = memory(ModelShape.from_config(model.config), workload, estimator, element=dtype.itemsize)
    assert computed.total == pytest.approx(peak_bytes(call), rel=PEAK)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("prompt", "response"), SIZES)
@pytest.mark.parametrize("layers", [3, 8])
def test_peak_memory_of_own_block_by_block_is_that_which_is_computed(
    monkeypatch, layers, prompt, response, dtype
):
    changes = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": layers}
    model = model_of("Qwen2", changes).to(dtype)
    workload = Workload(prompt, response)
    ids = torch.randint(512, (prompt + response,))

    def call():
        return logit_gradient_norms(model, ids, workload.positions, estimator="own")

    call()
    monkeypatch.setattr(own, "free_memory", lambda device: ROOM)
    shape = ModelShape.from_config(model.config)
    by_blocks = memory(shape, workload, "own", element=dtype.itemsize, budget=ROOM / 2)
    assert by_blocks.total == pytest.approx(peak_bytes(call), rel=PEAK)
    assert by_blocks.total < 0.95 * memory(shape, workload, "own", element=dtype.itemsize).total


def test_peak_memory_of_last_is_that_which_is_computed():
    model = model_of("Qwen2", {"hidden_size": 256, "intermediate_size": 704})
    workload = Workload(1016, 8)
    ids = torch.randint(512, (1024,))
    result = peak_bytes(lambda: logit_gradient_norms(model, ids, workload.positions, estimator="last"))
    computed = memory(ModelShape.from_config(model.config), workload, "last")
    assert computed.total == pytest.approx(result, rel=PEAK)


@pytest.fixture
def large():
    """The shape of Qwen2.5-7B."""
    config = transformers.Qwen2Config(
        vocab_size=152_064,
        hidden_size=3584,
        intermediate_size=18_944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        tie_word_embeddings=False,
    )
    return ModelShape.from_config(config)


def test_sharding_adds_links_and_saves_memory(large):
    workload = Workload(256, 1024)
    full, spread = (cost(large, workload, "own", sharded=size) for size in (1, 8))
    assert full.gathered == 0
    assert spread.gathered == pytest.approx(2 * large.block_weights * 2 * 7 / 8)
    assert spread.memory < full.memory
    assert spread.compute_seconds == full.compute_seconds


def test_own_block_by_block_reads_the_weights_and_passes_forward_once_more(large):
    workload = Workload(256, 32_768)
    full, by_blocks = (
        cost(large, workload, "own", sharded=8, setting=Setting(budget=budget)) for budget in (1e15, 1.0)
    )
    assert by_blocks.operations.products > 1.3 * full.operations.products
    assert by_blocks.moved > 1.3 * full.moved
    assert by_blocks.gathered == full.gathered
    assert by_blocks.memory < full.memory / 4
    assert gpus_needed(large, workload, "own") == 1


def test_subsampling_and_layers_make_exact_cheaper(large):
    every = cost(large, Workload(256, 1024), "exact").seconds
    few = cost(large, Workload(256, 1024, targets=64), "exact").seconds
    upper = cost(large, Workload(256, 1024, targets=64, layers=7), "exact").seconds
    assert 1 / 20 < few / every < 1 / 8
    assert 1 / 5 < upper / few < 1 / 2


def test_what_does_not_fit_is_none_and_fewer_gpus_than_a_group_are_refused(large):
    assert gpus_needed(large, Workload(256, 1024), "own") == 1
    assert gpus_needed(large, Workload(256, 1 << 20), "own") is None
    assert gpus_needed(replace(large, weight_bytes=16), Workload(256, 256), "own") == 2
    one = cost(large, Workload(256, 256), "own")
    assert total_seconds(one, 500, 64, 1) == pytest.approx(8 * one.seconds)
    with pytest.raises(BadInputError, match="4 GPUs are fewer than the 8"):
        total_seconds(one, 500, 4, 8)


def test_low_rank_and_fused_attention_save_what_they_should(large):
    workload = Workload(256, 8192, targets=16)
    low, full = (cost(large, workload, "exact", setting=Setting(rank=rank)) for rank in (64, None))
    assert low.operations.decompositions < full.operations.decompositions
    fused = cost(large, workload, "exact", H100, setting=Setting(fused=True))
    assert fused.moved < cost(large, workload, "exact", H100, setting=Setting()).moved
