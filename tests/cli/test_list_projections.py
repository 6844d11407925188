"""`corrpo measure MODEL --list-projections`: end to end, without weights, samples or an output folder."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma3nTextConfig,
    GPT2Config,
    GPTNeoConfig,
    LlamaConfig,
    T5Config,
)

from corrpo.cli.main import main
from corrpo.errors import BadInputError
from corrpo.models.loading import load_skeleton
from corrpo.strength.projections.listing import list_projections
from corrpo.strength.projections.mixers import find_layers
from corrpo.strength.projections.projection import Projection
from recurrent_problems import RECURRENT
from shared_models import shared_model

BY_NAME = {problem.name: problem for problem in RECURRENT}


def listing(capsys, monkeypatch, *words: str) -> str:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["measure", *map(str, words), "--list-projections"]) == 0
    return capsys.readouterr().out


def test_a_lab_model(capsys, monkeypatch):
    page = listing(capsys, monkeypatch, "lab:qwen2/base")
    rows = [line.split() for line in page.splitlines() if "_proj" in line]
    assert [row[-7:] for row in rows] == [
        ["q", "q_proj", "(Linear)", "80", "x", "80", "all"],
        ["k", "k_proj", "(Linear)", "40", "x", "80", "all"],
        ["v", "v_proj", "(Linear)", "40", "x", "80", "all"],
        ["o", "o_proj", "(Linear)", "80", "x", "80", "all"],
    ]
    assert rows[0][:2] == ["0-3", "model.layers.*.self_attn"]
    assert page.splitlines()[-1] == (
        "--projections q k v o measures layers 0-3 of the 4 that hold them; "
        "estimators that fit: exact, pruned, own, last (layer 3 alone), reference."
    )


def test_the_last_line_follows_the_options(capsys, monkeypatch):
    page = listing(capsys, monkeypatch, "lab:qwen2/base", "--layers", "0", "2", "--projections", "q", "o")
    assert page.splitlines()[-1] == (
        "--projections q o measures layers 0, 2 of the 4 that hold them; "
        "estimators that fit: exact, pruned, own, reference."
    )
    page = listing(capsys, monkeypatch, "lab:qwen2/base", "--estimator", "last")
    assert "measures layer 3 of the 4" in page.splitlines()[-1]


def test_a_hybrid_model_from_its_config_alone(tmp_path, capsys, monkeypatch):
    BY_NAME["jamba"].model().config.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    page = listing(capsys, monkeypatch, tmp_path)
    assert "0-1" in page
    assert "dt_proj (Linear)" in page
    assert page.splitlines()[-1] == (
        "--projections q k v o measures layer 0 of the 1 that hold them; "
        "estimators that fit: exact, reference."
    )
    page = listing(capsys, monkeypatch, tmp_path, "--projections", "in_proj", "out_proj")
    assert page.splitlines()[-1] == (
        "--projections in_proj out_proj measures layers 0-1 of the 2 that hold them; "
        "estimators that fit: exact, reference."
    )


@pytest.mark.parametrize("problem", RECURRENT, ids=lambda problem: problem.name)
def test_a_skeleton_lists_what_the_model_itself_does(problem, tmp_path):
    model = shared_model(problem)
    model.config.save_pretrained(tmp_path)
    skeleton = load_skeleton(str(tmp_path))
    assert all(parameter.device.type == "meta" for parameter in skeleton.parameters())
    rows = list_projections(skeleton)
    assert rows == list_projections(model)
    assert {name for kinds in problem.mixers for name in kinds} <= {row.projection for row in rows}


def test_layers_of_other_sizes_are_rows_of_their_own():
    config = LlamaConfig(hidden_size=32, num_attention_heads=4, num_hidden_layers=3, vocab_size=53)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        wider = model.model.layers[1].self_attn
        wider.q_proj, wider.k_proj, wider.v_proj = (torch.nn.Linear(32, 48) for _ in "qkv")
        wider.o_proj = torch.nn.Linear(48, 32)
    rows = [row for row in list_projections(model) if row.projection == "q"]
    assert [(row.layers, row.d_out) for row in rows] == [("0, 2", 32), ("1", 48)]


def test_layers_are_numbered_as_a_measurement_of_their_projections_numbers_them():
    config = Gemma3nTextConfig(
        vocab_size=64,
        vocab_size_per_layer_input=64,
        hidden_size=32,
        hidden_size_per_layer_input=8,
        intermediate_size=32,
        num_hidden_layers=6,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        num_kv_shared_layers=2,  # the last two hold "q" and "o" alone
        layer_types=["sliding_attention", "full_attention"] * 3,
        activation_sparsity_pattern=[0.0] * 6,
        laurel_rank=4,
        altup_num_inputs=2,
    )
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    rows = {(row.projection, row.layers) for row in list_projections(model)}
    assert {layers for name, layers in rows if name == "k"} == {"0-3"}
    assert {layers for name, layers in rows if name == "q"} == {"0-3", "4-5"}
    holders = find_layers(model, ("q", "o"))
    assert [layer.name for layer in holders[4:]] == [f"model.layers.{i}.self_attn" for i in (4, 5)]


def test_projections_that_no_layer_holds_are_refused_after_the_table(capsys):
    assert main(["measure", "lab:qwen2/base", "--list-projections", "--projections", "q", "in_proj"]) == 1
    shown = capsys.readouterr()
    assert "q_proj" in shown.out
    assert "expected distinct names out of q k v o" in shown.err


def test_bad_folders_and_models_are_refused(tmp_path, capsys):
    assert main(["measure", str(tmp_path / "missing"), "--list-projections"]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main(["measure", str(tmp_path), "--list-projections"]) == 1
    assert "holds no config.json" in capsys.readouterr().err
    (tmp_path / "config.json").write_text("{")
    assert main(["measure", str(tmp_path), "--list-projections"]) == 1
    assert "cannot load the config" in capsys.readouterr().err
    T5Config().save_pretrained(tmp_path)
    assert main(["measure", str(tmp_path), "--list-projections"]) == 1
    assert "not a causal LM" in capsys.readouterr().err


def test_a_config_that_no_model_can_be_built_from_is_refused(tmp_path):
    LlamaConfig(hidden_size=32, num_attention_heads=4, hidden_act="no-such").save_pretrained(tmp_path)
    with pytest.raises(BadInputError, match="cannot build .* from its config"):
        load_skeleton(str(tmp_path))


def test_a_measurement_still_requires_samples_and_output(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["measure", "lab:qwen2/base"])
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "--samples" in message
    assert "--output" in message
    with pytest.raises(SystemExit) as ended:
        main(["measure", "--list-projections", "--help"])
    assert ended.value.code == 0
    assert "--samples PATH" in capsys.readouterr().out


def test_a_gpt_like_model(tmp_path, capsys, monkeypatch):
    config = GPTNeoConfig(
        hidden_size=32, num_heads=4, num_layers=3, vocab_size=53, attention_types=[[["global"], 3]]
    )
    config.save_pretrained(tmp_path)
    page = listing(capsys, monkeypatch, tmp_path)
    assert "transformer.h.*.attn.attention" in page
    assert "out_proj (Linear)" in page
    assert "measures layers 0-2 of the 3" in page.splitlines()[-1]


def test_a_gpt2_model_with_one_module_for_three_maps(tmp_path, capsys, monkeypatch):
    GPT2Config(n_embd=32, n_head=4, n_layer=3, vocab_size=53).save_pretrained(tmp_path)
    page = listing(capsys, monkeypatch, tmp_path)
    assert page.count("c_attn (Conv1D)") == 3
    assert "rows 32-63 of 96" in page
    assert page.count("32 x 32") == 4


def test_shares_of_fused_modules_are_reported(monkeypatch):
    """Attention of three heads of 2, one module for all three maps, head by head or one after the other."""

    class Fused(torch.nn.Module):
        def __init__(self, by_head: bool):
            super().__init__()
            self.whole = torch.nn.Linear(6, 18)
            self.by_head = by_head

    def family(module):
        if not isinstance(module, Fused):
            return None
        parts = torch.arange(18).view(3, 3, 2).transpose(0, 1).flatten(1)
        pieces = parts if module.by_head else [slice(0, 6), slice(6, 12), slice(12, 18)]
        return {name: Projection(module.whole, piece) for name, piece in zip("qkv", pieces, strict=True)}

    monkeypatch.setattr("corrpo.strength.projections.mixers.families", lambda: (family,))
    rows = list_projections(torch.nn.Sequential(Fused(True), Fused(False)))
    assert [(row.d_out, row.d_in) for row in rows] == [(6, 6)] * 6
    assert [row.share for row in rows] == [
        *(f"blocks of 2 rows from row {start}, every 6, of 18" for start in (0, 2, 4)),
        *("rows 0-5 of 18", "rows 6-11 of 18", "rows 12-17 of 18"),
    ]
