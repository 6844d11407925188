"""Merged models: the mean of weights, with a record; what cannot be averaged is refused by name."""

import json
import math

import pytest
import torch

import corrpo
from corrpo.cli.main import main
from corrpo.errors import BadInputError, OutputFolderError
from corrpo.lab import checkpoint
from corrpo.training.merging import merge

ONE, OTHER = "lab:qwen2/base", "lab:qwen2/reasoning"


def state(folder):
    return corrpo.load_model(str(folder))[0].state_dict()


def test_a_merged_model_holds_the_weighted_mean_and_says_of_what(tmp_path):
    merged = state(merge([ONE, OTHER], tmp_path / "merged", weights=[0.25, 0.75]))
    one, other = (state(checkpoint("qwen2", kind)) for kind in ("base", "reasoning"))
    for name, value in merged.items():
        torch.testing.assert_close(value, 0.25 * one[name] + 0.75 * other[name], rtol=1e-6, atol=1e-7)
    record = json.loads((tmp_path / "merged" / "merge.json").read_text())
    assert [(model["model"], model["weight"]) for model in record["models"]] == [(ONE, 0.25), (OTHER, 0.75)]
    assert len({model["digest"] for model in record["models"]}) == 2


def test_a_model_merged_with_itself_stays_bit_for_bit_what_it_was(tmp_path):
    merged = state(merge([ONE, ONE], tmp_path / "merged"))
    assert all(torch.equal(value, merged[name]) for name, value in state(checkpoint("qwen2", "base")).items())


def test_the_command_merges_and_prints_the_folder(tmp_path, capsys):
    assert main(["merge", ONE, OTHER, "--output", str(tmp_path / "merged")]) == 0
    assert str(tmp_path / "merged") in capsys.readouterr().out
    assert main(["merge", ONE, OTHER, "--output", str(tmp_path / "merged")]) == 1
    assert "merged holds something" in capsys.readouterr().err


def test_what_cannot_be_averaged_is_refused_and_leaves_nothing(tmp_path):
    wider, _ = corrpo.load_model(str(checkpoint("qwen2", "base")))
    wider.resize_token_embeddings(len(wider.get_input_embeddings().weight) + 3)
    wider.save_pretrained(tmp_path / "wider")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "wider" / name).write_bytes((checkpoint("qwen2", "base") / name).read_bytes())
    for models, weights, message in (
        ([ONE], None, "1 models to merge"),
        ([ONE, OTHER], [0.5, 0.6], "sum to 1"),
        ([ONE, OTHER], [math.nan, math.nan], "sum to 1"),
        ([ONE, OTHER], [math.inf, -math.inf], "sum to 1"),
        ([ONE, OTHER], [1.0], "expected 2"),
        ([ONE, "lab:llama/base"], None, "Qwen2ForCausalLM and lab:llama/base a LlamaForCausalLM"),
        ([ONE, str(tmp_path / "wider")], None, r"lm_head.weight is float32 \[\d+, 80\] in lab:qwen2/base"),
    ):
        with pytest.raises(BadInputError, match=message):
            merge(models, tmp_path / "merged", weights=weights)
    assert [path.name for path in tmp_path.iterdir()] == ["wider"]
    with pytest.raises(OutputFolderError, match="wider holds something"):
        merge([ONE, OTHER], tmp_path / "wider")
