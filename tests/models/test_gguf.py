"""GGUF files: loaded as the folder of the same model is, or refused with what to do."""

import gguf
import numpy as np
import peft
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, Qwen2Tokenizer

import corrpo
from corrpo.errors import BadInputError, CorrpoError, UnsupportedModelError
from corrpo.jobs.process_count import processes_for
from corrpo.models.checkpoints import find_checkpoints
from corrpo.models.description import describe_model
from corrpo.models.generation.backends.transformers import end_tokens
from corrpo.models.generation.backends.vllm import VllmEngine
from corrpo.models.gguf import open_gguf
from corrpo.models.load_options import LoadOptions
from corrpo.models.loading import load_checkpoint, load_skeleton, untrained_model
from corrpo.models.source_stamp import source_stamp
from gguf_files import BYTE_LEVEL, PROBE, SIZES, TEMPLATE, TINY, TOKENS, quantized, write_gguf

IDS = torch.arange(3, 23)
PAIRS = [("llama", "F32"), ("llama", "Q8_0"), ("qwen2", "F16"), ("qwen2", "Q4_0"), ("gemma3", "Q8_0")]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny Qwen2 as a GGUF file of Q8_0."""
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny-q8_0.gguf", kind="Q8_0")


def dequantized(architecture: str, kind: str):
    """The tiny model with the numbers that are left of its own in a file of that kind."""
    stored_as = gguf.GGMLQuantizationType[kind]
    model = TINY[architecture].model()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                packed = quantized(parameter.numpy(), stored_as)
                parameter.copy_(torch.from_numpy(gguf.quants.dequantize(packed, stored_as).copy()))
    return model


@pytest.mark.parametrize(("architecture", "kind"), PAIRS)
def test_a_file_is_the_model_that_it_was_made_from(tmp_path, architecture, kind):
    path = write_gguf(tmp_path / "tiny.gguf", architecture, kind)
    model, _ = corrpo.load_model(str(path))
    expected = dequantized(architecture, kind)
    assert type(model) is type(expected)
    assert not model.training
    wanted = expected.state_dict()
    assert set(wanted) == set(model.state_dict())
    for name, weights in model.state_dict().items():
        torch.testing.assert_close(weights, wanted[name], rtol=1e-6, atol=1e-6, msg=name)
    norms = corrpo.logit_gradient_norms(model, IDS, [4, 9, 19])
    torch.testing.assert_close(
        norms, corrpo.logit_gradient_norms(expected, IDS, [4, 9, 19]), rtol=1e-4, atol=0
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_the_dtype_is_the_one_that_was_asked_for(tiny, dtype):
    model, _ = corrpo.load_model(str(tiny), dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {getattr(torch, dtype)}


def test_a_file_is_measured_and_told_in_the_fingerprint(tiny):
    model, tokenizer = corrpo.load_model(str(tiny))
    samples = [{"prompt": f"{n}+1=", "response": f"the sum is {n + 1}"} for n in range(3)]
    fingerprint = corrpo.measure(model, tokenizer, samples, template="plain", max_tokens=4, untrained=True)
    assert fingerprint.model["name"] == str(tiny)
    assert fingerprint.model["dtype"] == "float32"
    told = fingerprint.model["gguf"]
    assert told["quantization"] == "Q8_0"
    assert len(told["sha256"]) == 64
    assert "quantization" not in fingerprint.model
    fresh = untrained_model(model, 0)
    assert type(fresh) is type(model)
    assert not hasattr(fresh, "gguf")


def test_the_tokenizer_is_that_of_the_family(tmp_path, tiny):
    _, tokenizer = corrpo.load_model(str(tiny))
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    merges = [tuple(merge.split()) for merge in BYTE_LEVEL["merges"]]
    own = Qwen2Tokenizer(vocab=vocabulary, merges=merges)
    ids = tokenizer(PROBE).input_ids
    assert ids == own(PROBE).input_ids
    assert tokenizer.decode(ids) == own.decode(ids)
    assert tokenizer.chat_template == TEMPLATE
    (ended,) = tokenizer("<|im_end|>").input_ids
    assert tokenizer.convert_ids_to_tokens(ended) == "<|im_end|>"


def test_the_text_that_a_file_begins_and_ends_with(tmp_path, tiny):
    model, tokenizer = corrpo.load_model(str(tiny))
    assert end_tokens(model, tokenizer) == [0, 2]  # <|endoftext|> by its name, <|im_end|> as stated
    gemma, of_gemma = corrpo.load_model(str(write_gguf(tmp_path / "gemma.gguf", "gemma3")))
    ids = of_gemma("17 the hello\n").input_ids
    assert ids[0] == of_gemma.bos_token_id == 2
    assert of_gemma.decode(ids, skip_special_tokens=True) == "17 the hello\n"
    assert end_tokens(gemma, of_gemma) == [1, 5]  # <eos> as stated, <end_of_turn> by its name
    assert len(of_gemma) == gemma.config.vocab_size


def test_long_lists_are_passed_over_by_the_reader_and_not_by_the_tokenizer(tiny, monkeypatch):
    model, tokenizer = corrpo.load_model(str(tiny))
    monkeypatch.setattr("corrpo.models.gguf_reader._LONGEST_LIST", 5)
    metadata = open_gguf(tiny).metadata
    assert {key for key, value in metadata.items() if value == []} == {
        f"tokenizer.ggml.{key}" for key in ("tokens", "token_type", "merges")
    }
    assert metadata["qwen2.vocab_size"] == len(TOKENS)
    again, same = corrpo.load_model(str(tiny))
    assert same(PROBE).input_ids == tokenizer(PROBE).input_ids
    assert describe_model(again) == describe_model(model)
    assert gguf.GGUFReader is gguf.gguf_reader.GGUFReader


def test_what_lies_beside_a_file_is_not_read(tmp_path):
    path = write_gguf(tmp_path / "tiny.gguf")
    alone = corrpo.load_model(str(path))[1](PROBE).input_ids
    from corrpo.lab import checkpoint

    AutoTokenizer.from_pretrained(checkpoint("llama", "base")).save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": 7}')
    model, tokenizer = corrpo.load_model(str(path))
    assert tokenizer(PROBE).input_ids == alone
    assert end_tokens(model, tokenizer) == [0, 2]


def test_the_rotary_scaling_of_llama_3_is_put_into_the_config(tmp_path):
    published = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    published |= {"original_max_position_embeddings": 8192, "rope_theta": 500_000.0}
    scaled = LlamaConfig(**{**SIZES, "rope_parameters": published, "tie_word_embeddings": False})
    plain = LlamaConfig(**{**SIZES, "rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}})
    rotary = type(TINY["llama"].model().model.rotary_emb)
    factors = (rotary(plain).inv_freq / rotary(scaled).inv_freq).numpy()
    theta = {"llama.rope.freq_base": 500_000.0}
    path = write_gguf(tmp_path / "a.gguf", "llama", changes=theta, more={"rope_freqs.weight": factors})
    model, _ = corrpo.load_model(str(path))
    assert model.config.rope_parameters == published
    torch.testing.assert_close(model.model.rotary_emb.inv_freq, rotary(scaled).inv_freq)
    odd = write_gguf(tmp_path / "b.gguf", "llama", changes=theta, more={"rope_freqs.weight": factors * 2})
    with pytest.raises(BadInputError, match="in a way that is not that of Llama 3; give the folder"):
        load_skeleton(str(odd))


def test_a_linear_rotary_scaling_is_put_into_the_config(tmp_path):
    stated = {"gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": 8.0}
    config = load_skeleton(str(write_gguf(tmp_path / "a.gguf", "gemma3", changes=stated))).config
    assert config.rope_parameters["full_attention"] == {
        "rope_theta": 1e6,
        "rope_type": "linear",
        "factor": 8.0,
    }
    assert config.rope_parameters["sliding_attention"]["rope_type"] == "default"
    assert config.query_pre_attn_scalar == 16


WRONG = {
    "an architecture that transformers does not read": (
        {"general.architecture": "xyz"},
        UnsupportedModelError,
        "architecture xyz is not supported yet",
    ),
    "no causal LM": ({"general.architecture": "t5encoder"}, CorrpoError, "tiny.gguf"),
    "a part": ({"split.count": 2}, BadInputError, "is one of several parts; join them"),
    "an adapter": ({"general.type": "adapter"}, BadInputError, "a GGUF file of the type 'adapter'"),
    "no tokenizer": ({"tokenizer.ggml.tokens": None}, BadInputError, "holds no tokenizer"),
    "a tokenizer that transformers does not read": (
        {"tokenizer.ggml.model": "rwkv"},
        BadInputError,
        "cannot read the tokenizer of .*'rwkv'",
    ),
    "a scaling that is not read": (
        {"qwen2.rope.scaling.type": "yarn"},
        BadInputError,
        "states qwen2.rope.scaling.type = yarn, and the model that .* makes of it has rope_type = none",
    ),
    "a list of heads": ({"qwen2.attention.head_count": [4, 4]}, CorrpoError, "tiny.gguf"),
    "half a block": ({"qwen2.block_count": 2.5}, CorrpoError, "tiny.gguf"),
    "no heads": ({"qwen2.attention.head_count": 0}, CorrpoError, "tiny.gguf"),
    "more blocks than tensors": (
        {"qwen2.block_count": 10**9},
        BadInputError,
        "states 1,000,000,000 blocks and holds",
    ),
    "a word for a number": ({"qwen2.rope.freq_base": "large"}, CorrpoError, "tiny.gguf"),
    "a word for a count": ({"split.count": "two"}, BadInputError, "one of several parts"),
    "positions scaled by nothing": (
        {"qwen2.rope.scaling.type": "linear", "qwen2.rope.scaling.factor": 0.0},
        BadInputError,
        "scales its rotary positions by 0.0",
    ),
    "what corrpo does not know": (
        {"qwen2.attention.clamp_kqv": 8.0},
        BadInputError,
        r"states qwen2.attention.clamp_kqv = 8.0, and .* has no such thing; give the folder",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_cannot_be_the_model_is_refused(tmp_path, case):
    changes, error, said = WRONG[case]
    path = write_gguf(tmp_path / "tiny.gguf", changes=dict(changes))
    with pytest.raises(error, match=said) as caught:
        corrpo.load_model(str(path))
    assert "\n" not in str(caught.value)


def test_the_only_part_of_a_file_is_the_whole(tmp_path):
    whole = write_gguf(tmp_path / "tiny-00001-of-00001.gguf", changes={"split.count": 1})
    assert open_gguf(whole).path == whole
    with pytest.raises(BadInputError, match="is one of several parts"):
        open_gguf(whole.rename(tmp_path / "tiny-00001-of-00002.gguf"))


def test_tensors_that_the_reader_would_leave_out_are_told(tmp_path):
    more = {"blk.0.attn_q.bias": np.zeros(64, np.float32), "blk.0.odd.weight": np.zeros((3, 5), np.float32)}
    path = write_gguf(tmp_path / "tiny.gguf", "llama", more=more)
    with pytest.raises(BadInputError, match=r"LlamaForCausalLM of its config has .*; look at .*blk\.0\.odd"):
        corrpo.load_model(str(path))


@pytest.mark.parametrize("length", [0, 3, 40, 4000, -1])
def test_a_file_that_ends_too_early_is_told(tmp_path, tiny, length):
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny.read_bytes()[:length])
    with pytest.raises(
        BadInputError, match="is no GGUF file, or ends too early .*; copy or download it again"
    ):
        corrpo.load_model(str(path))


def test_files_that_are_no_model_are_told(tmp_path, tiny, monkeypatch):
    with pytest.raises(BadInputError, match="the file nowhere.gguf does not exist"):
        corrpo.load_model("nowhere.gguf")
    text = tmp_path / "text.gguf"
    text.write_text("hello, this is no model at all\n" * 9)
    with pytest.raises(BadInputError, match="text.gguf is no GGUF file"):
        corrpo.load_model(str(text))
    part = tmp_path / "m-00001-of-00003.gguf"
    part.write_bytes(tiny.read_bytes())
    with pytest.raises(BadInputError, match="one of several parts"):
        corrpo.load_model(str(part))
    other = tmp_path / "weights.bin"
    other.write_bytes(tiny.read_bytes())
    with pytest.raises(BadInputError, match="expected the folder of a saved model, a .gguf file"):
        corrpo.load_model(str(other))
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "tiny.gguf").write_bytes(tiny.read_bytes())
    with pytest.raises(BadInputError, match=f"give the file itself: {folder}/tiny.gguf"):
        corrpo.load_model(str(folder))
    monkeypatch.setattr("corrpo.errors.find_spec", lambda _name: True)
    with pytest.raises(BadInputError, match="quantize what `corrpo convert .* writes"):
        corrpo.load_model(str(tiny), quantization="8bit")


def test_the_extra_is_told(tiny, monkeypatch):
    monkeypatch.setattr("corrpo.errors.find_spec", lambda _name: None)
    with pytest.raises(BadInputError, match=r"needs gguf, accelerate, which are not .*'\.\[gguf\]'"):
        corrpo.load_model(str(tiny))


def test_vllm_says_how_it_takes_a_file(tiny, monkeypatch):
    monkeypatch.setattr("corrpo.errors.find_spec", lambda _name: True)
    with pytest.raises(BadInputError, match="takes the folder that `corrpo convert` makes of it"):
        VllmEngine(find_checkpoints([str(tiny)])[0][0], LoadOptions(), "cpu")


def test_an_adapter_goes_on_the_model_of_a_file(tmp_path, tiny):
    model, _ = corrpo.load_model(str(tiny))
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    adapted = peft.get_peft_model(model, config)
    adapted.save_pretrained(str(tmp_path / "adapter"))
    again, tokenizer = corrpo.load_model(str(tmp_path / "adapter"))  # its config names the file
    norms = corrpo.logit_gradient_norms(again, IDS, [4, 9])
    torch.testing.assert_close(norms, corrpo.logit_gradient_norms(adapted.eval(), IDS, [4, 9]))
    told = describe_model(again)
    assert (told["gguf"]["quantization"], told["adapter"]["active"]) == ("Q8_0", ["default"])
    assert end_tokens(again, tokenizer) == [0, 2]


def test_files_are_checkpoints(tmp_path, tiny):
    step = tmp_path / "checkpoint-200.gguf"
    step.write_bytes(tiny.read_bytes())
    words = [f"sft={step}", f"sft:400={tiny}", str(tiny)]
    found, skipped = find_checkpoints(words, start=str(tiny))
    assert skipped == []
    keys = ["sft/step-000000", "sft/step-000200", "sft/step-000400", "tiny-q8_0"]
    assert [checkpoint.key for checkpoint in found] == keys
    assert find_checkpoints([str(step)])[0][0].stage == tmp_path.name
    loading = LoadOptions()
    assert source_stamp(found[1], loading)["files"][0][:2] == [step.name, step.stat().st_size]
    assert load_checkpoint(found[1], loading, "cpu")[0].gguf["quantization"] == "Q8_0"
    assert processes_for(found[:2], device="cpu") >= 1
    with pytest.raises(BadInputError, match="the file gone.gguf does not exist; give SOURCE"):
        find_checkpoints(["sft=gone.gguf"])
