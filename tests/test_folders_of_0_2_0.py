"""Folders that corrpo 0.2.0 wrote: read, and resumed or refused with the reason; their numbers stay.

A folder records the versions it was made with. Under other versions it is refused, with their names; the
tests then go on with a copy that records today's.
"""

import json
import platform
import re
import shutil
from functools import partial
from importlib.metadata import version
from pathlib import Path

import polars as pl
import pytest
from datasets import Dataset
from polars.testing import assert_frame_equal
from transformers import Trainer, TrainingArguments

from corrpo import Fingerprint, FingerprintCallback, measure
from corrpo.cli.main import main
from corrpo.errors import OutputFolderError
from corrpo.evaluation.results import evaluations_table, load_evaluations
from corrpo.experiments.preregistration import sha256_of
from corrpo.measurement.fingerprint import STATISTICS
from corrpo.measurement.trajectory import Trajectory
from corrpo.monitor import Calibration

KEPT = Path(__file__).parent / "data" / "folders_of_0_2_0"
SAMPLES = KEPT / "samples.jsonl"
QUICK = {"template": "plain", "resamples": 20, "permutations": 20, "max_new_tokens": 12, "max_tokens": 10}
QUICK_WORDS = [word for name, value in QUICK.items() for word in (f"--{name.replace('_', '-')}", str(value))]
NAME = "lab:qwen2/base"


@pytest.fixture
def kept(tmp_path):
    """A copy of all of them, to go on with."""
    return Path(shutil.copytree(KEPT, tmp_path / "kept"))


def content(path):
    return json.loads(path.read_text(encoding="utf-8"))


def with_todays_versions(record):
    """A JSON value in which every record of versions holds those of today."""
    if not isinstance(record, dict):
        return record
    record = {name: with_todays_versions(value) for name, value in record.items()}
    if "versions" in record:
        record["versions"] = {
            name: platform.python_version() if name == "python" else version(name)
            for name in record["versions"]
        }
    return record


def is_of_other_versions(folder):
    records = [content(path) for path in folder.rglob("*.json")]
    return any(with_todays_versions(record) != record for record in records)


def bring_up_to_date(folder):
    """Record today's versions in a folder; and today's hash of its plan, if it is an experiment's."""
    for path in folder.rglob("*.json"):
        path.write_text(json.dumps(with_todays_versions(content(path))), encoding="utf-8")
    if (folder / "preregistration.json").exists():
        registered = content(folder / "preregistration.json")
        for path in folder.rglob("*.json"):
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(registered["sha256"], sha256_of(registered["plan"])), "utf-8")


def resume(words, folder, capsys):
    """Go on in a folder by a command of today, once a refusal of other versions has been checked."""
    if is_of_other_versions(folder):
        assert main(words) == 1
        assert re.search(r"versions\.\w+ was '", capsys.readouterr().err)
        bring_up_to_date(folder)
    assert main(words) == 0, capsys.readouterr().err


def correlations(fingerprint):
    return {name: fingerprint.statistics[name].as_dict() for name in STATISTICS}


def test_a_fingerprint_is_read(kept, lab_model, lab_tokenizer):
    written = content(kept / "fingerprint" / "fingerprint.json")
    fingerprint = Fingerprint.load(kept / "fingerprint")
    assert correlations(fingerprint) == written["statistics"]
    assert fingerprint.untrained is not None
    assert fingerprint.settings == written["settings"]
    assert fingerprint.tokens["strength"].mean() == pytest.approx(
        pl.read_parquet(kept / "fingerprint" / "tokens.parquet")["strength"].mean()
    )
    assert "lab:qwen2/base on samples" in str(fingerprint)
    bring_up_to_date(kept / "fingerprint")
    again = measure(
        lab_model, lab_tokenizer, SAMPLES, output=kept / "fingerprint", name=NAME, untrained=True, **QUICK
    )
    assert again == Fingerprint.load(kept / "fingerprint")
    assert correlations(again) == written["statistics"]


