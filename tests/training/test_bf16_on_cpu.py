"""`bf16` of a run on a CPU: by products of matrices where it has bfloat16; a run says what it was."""

import json
from pathlib import Path

import pytest
import torch
from transformers import Qwen2Model

from corrpo.models import matrix_products
from corrpo.training import run_record
from corrpo.training.recipe import parse_recipe
from corrpo.training.run_stage import train
from corrpo.training.stages import config_class

SETTINGS = {"dataset": "lab:sums", "max_samples": 8, "max_steps": 2, "save_steps": 1, "bf16": True}
OF_STAGE = {
    "sft": {"model": "lab:qwen2/base", "per_device_train_batch_size": 4},
    "grpo": {"model": "lab:qwen2/reasoning", "rewards": "exact", "max_completion_length": 16},
}


def stage_run(stage: str, folder: Path, **changed) -> Path:
    settings = SETTINGS | OF_STAGE[stage] | {"output_dir": folder} | changed
    words = [str(word) for name, value in settings.items() for word in (f"--{name}", value)]
    return train(stage, *parse_recipe(config_class(stage), words))


def test_a_run_says_what_bf16_is_on_this_cpu(tmp_path, capsys, monkeypatch):
    for has_it, steps in ((True, 1), (False, 2)):
        monkeypatch.setattr(run_record, "has_bfloat16", lambda has_it=has_it: has_it)
        stage_run("sft", tmp_path, max_steps=steps, resume=not has_it)
        shown = capsys.readouterr().err
        assert ("bf16 changes nothing: this CPU has no bfloat16" in shown) != has_it
    assert "cpu_products was 'bfloat16', now 'float32'" in shown
    record = json.loads((tmp_path / "recipe.json").read_text())
    assert record["cpu_products"] == "float32"
    assert record["resumed"][0]["changed"]["cpu_products"] == ["bfloat16", "float32"]


@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_bf16_on_a_cpu_is_for_matrix_products_and_not_autocast(tmp_path, monkeypatch, stage):
    monkeypatch.setattr(matrix_products, "has_bfloat16", lambda: True)
    seen, forward = set(), Qwen2Model.forward

    def watched(model, *given, **named):
        seen.add((torch.get_float32_matmul_precision(), torch.is_autocast_enabled("cpu")))
        return forward(model, *given, **named)

    monkeypatch.setattr(Qwen2Model, "forward", watched)
    stage_run(stage, tmp_path)
    assert seen == {("medium", False)}
    assert torch.get_float32_matmul_precision() == "highest"
