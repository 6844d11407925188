"""Recipes: YAML with flags on top, every mistake named by file and key, and the ones that ship."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corrpo.errors import BadInputError
from corrpo.training.recipe import RecipeArguments, known_fields, parse_recipe, settings_used
from corrpo.training.stages import STAGES, config_class
from corrpo.training.yaml_values import convert_value

RECIPES = Path(__file__).parents[2] / "recipes"
ONE_MACHINE = ("gemma3-270m", "qwen2.5-0.5b", "qwen2.5-1.5b")
SHIPPED = sorted(
    path
    for path in RECIPES.glob("*/*.yaml")
    if path.parent.name != "accelerate" and not path.name.startswith("experiment")
)


@pytest.fixture
def write(tmp_path):
    """Writes a recipe of the given lines, or of the least that one needs and the given fields."""

    def write(text=None, **settings) -> str:
        path = tmp_path / "recipe.yaml"
        least = {"model": "lab:qwen2/reasoning", "dataset": "lab:sums", "output_dir": "out"}
        path.write_text(yaml.safe_dump(least | settings) if text is None else text)
        return str(path)

    return write


def parse(stage: str, *words: str):
    return parse_recipe(config_class(stage), words)


def test_a_flag_stands_over_the_file_and_the_file_over_the_default(write):
    path = write(max_steps=7, learning_rate=1e-3, rewards=["exact"], inversion_weight=0.25)
    recipe, config = parse("corrpo", "--config", path, "--max_steps", "9", "--rewards", "exact", "format")
    assert (config.max_steps, config.learning_rate, config.inversion_weight) == (9, 1e-3, 0.25)
    assert recipe.rewards == ["exact", "format"]
    assert recipe.answer_column == "answer"
    assert not recipe.resume
    assert parse("corrpo", f"--config={path}", "--resume")[0].resume


def test_without_a_gpu_the_defaults_are_the_cpu_in_full_precision_and_no_tracker(write, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    _, config = parse("grpo", "--config", write())
    assert (config.use_cpu, config.bf16, config.report_to) == (True, False, [])
    assert not config.dataloader_pin_memory
    assert parse("grpo", "--config", write(bf16=True))[1].bf16


def test_trl_model_fields_and_numbers_as_yaml_reads_them(write):
    text = "model: lab:llama/base\ndataset: lab:sums\noutput_dir: out\nlearning_rate: 1e-4\n"
    text += "use_peft: true\nlora_target_modules: [q_proj, v_proj]\nlogging_steps: 1\n"
    recipe, config = parse("sft", "--config", write(text))
    assert config.learning_rate == 1e-4
    assert recipe.lora_target_modules == ["q_proj", "v_proj"]
    assert Path(recipe.model_name_or_path or "").parts[-2:] == ("llama", "base")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_step": 3}, "recipe.yaml: there is no key max_step; did you mean max_steps?"),
        ({"inversion_gat": "all"}, "did you mean inversion_gate?"),
        ({"max_steps": "many"}, "recipe.yaml: max_steps: 'many' is not a whole number"),
        ({"max_steps": 1.5}, "1.5 is not a whole number"),
        ({"rewards": "exact"}, "'exact' is not a list (of text)"),
        ({"resume": "yes"}, "'yes' is not true or false"),
        ({"save_strategy": False}, "YAML reads a bare yes, no"),
        ({"dtype": "float31"}, "dtype: 'float31'; expected one of auto, bfloat16"),
        ({"model": "lab:qwen2/none"}, "unknown lab kind 'none'"),
        ({"model": "lab:qwen2"}, "expected lab:FAMILY/KIND"),
        ({"max_samples": 0}, "max_samples=0: expected 1 or more"),
        ({"num_generations": 7, "per_device_train_batch_size": 8}, "these settings do not go together"),
        ({"inversion_gate": "some"}, "inversion_gate='some'"),
        ({"inversion_statistic": "kendall"}, "inversion_statistic='kendall'"),
        ({"inversion_control": "swap"}, "inversion_control='swap'"),
        ({"inversion_weight": float("nan")}, "inversion_weight=nan"),
    ],
)
def test_a_mistake_in_the_file_is_reported_with_its_key(write, settings, message):
    with pytest.raises(BadInputError) as caught:
        parse("corrpo", "--config", write(**settings))
    assert message in str(caught.value)
    assert "recipe.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max_steos", "3"], "there is no flag --max_steos; did you mean --max_steps?"),
        (["--max", "3"], "there is no flag --max"),
        (["--max_steps", "x"], "invalid int value: 'x'"),
        (["--max_steps", "3", "4"], "'4' follows no flag that takes it"),
    ],
)
def test_a_mistake_in_the_flags_is_reported(write, words, message):
    with pytest.raises(BadInputError) as caught:
        parse("grpo", "--config", write(), *words)
    assert message in str(caught.value)


def test_files_that_are_no_recipe(write, tmp_path):
    for words, message in {
        ("--config", str(tmp_path / "none.yaml")): "cannot read the recipe",
        ("--config", write("a: [1")): "is not valid YAML",
        ("--config",): "expected one argument",
        ("--dataset", "lab:sums"): "--model, --output_dir must be given",
    }.items():
        with pytest.raises(BadInputError, match=message):
            parse("grpo", *words)
    with pytest.raises(BadInputError, match="holds no settings"):
        parse("grpo", "--config", write("- a\n- b\n"))


def test_the_settings_of_a_run_are_json_and_leave_resume_out(write):
    recipe, config = parse("rloo", "--config", write(hub_token="secret"), "--resume")
    settings = settings_used(recipe, config)
    assert json.loads(json.dumps(settings)) == settings
    assert settings["model"] == "lab:qwen2/reasoning"
    assert settings["inversion_weight"] == config.inversion_weight
    assert "resume" not in settings
    assert "secret" not in json.dumps(settings)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)), st.integers() | st.none())
def test_what_yaml_gives_back_is_what_was_written(numbers, count):
    text = yaml.safe_dump({"weights": numbers, "count": count})
    read = yaml.safe_load(text)
    assert convert_value(read["weights"], list[float]) == numbers
    assert convert_value(read["count"], int | None) == count


def test_no_field_of_a_stage_is_called_like_another_of_ours():
    own = {name for name in RecipeArguments.__annotations__ if name != "model_name_or_path"}
    for stage in STAGES:
        assert not own & set(config_class(stage).__dataclass_fields__)
        assert own <= set(known_fields(config_class(stage)))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_recipe_begins_with_its_launch_command_and_parses(path, monkeypatch):
    monkeypatch.setattr("transformers.training_args.is_torch_bf16_gpu_available", lambda: True)
    monkeypatch.setattr("transformers.training_args.is_torch_xpu_available", lambda *_: False)
    lines = path.read_text().splitlines()
    here = path.relative_to(RECIPES.parent).as_posix()
    stage = next(stage for stage in STAGES if f"train {stage} --config {here}" in lines[0])
    if path.parent.name in ("lab", *ONE_MACHINE):
        assert lines[0] == f"# corrpo train {stage} --config {here}"
    else:
        for line, sharding in zip(lines, ("fsdp2", "zero3"), strict=False):
            launch = f"accelerate launch --config_file recipes/accelerate/{sharding}.yaml -m corrpo.cli.main"
            assert line == f"# {launch} train {stage} --config {here}"
    recipe, config = parse(stage, "--config", str(path))
    assert config.output_dir == f"out/{path.parent.name}/{path.stem}"
    assert config.save_steps > 0
    assert recipe.model.startswith("lab:") == (path.parent.name == "lab")


def test_corrpo_differs_from_its_baseline_in_the_inversion_alone():
    for folder in ("lab", *ONE_MACHINE, "qwen2.5-7b", "llama-3.1-8b"):
        with_inversion, baseline = (
            yaml.safe_load((RECIPES / folder / f"{stage}.yaml").read_text()) for stage in ("corrpo", "grpo")
        )
        differing = {key for key in with_inversion if with_inversion[key] != baseline.get(key)}
        assert {key for key in differing if not key.startswith("inversion_")} == {"output_dir"}
        assert set(baseline) <= set(with_inversion)


@pytest.mark.parametrize(("name", "kind"), [("fsdp2", "FSDP"), ("zero3", "DEEPSPEED")])
def test_accelerate_reads_the_launch_configurations(name, kind):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    config = load_config_from_file(str(RECIPES / "accelerate" / f"{name}.yaml"))
    assert config.distributed_type.value == kind
    assert config.num_processes == 8
    known = vars(launch_command_parser().parse_args(["script.py"]))
    given = {**config.fsdp_config, **config.deepspeed_config}
    unknown = [key for key in given if key not in known and f"deepspeed_{key}" not in known]
    assert not unknown
