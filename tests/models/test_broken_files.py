"""Folders of models that are not as transformers writes them: one error each, which says what to do."""

import json
import pickle
import shutil

import pytest
import torch

from corrpo.errors import BadInputError
from corrpo.lab import checkpoint
from corrpo.models.loading import load_model, load_skeleton


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(checkpoint("qwen2", "base"), tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dtype": "evil"}, "config.*AttributeError.*evil.*save or fetch them again"),
        ({"num_attention_heads": 0}, "weights.*ZeroDivisionError.*save or fetch them again"),
        ({"max_position_embeddings": "x"}, "'max_position_embeddings' expected int, got str"),
        ({"model_type": ["a"]}, "cannot load the config"),
        ({"hidden_act": "boo"}, "KeyError: 'boo'"),
        (
            {"vocab_size": 99},
            r"1 weights have other shapes.*embed_tokens.weight is .*take both",
        ),
        (
            {"quantization_config": {"quant_method": "evil"}},
            "quant_method .evil. is unknown; expected",
        ),
        ({"quantization_config": {"bits": 4}}, "no `quant_method`"),
        ({"model_type": "zork", "auto_map": {"AutoConfig": "c.C"}}, "code of its own.*--trust-remote-code"),
    ],
)
def test_a_config_with_another_value_or_type(folder, change, told):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadInputError, match=told):
        load_model(folder, device="cpu")


def test_a_config_that_is_nested_too_deeply(folder):
    (folder / "config.json").write_text("[" * 100_000)
    for load in (load_model, load_skeleton):
        with pytest.raises(BadInputError, match="cannot load the config .*recursion"):
            load(str(folder))


class Touch:
    def __reduce__(self):
        return (open, ("touched", "w"))


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_pickle_that_would_run_code(folder, save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "model.safetensors").unlink()
    save({"weight": Touch()}, folder / "pytorch_model.bin")
    with pytest.raises(BadInputError, match="could run code .*safetensors"):
        load_model(folder, device="cpu")
    assert not (tmp_path / "touched").exists()


def test_a_folder_without_a_tokenizer(folder):
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(BadInputError, match=r"has no tokenizer .*tokenizer\.save_pretrained"):
        load_model(folder, device="cpu")


def test_a_tokenizer_of_another_form(folder):
    (folder / "tokenizer.json").write_text("[]")
    with pytest.raises(BadInputError, match="cannot load the tokenizer of .*save or fetch them again"):
        load_model(folder, device="cpu")


def test_an_adapter_whose_base_is_not_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = {"base_model_name_or_path": "nobody/gone", "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(BadInputError, match=f"the base model that {tmp_path} names: .*nobody/gone.*--base"):
        load_model(tmp_path, device="cpu")


def test_a_name_without_a_folder_that_goes_to_the_hub(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInputError, match="there is no folder mymodel here"):
        load_model("mymodel", device="cpu")


@pytest.mark.parametrize("device", ["mps", "cuda:99", "meta", "gpu"])
def test_a_device_that_is_not_here(device):
    with pytest.raises(BadInputError, match=f"device '{device}'.*cpu"):
        load_model("lab:qwen2/base", device=device)
