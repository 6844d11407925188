"""Models and adapters loaded from folders."""

import json
from pathlib import Path

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import corrpo
from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.lab import checkpoint
from corrpo.models.description import describe_model
from corrpo.models.load_options import LoadOptions
from corrpo.models.peft_adapters import adapter_record
from corrpo.models.saved_model import weight_files, why_incomplete

BASE = str(checkpoint("qwen2", "base"))
IDS = torch.arange(3, 15)


def adapter_folder(folder: Path, *, base: str | None = BASE, tokenizer: bool = False, **settings) -> Path:
    """A saved adapter of the lab's base model, with numbers that are not those of its start."""
    model = AutoModelForCausalLM.from_pretrained(BASE)
    options = {"r": 4, "target_modules": ["q_proj", "v_proj", "down_proj"], "task_type": "CAUSAL_LM"}
    adapted = peft.get_peft_model(model, peft.LoraConfig(**{**options, **settings}))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    adapted.save_pretrained(str(folder))
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
    if tokenizer:
        AutoTokenizer.from_pretrained(BASE).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("settings", [{}, {"use_dora": True}], ids=["lora", "dora"])
@pytest.mark.parametrize("dtype", ["auto", "float64"])
def test_the_folder_of_an_adapter_is_loaded_on_its_base_model(tmp_path, settings, dtype):
    folder = adapter_folder(tmp_path / "adapter", **settings)
    model, tokenizer = corrpo.load_model(str(folder), dtype=dtype)
    assert not any(module.training for module in model.modules())
    assert {p.dtype for p in model.parameters()} == {torch.float64 if dtype == "float64" else torch.float32}
    merged = AutoModelForCausalLM.from_pretrained(BASE, dtype=next(model.parameters()).dtype)
    merged = peft.PeftModel.from_pretrained(merged, str(folder)).merge_and_unload().eval()
    norms = corrpo.logit_gradient_norms(model, IDS, [4, 9])
    expected = corrpo.logit_gradient_norms(merged, IDS, [4, 9])
    torch.testing.assert_close(norms, expected, rtol=1e-3, atol=0)
    assert tokenizer.encode("12") == AutoTokenizer.from_pretrained(BASE).encode("12")


def test_a_fingerprint_names_the_adapter_and_its_base(tmp_path):
    folder = adapter_folder(tmp_path / "adapter")
    model, tokenizer = corrpo.load_model(str(folder))
    samples = [{"prompt": f"{n}+1=", "response": f"the sum is {n + 1}"} for n in range(3)]
    fingerprint = corrpo.measure(model, tokenizer, samples, template="plain", name="mine")
    assert fingerprint.model["adapter"] == {
        "active": ["default"],
        "adapters": {"default": {"method": "LORA", "base": BASE}},
    }
    assert fingerprint.model["architecture"] == "Qwen2ForCausalLM"
    assert fingerprint.model["name"] == "mine"
    assert fingerprint.model["digest"] != describe_model(AutoModelForCausalLM.from_pretrained(BASE))["digest"]
    with model.disable_adapter():
        assert adapter_record(model)["active"] == []
    assert adapter_record(AutoModelForCausalLM.from_pretrained(BASE)) is None


def test_the_base_model_of_an_adapter_can_be_given(tmp_path):
    folder = adapter_folder(tmp_path / "adapter", base=str(tmp_path / "gone"))
    with pytest.raises(BadInputError, match="the base model .*gone, which does not exist; give the"):
        corrpo.load_model(str(folder))
    corrpo.load_model(str(folder), base=BASE)
    told_none = adapter_folder(tmp_path / "none", base=None)
    with pytest.raises(BadInputError, match="tells no base_model_name_or_path; give the base model"):
        corrpo.load_model(str(told_none))
    with pytest.raises(BadInputError, match="is no folder of an adapter"):
        corrpo.load_model(BASE, base=BASE)
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(BadInputError, match="adapter_config.json cannot be read"):
        corrpo.load_model(str(folder))


def test_an_adapter_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = adapter_folder(tmp_path / "adapter")
    weights = load_file(folder / "adapter_model.safetensors")
    weights.pop(next(iter(weights)))
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(BadInputError, match="does not fit the base model Qwen2.*missing adapter keys"):
        corrpo.load_model(str(folder))


@pytest.mark.parametrize("estimator", ["reference", "exact", "last", "own"])
def test_an_adapter_that_changes_no_weight_is_refused(estimator):
    model = AutoModelForCausalLM.from_pretrained(BASE)
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    adapted = peft.get_peft_model(model, config)
    with pytest.raises(UnsupportedModelError, match="'default'.*PROMPT_TUNING, which changes no weight"):
        corrpo.logit_gradient_norms(adapted, IDS, [4], estimator=estimator)


def test_whether_an_adapter_was_saved_whole(tmp_path):
    folder = adapter_folder(tmp_path / "adapter", tokenizer=True)
    assert why_incomplete(folder) is None
    weights = folder / "adapter_model.safetensors"
    assert weight_files(folder) == [weights]
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    assert why_incomplete(folder) == "adapter_model.safetensors ends too early"
    weights.unlink()
    assert "it has no weights (adapter_model.safetensors or adapter_model.bin)" in str(why_incomplete(folder))
    weights.write_bytes(content)
    (folder / "tokenizer.json").write_text("{")
    assert why_incomplete(folder) == "its tokenizer.json ends too early"
    (folder / "adapter_config.json").write_text("{")
    assert why_incomplete(folder) == "its adapter_config.json ends too early"
    gone = adapter_folder(tmp_path / "other", base=str(tmp_path / "gone"))
    assert "which does not exist" in str(why_incomplete(gone))


def test_quantization_names_the_library_it_needs(monkeypatch, no_shape_checks):
    monkeypatch.setattr(LoadOptions, "__init__", no_shape_checks(LoadOptions.__init__))
    with pytest.raises(BadInputError, match="expected one of none, 8bit, 4bit"):
        corrpo.load_model(BASE, quantization="2bit")
    monkeypatch.setattr("corrpo.errors.find_spec", lambda _name: None)
    with pytest.raises(BadInputError, match="'8bit' needs bitsandbytes.*pip install bitsandbytes"):
        corrpo.load_model(BASE, quantization="8bit")
