"""One model over several devices: accelerate's hooks are passed through, and offloaded weights are refused.

Here all places are the CPU, and hooks move everything; `test_spread_model` tries two devices.
"""

import pytest
import torch
from accelerate import cpu_offload, dispatch_model
from transformers import AutoModelForCausalLM

import corrpo
from corrpo.cli.main import main
from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.lab import checkpoint
from corrpo.models import loading
from corrpo.models.load_options import LoadOptions
from corrpo.models.loading import load_model, untrained_model

IDS = torch.tensor([3, 14, 15, 9, 26, 5, 7, 8])
LAB = str(checkpoint("qwen2", "base"))
LAYERS = {f"model.layers.{number}": "cpu" for number in range(4)}
PLACES = {
    "model.embed_tokens": "cpu",
    **LAYERS,
    "model.norm": "cpu",
    "model.rotary_emb": "cpu",
    "lm_head": "cpu",
}


def fresh():
    return AutoModelForCausalLM.from_pretrained(LAB).eval()


@pytest.mark.parametrize("estimator", ["reference", "exact", "pruned", "last", "own"])
def test_a_dispatched_model_gives_the_norms_of_a_plain_one(estimator):
    dispatched = dispatch_model(fresh(), PLACES, force_hooks=True)
    assert hasattr(dispatched.model.layers[0], "_hf_hook")
    spread = corrpo.logit_gradient_norms(dispatched, IDS, [3, 5, 7], estimator=estimator)
    plain = corrpo.logit_gradient_norms(fresh(), IDS, [3, 5, 7], estimator=estimator)
    kept = estimator == "pruned"  # what a linear map wrote is taken again for it, but not behind a hook
    torch.testing.assert_close(spread, plain, rtol=1e-5 if kept else 0, atol=0)


def test_offloaded_weights_are_refused(tmp_path, lab_tokenizer):
    away = cpu_offload(fresh(), execution_device=torch.device("cpu"))
    partly = dispatch_model(
        fresh(), PLACES | {"model.layers.2": "disk"}, main_device="cpu", offload_dir=str(tmp_path)
    )
    for model, count in ((away, ""), (partly, "12 weights of Qwen2ForCausalLM .first: model.layers.2")):
        with pytest.raises(UnsupportedModelError, match=f"{count}.*are offloaded to the CPU or the disk"):
            corrpo.logit_gradient_norms(model, IDS, [3])
        with pytest.raises(UnsupportedModelError, match="--device cpu"):
            corrpo.measure(model, lab_tokenizer, [{"prompt": "a"}])


def test_device_map_is_passed_on_and_checked(tmp_path, capsys, monkeypatch, no_shape_checks):
    monkeypatch.setattr(LoadOptions, "__init__", no_shape_checks(LoadOptions.__init__))
    model, tokenizer = load_model(LAB, device_map="auto")
    plain, _ = load_model(LAB)
    samples = [{"prompt": "The dog ", "response": "walked to the river."}]
    options = {"estimator": "own", "resamples": 0, "permutations": 0, "untrained": True}
    spread, expected = (corrpo.measure(one, tokenizer, samples, **options) for one in (model, plain))
    assert spread.tokens.equals(expected.tokens)
    assert spread.model == expected.model
    with pytest.raises(BadInputError, match="device_map 'half' is unknown; expected one of auto"):
        load_model(LAB, device_map="half")
    track = ["track", "lab:qwen2/base", "--samples", "lab:base", "--output", str(tmp_path / "out")]
    assert main([*track, "--processes", "2", "--device-map", "auto"]) == 1
    assert "there are 2 processes: give it to one" in capsys.readouterr().err


def test_the_untrained_control_is_spread_alike(monkeypatch):
    monkeypatch.setattr(loading, "is_spread", lambda model: hasattr(model, "hf_device_map"))
    model = fresh()
    model.hf_device_map = PLACES | {"lm_head": torch.device("cpu")}
    control = untrained_model(model, 0)
    assert control.hf_device_map == model.hf_device_map
    assert torch.equal(control.lm_head.weight, untrained_model(fresh(), 0).lm_head.weight)
