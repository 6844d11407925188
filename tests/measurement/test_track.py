"""track from Python: what it writes, what it measures again, what it refuses, and what it leaves out."""

import json
import os
import shutil

import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from corrpo import Fingerprint
from corrpo.errors import BadInputError, CorrpoError, OutputFolderError
from corrpo.jobs.files import write_json
from corrpo.jobs.folder_lock import locked_folder
from corrpo.measurement.checkpoint_measurement import measure_checkpoint
from corrpo.measurement.fingerprint import STATISTICS
from corrpo.measurement.track import track
from corrpo.measurement.trajectory import Trajectory, check_same_measurement, is_trajectory
from measurement.runs import QUICK, lab_copy, noisy_run, placeholder, samples_file


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A run of three checkpoints; to be copied, not changed."""
    return noisy_run(tmp_path_factory.mktemp("runs") / "sft", range(10, 40, 10))


@pytest.fixture
def run(original, tmp_path):
    return shutil.copytree(original, tmp_path / "sft")


@pytest.fixture
def samples(tmp_path):
    return samples_file(tmp_path / "samples.jsonl")


def tracked(words, samples, output, **options):
    return track([str(word) for word in words], samples, output=output, processes=1, **{**QUICK, **options})


def times(output):
    return {path: path.stat().st_mtime_ns for path in output.glob("**/fingerprint.json")}


def change_weights(folder, by=0.01):
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value + by for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )


def test_what_is_written_is_what_is_loaded(run, samples, tmp_path):
    output = tmp_path / "out"
    result = tracked([run], samples, output, start="lab:qwen2/base")
    assert result.failed == ()
    trajectory = Trajectory.load(output)
    assert trajectory == result.trajectory
    assert is_trajectory(output)
    assert trajectory.stages == [("sft", 0, 30)]
    assert [point.checkpoint.key for point in trajectory.points][:2] == ["sft/step-000000", "sft/step-000010"]
    table = pl.read_parquet(output / "trajectory.parquet")
    assert table.equals(trajectory.table())
    assert table.height == 4 * (len(STATISTICS) + 1)  # and the baseline
    for point in trajectory.points:
        fingerprint = Fingerprint.load(point.folder)
        assert point.statistics == fingerprint.statistics
        assert point.baseline == fingerprint.baseline
        assert point.cut == fingerprint.cut_share == 0
        assert point.model_digest == fingerprint.model["digest"]
        measured = fingerprint.tokens.drop_nulls("strength")
        assert point.mean_strength == pytest.approx(measured["strength"].mean())
        assert point.mean_entropy_bits == pytest.approx(measured["entropy_bits"].mean())
        assert point.mean_response_tokens == pytest.approx(fingerprint.responses["response_tokens"].mean())
        row = table.row(
            by_predicate=(pl.col("key") == point.checkpoint.key) & (pl.col("statistic") == "spearman"),
            named=True,
        )
        assert (row["value"], row["low"]) == (point.spearman.value, point.spearman.low)
        assert output / row["folder"] == point.folder
    record = json.loads((output / "track.json").read_text())
    assert record["schema_version"] == 1
    assert record["points"][0]["source"] == "lab:qwen2/base"


def test_finished_checkpoints_are_not_loaded_again_and_new_ones_join(run, samples, tmp_path, monkeypatch):
    output = tmp_path / "out"
    later = (run / "checkpoint-30").rename(tmp_path / "later")
    tracked([run], samples, output)
    before = times(output)
    later.rename(run / "checkpoint-30")
    seen = []
    monkeypatch.setattr(
        "corrpo.measurement.track.measure_checkpoint",
        lambda job: (seen.append(job.checkpoint.step), measure_checkpoint(job))[1],
    )
    result = tracked([run], samples, output)
    assert seen == [30]
    assert [point.checkpoint.step for point in result.trajectory.points] == [10, 20, 30]
    assert before.items() <= times(output).items()
    tracked([run], samples, output)
    assert seen == [30]


def test_a_checkpoint_that_its_trainer_deleted_since_stays(run, samples, tmp_path):
    output = tmp_path / "out"
    first = tracked([run], samples, output).trajectory
    shutil.rmtree(run / "checkpoint-10")
    second = tracked([run], samples, output).trajectory
    assert second.points == first.points
    assert Trajectory.load(output).points == first.points


def test_a_half_written_checkpoint_is_skipped_and_measured_later(run, samples, tmp_path):
    output = tmp_path / "out"
    config = run / "checkpoint-20/config.json"
    text = config.read_text()
    config.unlink()
    trajectory = tracked([run], samples, output).trajectory
    assert [point.checkpoint.step for point in trajectory.points] == [10, 30]
    assert [skip.reason for skip in Trajectory.load(output).skipped] == ["it has no config.json"]
    config.write_text(text)
    trajectory = tracked([run], samples, output).trajectory
    assert [point.checkpoint.step for point in trajectory.points] == [10, 20, 30]
    assert trajectory.skipped == ()


def test_changed_weights_are_refused_and_the_other_checkpoints_stand(run, samples, tmp_path):
    output = tmp_path / "out"
    tracked([run], samples, output)
    before = times(output)
    change_weights(run / "checkpoint-20")
    result = tracked([run], samples, output)
    assert [point.checkpoint.step for point in result.trajectory.points] == [10, 30]
    (failed,) = result.failed
    assert "its weights are not those that" in failed.reason
    assert "remove that folder to measure it again" in failed.reason
    assert times(output) == before
    shutil.rmtree(output / "sft/step-000020")
    assert tracked([run], samples, output).failed == ()


def test_files_touched_but_not_changed_are_the_same_checkpoint(run, samples, tmp_path):
    output = tmp_path / "out"
    tracked([run], samples, output)
    before = times(output)
    os.utime(run / "checkpoint-20/model.safetensors")
    assert tracked([run], samples, output).failed == ()
    assert times(output) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "frobenius"}, "settings.norm was 'nuclear', now 'frobenius'"),
        ({"estimator": "last"}, "settings.estimator was 'own', now 'last'"),
        ({"dtype": "float64"}, "dtype was 'auto', now 'float64'"),
    ],
)
def test_other_settings_are_refused(run, samples, tmp_path, change, message):
    output = tmp_path / "out"
    tracked([run / "checkpoint-10"], samples, output)
    before = (output / "track.json").read_bytes()
    with pytest.raises(OutputFolderError, match=message):
        tracked([run / "checkpoint-10"], samples, output, **change)
    assert (output / "track.json").read_bytes() == before


def test_other_samples_are_refused(run, samples, tmp_path):
    output = tmp_path / "out"
    tracked([run / "checkpoint-10"], samples, output)
    samples_file(samples, ("1 + 1 = 2", "2 + 2 = 4"))
    with pytest.raises(OutputFolderError, match=r"samples\.digest was '[0-9a-f]+', now"):
        tracked([run / "checkpoint-10"], samples, output)


def test_what_a_killed_process_was_writing_is_removed(run, samples, tmp_path):
    leftover = tmp_path / "out/sft/step-000010/.tokens.parquet.123.tmp"
    tracked([run / "checkpoint-10"], samples, tmp_path / "out")
    leftover.write_text("half")
    tracked([run / "checkpoint-10"], samples, tmp_path / "out")
    assert not leftover.exists()


def test_a_folder_of_other_files_and_one_in_use_are_refused(run, samples, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("")
    with pytest.raises(OutputFolderError, match=r"not of corrpo track .thesis\.tex"):
        tracked([run], samples, tmp_path / "mine")
    with (
        locked_folder(tmp_path / "out"),
        pytest.raises(OutputFolderError, match="another process is writing there"),
    ):
        tracked([run], samples, tmp_path / "out")


def test_a_checkpoint_of_nan_does_not_lose_the_others(run, samples, tmp_path):
    output = tmp_path / "out"
    change_weights(run / "checkpoint-20", by=float("nan"))
    result = tracked([run], samples, output)
    assert [point.checkpoint.step for point in result.trajectory.points] == [10, 30]
    assert result.failed[0].source == str(run / "checkpoint-20")
    (failed,) = json.loads((output / "track.json").read_text())["failed"]
    assert failed["key"] == "sft/step-000020"
    assert failed["reason"] == result.failed[0].reason


def test_when_nothing_can_be_measured_the_first_reason_is_reported(samples, tmp_path):
    placeholder(tmp_path / "run/checkpoint-1")
    with pytest.raises(CorrpoError, match="no checkpoint could be measured.*checkpoint-1: cannot load"):
        tracked([tmp_path / "run"], samples, tmp_path / "out")
    with pytest.raises(BadInputError, match="holds no finished checkpoint"):
        Trajectory.load(tmp_path / "out")


def test_mistakes_are_reported_before_anything_is_written(run, samples, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(BadInputError, match="track has no option 'estimater'"):
        tracked([run], samples, output, estimater="own")
    with pytest.raises(BadInputError, match="processes=0"):
        track([str(run)], samples, output=output, processes=0, **QUICK)
    with pytest.raises(BadInputError, match="cannot read samples from"):
        tracked([run], tmp_path / "none.jsonl", output)
    assert not output.exists()


def test_two_models_that_are_no_steps_of_a_run(samples, tmp_path):
    trajectory = tracked(["lab:qwen2/base", "lab:qwen2/reasoning"], samples, tmp_path / "out").trajectory
    assert [(point.checkpoint.key, point.checkpoint.global_step) for point in trajectory.points] == [
        ("base", None),
        ("reasoning", None),
    ]
    assert trajectory.stages == []
    assert trajectory.table()["step"].null_count() == 2 * (len(STATISTICS) + 1)


def test_trajectories_measured_differently_are_not_set_beside_one_another(run, samples, tmp_path):
    word = run / "checkpoint-10"
    one = tracked([word], samples, tmp_path / "one").trajectory
    same = tracked([run / "checkpoint-20"], samples, tmp_path / "same").trajectory
    check_same_measurement([])
    check_same_measurement([one, same])
    every_layer = range(one.points[0].layer_count)
    listed = tracked([word], samples, tmp_path / "listed", layers=every_layer).trajectory
    check_same_measurement([one, listed])
    other = tracked([word], samples, tmp_path / "other", estimator="last", norm="frobenius").trajectory
    with pytest.raises(
        BadInputError, match="estimator 'own' and 'last'; norm 'nuclear' and 'frobenius'; layers"
    ):
        check_same_measurement([one, same, other])
    samples_file(samples, ("1 + 1 = 2", "2 + 2 = 4"))
    others = tracked([word], samples, tmp_path / "others").trajectory
    with pytest.raises(BadInputError, match=r"samples 'samples' \(digest [0-9a-f]{8}\) and 'samples'"):
        check_same_measurement([one, others])


def test_the_folder_of_a_callback_is_a_trajectory(run, samples, tmp_path):
    output = tmp_path / "out"
    tracked([run], samples, output)
    callback = (output / "sft").rename(tmp_path / "watched")
    (callback / "earlier-1").mkdir()
    assert is_trajectory(callback)
    trajectory = Trajectory.load(callback, "qwen2/watched")
    assert trajectory.label == "qwen2/watched"
    assert trajectory.stages == [("watched", 10, 30)]
    assert [point.folder.name for point in trajectory.points] == ["step-000010", "step-000020", "step-000030"]
    assert trajectory.settings["estimator"] == "own"
    check_same_measurement([trajectory, trajectory])
    path = callback / "step-000020/fingerprint.json"
    summary = json.loads(path.read_text())
    summary["settings"]["norm"] = "spectral"
    write_json(path, summary)
    with pytest.raises(BadInputError, match="norm was 'nuclear', now 'spectral'"):
        Trajectory.load(callback)


def test_folders_that_are_no_trajectory_are_reported(tmp_path):
    assert not is_trajectory(tmp_path)
    assert not is_trajectory(tmp_path / "none")
    with pytest.raises(BadInputError, match=r"holds neither track\.json nor folders like step-000050"):
        Trajectory.load(tmp_path)
    (tmp_path / "track.json").write_text('{"schema_version": 99}')
    with pytest.raises(BadInputError, match="schema version 99; this corrpo reads 1"):
        Trajectory.load(tmp_path)


def test_half_precision_can_be_measured_in_float32(samples, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = lab_copy(tmp_path / "half")
    AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(folder)
    trajectory = tracked([folder], samples, tmp_path / "out", device="cpu", dtype="float32").trajectory
    assert Fingerprint.load(trajectory.points[0].folder).model["dtype"] == "float32"