def test_a_measurement_that_was_stopped_goes_on(kept, lab_model, lab_tokenizer):
    folder = kept / "unfinished"
    parts = {path.name: pl.read_parquet(path) for path in (folder / "parts").glob("tokens-*")}
    assert len(parts) == 2
    go_on = partial(measure, lab_model, lab_tokenizer, SAMPLES, output=folder, name=NAME, **QUICK)
    if is_of_other_versions(folder):
        with pytest.raises(OutputFolderError, match=r"versions\.\w+ was '"):
            go_on()
        bring_up_to_date(folder)
    done = go_on()
    first = pl.concat([parts[name] for name in sorted(parts)])
    assert_frame_equal(done.tokens[: first.height].select(first.columns), first)
    assert done.tokens["logits_gradient"].null_count() == first.height  # which 0.2 did not write
    complete = Fingerprint.load(kept / "fingerprint")
    assert_frame_equal(done.tokens.select(first.columns), complete.tokens, rel_tol=1e-4, abs_tol=1e-5)
    assert done.spearman.value == pytest.approx(complete.spearman.value, abs=1e-6)
    with pytest.raises(OutputFolderError, match="seed was 0, now 1"):
        go_on(seed=1)


def test_the_output_of_track_is_read_and_resumed(kept, capsys):
    before = pl.read_parquet(kept / "track" / "trajectory.parquet")
    assert_frame_equal(Trajectory.load(kept / "track").table(), before)
    words = ["track", "sft:100=lab:qwen2/base", "sft:200=lab:qwen2/reasoning", "--samples", str(SAMPLES)]
    words += ["--estimator", "own", *QUICK_WORDS, "--processes", "1", "--device", "cpu"]
    resume([*words, "--output", str(kept / "track")], kept / "track", capsys)
    assert_frame_equal(pl.read_parquet(kept / "track" / "trajectory.parquet"), before)
    assert main([*words, "--output", str(kept / "track"), "--seed", "1"]) == 1
    assert "seed was 0, now 1" in capsys.readouterr().err


def test_the_output_of_a_callback_is_read_and_resumed(kept, lab_model, lab_tokenizer, tmp_path):
    trajectory = Trajectory.load(kept / "callback")
    assert [point.checkpoint.global_step for point in trajectory.points] == [0, 2]
    for point in trajectory.points:
        written = content(point.folder / "fingerprint.json")["statistics"]
        assert point.spearman.as_dict() == written["spearman"]
    ids = lab_tokenizer("The dog walked home. ").input_ids
    trainer = Trainer(
        lab_model,
        TrainingArguments(str(tmp_path / "out"), use_cpu=True, bf16=False, report_to="none"),
        train_dataset=Dataset.from_list([{"input_ids": ids, "labels": ids}]),
        processing_class=lab_tokenizer,
    )
    options = {**QUICK, "every": 2, "output": kept / "callback"}
    FingerprintCallback(trainer, SAMPLES, estimator="own", **options)
    with pytest.raises(OutputFolderError, match="estimator was 'own', now 'last'"):
        FingerprintCallback(trainer, SAMPLES, estimator="last", **options)


def test_an_evaluation_is_read_and_resumed(kept, capsys):
    folder = kept / "evaluation"
    before = pl.read_parquet(folder / "evaluations.parquet")
    (evaluation,) = load_evaluations(folder)
    assert_frame_equal(evaluations_table([evaluation]), before)
    words = ["evaluate", "sft:200=lab:qwen2/reasoning", "--suite", "lab:sums", "--problems", "4", "--n", "2"]
    words += ["--max-new-tokens", "48", "--device", "cpu", "--output", str(folder)]
    resume(words, folder, capsys)
    assert_frame_equal(pl.read_parquet(folder / "evaluations.parquet"), before)
    assert load_evaluations(folder)[0].generations.equals(evaluation.generations)


