"""Which checkpoints a command line names: runs, models, hub names, half-written folders, and mistakes."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from corrpo.errors import BadInputError
from corrpo.lab import checkpoint
from corrpo.models.checkpoints import Checkpoint, find_checkpoints, in_order
from corrpo.models.saved_model import file_stamps, why_incomplete
from measurement.runs import lab_copy, placeholder


def keys(words: list[str], start: str | None = None) -> list[str]:
    checkpoints, skipped = find_checkpoints(words, start=start)
    assert not skipped
    return [checkpoint.key for checkpoint in checkpoints]


def test_the_run_of_corrpo_train_knows_its_stage_and_the_step_of_its_final_model(tmp_path):
    run = tmp_path / "out"
    for name in ("checkpoint-200", "checkpoint-1000", "final"):
        placeholder(run / name)
    (run / "recipe.json").write_text(json.dumps({"stage": "sft", "settings": {"max_steps": 1100}}))
    assert keys([str(run)]) == ["sft/step-000200", "sft/step-001000", "sft/step-001100"]
    assert keys([f"long={run}"])[0] == "long/step-000200"
    assert keys([str(run / "final")]) == ["sft/step-001100"]


def test_final_is_left_out_where_a_whole_checkpoint_is_of_its_step(tmp_path):
    run = tmp_path / "grpo"
    placeholder(run / "checkpoint-50")
    last = placeholder(run / "checkpoint-100")
    placeholder(run / "final")
    (last / "trainer_state.json").write_text('{"global_step": 100, "max_steps": 100}')
    checkpoints, _ = find_checkpoints([str(run)])
    assert [Path(checkpoint.source).name for checkpoint in checkpoints] == ["checkpoint-50", "checkpoint-100"]
    (last / "config.json").unlink()
    checkpoints, skipped = find_checkpoints([str(run)])
    assert [Path(checkpoint.source).name for checkpoint in checkpoints] == ["checkpoint-50", "final"]
    assert [skip.reason for skip in skipped] == ["it has no config.json"]


def test_a_trainer_that_saves_its_last_model_in_the_run_folder(tmp_path):
    run = placeholder(tmp_path / "run")
    placeholder(run / "checkpoint-10")
    checkpoints, skipped = find_checkpoints([str(run)])
    assert [checkpoint.step for checkpoint in checkpoints] == [10]
    assert "its step is not known; give it as run:STEP=" in skipped[0].reason
    (run / "trainer_state.json").write_text('{"global_step": 15}')
    assert keys([str(run)]) == ["run/step-000010", "run/step-000015"]


def test_stages_count_on_from_one_another_and_start_is_step_0(tmp_path):
    for name in ("sft/checkpoint-100", "sft/checkpoint-600", "rl/step-10", "rl/step-60"):
        placeholder(tmp_path / name)
    checkpoints, _ = find_checkpoints([str(tmp_path / "sft"), str(tmp_path / "rl")], start="lab:qwen2/base")
    assert [(checkpoint.stage, checkpoint.step, checkpoint.global_step) for checkpoint in checkpoints] == [
        ("sft", 0, 0),
        ("sft", 100, 100),
        ("sft", 600, 600),
        ("rl", 10, 610),
        ("rl", 60, 660),
    ]
    assert checkpoints[0].name == "lab:qwen2/base"


@pytest.mark.parametrize(
    ("word", "key", "source", "revision"),
    [
        ("Qwen/Qwen2.5-7B", "Qwen2.5-7B", "Qwen/Qwen2.5-7B", None),
        ("gpt2", "gpt2", "gpt2", None),
        ("org/m@main", "m", "org/m", "main"),
        ("org/m@step1000", "m/step-001000", "org/m", "step1000"),
        ("org/m@step-1000", "m/step-001000", "org/m", "step-1000"),
        ("rl=org/m@global_step_500", "rl/step-000500", "org/m", "global_step_500"),
        ("org/m@stage1-step200-tokens1B", "m/step-000200", "org/m", "stage1-step200-tokens1B"),
        ("org/m@footstep7", "m", "org/m", "footstep7"),
        ("sft:40=org/m@abc", "sft/step-000040", "org/m", "abc"),
        ("a b/c=org/m", "a-b-c", "org/m", None),
    ],
)
def test_names_on_the_hub(word, key, source, revision):
    ((checkpoint,), _) = find_checkpoints([word])
    assert (checkpoint.key, checkpoint.source, checkpoint.revision) == (key, source, revision)
    assert checkpoint.name == (source if revision is None else f"{source}@{revision}")


def test_models_of_the_lab_go_by_their_name_wherever_their_folder_is():
    ((base,), _) = find_checkpoints(["base=lab:qwen2/base"])
    assert base.source == str(checkpoint("qwen2", "base"))
    assert base.as_dict()["source"] == base.name == "lab:qwen2/base"
    assert Checkpoint.from_dict(base.as_dict()) == base


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 10**7)), min_size=1, unique=True))
def test_order_and_steps_since_the_beginning(named):
    checkpoints, _ = find_checkpoints([f"{stage}:{step}=org/model" for stage, step in named])
    assert {(checkpoint.stage, checkpoint.step) for checkpoint in checkpoints} == set(named)
    assert len({checkpoint.key for checkpoint in checkpoints}) == len(checkpoints)
    steps = [checkpoint.global_step for checkpoint in checkpoints]
    assert steps == sorted(steps)
    assert in_order(checkpoints) == checkpoints
    assert list(dict.fromkeys(checkpoint.stage for checkpoint in checkpoints)) == list(
        dict.fromkeys(stage for stage, _ in named)
    )


@given(st.text(min_size=1).filter(lambda s: s.strip() and not set(s) & {"=", ":", "\0"}))
def test_the_folder_of_any_stage_is_one_plain_name(stage):
    key = Checkpoint(stage, None, None, "model").key
    assert key
    assert Path(key).name == key
    assert not key.startswith(".")


def half_written(full: Path) -> dict[str, tuple[str, ...]]:
    """Ways to break a folder: file to write, its content or None to remove it, and a part of the reason."""
    weights = (full / "model.safetensors").read_bytes()
    return {
        "no config": ("config.json", None, "no config.json"),
        "half a config": ("config.json", b'{"model_ty', "config.json ends too early"),
        "no weights": ("model.safetensors", None, "no weights"),
        "half a header": ("model.safetensors", weights[:20], "model.safetensors ends too early"),
        "empty weights": ("model.safetensors", b"", "model.safetensors ends too early"),
        "half the weights": ("model.safetensors", weights[: len(weights) // 2], "ends too early"),
        "one byte short": ("model.safetensors", weights[:-1], "ends too early"),
        "no tokenizer": ("tokenizer.json", None, "no tokenizer"),
        "half a tokenizer": ("tokenizer.json", b'{"version": "1', "tokenizer.json ends too early"),
    }  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize(
    "how",
    [
        "no config",
        "half a config",
        "no weights",
        "half a header",
        "empty weights",
        "half the weights",
        "one byte short",
        "no tokenizer",
        "half a tokenizer",
    ],
)
def test_a_half_written_checkpoint_is_skipped_and_picked_up_when_it_is_whole(tmp_path, how):
    placeholder(tmp_path / "run/checkpoint-1")
    folder = placeholder(tmp_path / "run/checkpoint-2")
    name, content, reason = half_written(folder)[how]
    full = (folder / name).read_bytes()
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    checkpoints, skipped = find_checkpoints([str(tmp_path / "run")])
    assert [checkpoint.step for checkpoint in checkpoints] == [1]
    assert [skip.source for skip in skipped] == [str(folder)]
    assert reason in skipped[0].reason
    (folder / name).write_bytes(full)
    assert keys([str(tmp_path / "run")]) == ["run/step-000001", "run/step-000002"]


def test_shards_are_all_there_and_whole(tmp_path):
    folder = placeholder(tmp_path / "checkpoint-1")
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").unlink()
    (folder / names[0]).write_bytes(weights)
    assert why_incomplete(folder) == "its weights are in shards without an index"
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": names[0], "b": names[1], "c": names[1]}}))
    assert why_incomplete(folder) == f"{names[1]} is missing"
    (folder / names[1]).write_bytes(weights[:-1])
    assert why_incomplete(folder) == f"{names[1]} ends too early"
    (folder / names[1]).write_bytes(weights)
    assert why_incomplete(folder) is None
    assert [name for name, *_ in file_stamps(folder)][:2] == names
    index.write_text('{"weight_map": {"a"')
    assert "names no shards" in str(why_incomplete(folder))


def test_weights_of_torch_that_end_too_early(tmp_path):
    folder = placeholder(tmp_path / "checkpoint-1")
    (folder / "model.safetensors").unlink()
    path = folder / "pytorch_model.bin"
    torch.save({"weight": torch.zeros(1000)}, path)
    assert why_incomplete(folder) is None
    path.write_bytes(path.read_bytes()[:-100])
    assert why_incomplete(folder) == "pytorch_model.bin ends too early"


def test_a_saved_model_is_whole():
    assert why_incomplete(checkpoint("llama", "safety")) is None


@pytest.mark.parametrize(
    "name", ["tmp-checkpoint-30", "checkpoint-30.tmp", ".checkpoint-30.tmp", "step-30.partial"]
)
def test_a_name_that_says_it_is_being_written(tmp_path, name):
    placeholder(tmp_path / "run/checkpoint-20")
    placeholder(tmp_path / "run" / name)
    checkpoints, skipped = find_checkpoints([str(tmp_path / "run")])
    assert [checkpoint.step for checkpoint in checkpoints] == [20]
    assert [skip.reason for skip in skipped] == ["its name says that it is still being written"]


def test_half_an_adapter_is_skipped_and_the_merged_final_model_is_not(tmp_path):
    adapter = tmp_path / "run/checkpoint-5"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    placeholder(tmp_path / "run/final")
    (tmp_path / "run/recipe.json").write_text('{"stage": "grpo", "settings": {"max_steps": 5}}')
    checkpoints, skipped = find_checkpoints([str(tmp_path / "run")])
    assert [checkpoint.key for checkpoint in checkpoints] == ["grpo/step-000005"]
    assert "tells no base_model_name_or_path" in skipped[0].reason


def test_a_run_that_has_not_saved_anything_yet(tmp_path):
    placeholder(tmp_path / "sft/checkpoint-5")
    (tmp_path / "grpo").mkdir()
    (tmp_path / "grpo/recipe.json").write_text('{"stage": "grpo"}')
    checkpoints, skipped = find_checkpoints(
        [str(tmp_path / "sft"), str(tmp_path / "grpo")], start="lab:qwen2/base"
    )
    assert [checkpoint.key for checkpoint in checkpoints] == ["sft/step-000000", "sft/step-000005"]
    assert [skip.reason for skip in skipped] == ["the run has saved no checkpoint yet"]
    with pytest.raises(BadInputError, match="no checkpoint to measure yet.*grpo: the run has saved no"):
        find_checkpoints([str(tmp_path / "grpo")])


def test_a_start_keeps_its_key_before_and_after_the_first_checkpoint_is_whole(tmp_path):
    folder = placeholder(tmp_path / "sft/checkpoint-5")
    config = (folder / "config.json").read_bytes()
    (folder / "config.json").unlink()
    checkpoints, _ = find_checkpoints([str(tmp_path / "sft")], start="lab:qwen2/base")
    assert [checkpoint.key for checkpoint in checkpoints] == ["sft/step-000000"]
    (folder / "config.json").write_bytes(config)
    assert keys([str(tmp_path / "sft")], start="lab:qwen2/base") == ["sft/step-000000", "sft/step-000005"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no checkpoints were named"),
        ([""], "is not"),
        (["=org/m"], "is not"),
        (["sft="], "is not"),
        (["sft:x=org/m"], "the step 'x' is not a whole number"),
        (["sft:-1=org/m"], "the step '-1' is not a whole number"),
        (["./nowhere"], "the folder ./nowhere does not exist"),
        (["a/b/c"], "the folder a/b/c does not exist"),
        (["org/m@"], "does not exist, and it is no name on the hub"),
        (["lab:qwen2/clever"], "unknown lab kind 'clever'"),
        (["m=org/a", "m=org/b"], "org/a has no step, and is one of 2 models of the stage 'm'"),
        (["m=org/a", "m:5=org/b"], "write it as m:STEP=org/a"),
        (["m:5=org/a", "m:5=org/b"], "org/a and org/b are both step 5 of the stage 'm'"),
        (["a b=org/a", "a-b=org/b"], "'a b' and 'a-b' would share a folder"),
    ],
)
def test_mistakes_are_reported(words, message):
    with pytest.raises(BadInputError, match=message):
        find_checkpoints(words)


def test_mistakes_about_folders_are_reported(tmp_path):
    run = tmp_path / "run"
    placeholder(run / "checkpoint-5")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for words, start, message in [
        ([f"sft:7={run}"], None, "which knows its steps"),
        ([str(tmp_path / "empty")], None, "neither a model nor checkpoints .it holds nothing"),
        ([str(tmp_path / "file")], None, "is a file"),
        ([str(run), str(run)], None, "write STAGE="),
        ([f"a={run}", f"a={run}"], None, "both step 5"),
        ([str(run)], str(run), "the folder of a run; name one model"),
        ([f"a={run / 'checkpoint-5'}", "a=org/m"], None, "org/m has no step"),
    ]:
        with pytest.raises(BadInputError, match=message):
            find_checkpoints(words, start=start)


def test_a_folder_with_an_equals_sign_in_its_name_is_a_folder(tmp_path, monkeypatch):
    lab_copy(tmp_path / "lr=1e-5")
    monkeypatch.chdir(tmp_path)
    assert keys(["lr=1e-5"]) == ["lr-1e-5"]
    assert keys(["slow=lr=1e-5"]) == ["slow"]


def test_the_old_name_of_the_global_step_gives_the_new_one():
    with pytest.raises(AttributeError, match="called global_step"):
        _ = Checkpoint("sft", 1, 1, "folder").at