def test_an_experiment_is_resumed(kept, capsys):
    folder = kept / "experiment"
    before, runs = pl.read_parquet(folder / "results.parquet"), pl.read_parquet(folder / "runs.parquet")
    verdict = content(folder / "verdict.json")["verdict"]
    words = ["experiment", str(KEPT / "recipe.yaml"), "--output", str(folder), "--processes", "1"]
    words += ["--device", "cpu"]
    resume(words, folder, capsys)
    for table, name in ((before, "results.parquet"), (runs, "runs.parquet")):
        after = pl.read_parquet(folder / name).select(table.columns)
        assert_frame_equal(after.drop("preregistration"), table.drop("preregistration"))
    assert content(folder / "verdict.json")["verdict"] == verdict
    words[1] = str(kept / "other.yaml")
    Path(words[1]).write_text((KEPT / "recipe.yaml").read_text().replace("n: 2", "n: 3"))
    assert main(words) == 1
    assert "evaluation.n was 2, now 3" in capsys.readouterr().err


def test_a_calibration_is_used_and_refused_for_another_model(kept, capsys):
    written, path = content(kept / "calibration.json"), kept / "calibration.json"
    calibration = Calibration.load(path)
    assert (calibration.whole, calibration.running) == (written["whole"], written["running"])
    generations = kept / "generations.jsonl"
    generations.write_text(
        json.dumps({"prompt": "What is 10 + 10?", "response": "<answer>20</answer>"}) + "\n"
    )
    words = ["--calibration", str(path), "--generations", str(generations), "--device", "cpu", "--output"]
    assert main(["monitor", NAME, *words, str(kept / "judged.jsonl")]) == 0
    assert main(["monitor", "lab:qwen2/reasoning", *words, str(kept / "other.jsonl")]) == 1
    assert "so calibrate this one" in capsys.readouterr().err


def test_a_training_run_goes_on_or_is_refused(kept, capsys):
    """Without the weights of its only checkpoint it begins anew, and gives the same numbers."""
    folder = kept / "training"
    (logged,) = content(folder / "checkpoint-1" / "trainer_state.json")["log_history"]
    settings = content(folder / "recipe.json")["settings"]
    names = ["dataset", "rewards", "max_samples", "max_steps", "save_steps", "per_device_train_batch_size"]
    names += ["num_generations", "max_completion_length", "learning_rate", "gradient_checkpointing"]
    names += ["logging_steps", "inversion_estimator", "bf16", "use_cpu"]
    words = ["--model", "lab:qwen2/reasoning", "--output_dir", str(folder), "--report_to", "none"]
    for name in names:
        value = settings[name]
        words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    assert main(["train", "corrpo", *words]) == 1
    assert "holds a run (checkpoint-1): add --resume" in capsys.readouterr().err
    without = [
        word for word in words if word not in ("--inversion_estimator", settings["inversion_estimator"])
    ]
    assert main(["train", "grpo", *without, "--resume"]) == 1
    assert "holds a run of corrpo, which grpo cannot resume" in capsys.readouterr().err
    assert main(["train", "corrpo", *words, "--resume"]) == 0
    said = capsys.readouterr().err
    assert "holds no whole checkpoint: starting from the beginning" in said
    assert "inversion_fit_tokens stays 0, the reward that this run was begun with" in said
    assert content(folder / "recipe.json")["settings"]["inversion_fit_tokens"] == 0
    (resumed,) = content(folder / "recipe.json")["resumed"]
    assert set(resumed["changed"]) <= {
        "model_name_or_path",
        "output_dir",
        "logging_dir",
        "inversion_fit_tokens",
    }
    (again, *_) = content(folder / "checkpoint-1" / "trainer_state.json")["log_history"]
    compared = [name for name in logged if name.startswith(("completions/", "rewards/", "inversion/"))]
    compared.remove("inversion/seconds")
    for name in compared:
        assert again[name] == pytest.approx(logged[name], abs=1e-5), name
