"""`corrpo track` as a user meets it: twenty checkpoints, stopped in every way, and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file, save_file

from corrpo.cli.main import main
from corrpo.measurement.trajectory import Trajectory
from measurement.runs import lab_copy, noisy_run, samples_file

QUICK = ["--estimator", "own", "--resamples", "50", "--permutations", "0"]
COUNT = 20


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return noisy_run(tmp_path_factory.mktemp("twenty") / "sft", range(1, COUNT + 1))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return samples_file(tmp_path_factory.mktemp("samples") / "samples.jsonl")


def command(words: list[str], samples: Path, output: Path, *more: str) -> list[str]:
    return ["track", *words, "--samples", str(samples), "--output", str(output), *QUICK, *more]


def start(words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "corrpo.cli.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finished(output: Path) -> dict[str, int]:
    """When each finished fingerprint was written."""
    paths = output.glob("sft/*/fingerprint.json")
    return {path.parent.name: path.stat().st_mtime_ns for path in paths}


def wait_for(output: Path, count: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while len(finished(output)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def results(output: Path) -> list[tuple]:
    return [(p.checkpoint, p.model_digest, p.statistics) for p in Trajectory.load(output).points]


def stop(process: subprocess.Popen, how: signal.Signals) -> str:
    """Send a signal, and see that the command ends with all of its processes; its standard error."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    stderr = process.communicate(timeout=60)[1]
    assert not psutil.wait_procs(children, timeout=30)[1]
    return stderr


@pytest.mark.slow
def test_stopped_twice_nothing_is_lost_and_nothing_is_measured_twice(run, samples, tmp_path, capsys):
    output = tmp_path / "out"
    words = command([str(run)], samples, output)

    process = start([*words, "--processes", "2"])
    wait_for(output, 3, process)
    stderr = stop(process, signal.SIGINT)
    assert process.returncode == 130
    assert "what is done is kept" in stderr
    assert "Traceback" not in stderr
    interrupted = finished(output)
    assert 3 <= len(interrupted) < COUNT
    recorded = {point["key"] for point in json.loads((output / "track.json").read_text())["points"]}
    assert recorded <= {f"sft/{name}" for name in interrupted}

    process = start([*words, "--processes", "2"])
    wait_for(output, len(interrupted) + 3, process)
    stop(process, signal.SIGKILL)
    killed = finished(output)
    assert interrupted.items() <= killed.items()
    assert len(killed) < COUNT

    assert main([*words, "--processes", "1"]) == 0
    assert " checkpoints are measured already" in capsys.readouterr().err
    assert killed.items() <= finished(output).items()
    assert [point.checkpoint.step for point in Trajectory.load(output).points] == list(range(1, COUNT + 1))

    assert main(command([str(run)], samples, tmp_path / "undisturbed", "--processes", "1")) == 0
    assert results(output) == results(tmp_path / "undisturbed")


@pytest.mark.slow
def test_ctrl_c_in_a_single_process_keeps_what_is_done(run, samples, tmp_path):
    output = tmp_path / "out"
    process = start(command([str(run)], samples, output, "--processes", "1"))
    wait_for(output, 2, process)
    stderr = stop(process, signal.SIGINT)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert len(Trajectory.load(output).points) >= 1


def test_the_table_and_the_paths_are_printed(run, samples, tmp_path, capsys):
    output = tmp_path / "out"
    sources = [f"long [b]CoT={run / 'checkpoint-1'}", f"grpo:5={run / 'checkpoint-2'}"]
    assert main(command(sources, samples, output, "--start", "lab:qwen2/base", "--processes", "1")) == 0
    printed = capsys.readouterr()
    assert "checkpoint 2 of 3, long [b]CoT step 1: rho " in printed.err
    lines = printed.out.splitlines()
    assert lines[0].split()[:3] == ["stage", "step", "rho"]
    assert [line.split("  ")[0] for line in lines[1:4]] == ["long [b]CoT", "long [b]CoT", "grpo"]
    rho = Trajectory.load(output).points[-1].spearman
    assert f"{rho.value:.2f}".replace("-", "−") in lines[3]
    assert f"[{rho.low:.2f}, {rho.high:.2f}]".replace("-", "−") in lines[3]
    assert "rests on 3 samples" in printed.out
    written = [
        "track.json",
        "trajectory.parquet",
        "report.html",
        "figures/figure3.svg",
        "figures/figure3.pdf",
    ]
    assert [str(output / name) for name in written] == lines[-6:-1]


@pytest.mark.slow
def test_a_checkpoint_that_fails_is_named_at_the_end(run, samples, tmp_path, capsys):
    broken = lab_copy(tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    nan = {name: value * float("nan") for name, value in weights.items()}
    save_file(nan, broken / "model.safetensors", {"format": "pt"})
    words = [f"a={broken}", f"b={run / 'checkpoint-1'}"]
    assert main(command(words, samples, tmp_path / "out", "--processes", "2")) == 1
    printed = capsys.readouterr()
    assert "1 of 2 checkpoints could not be measured" in printed.err
    assert str(broken) in printed.err
    assert [p.checkpoint.key for p in Trajectory.load(tmp_path / "out").points] == ["b/step-000001"]


def test_a_half_written_folder_is_reported_and_mistakes_have_no_traceback(run, samples, tmp_path, capsys):
    half = lab_copy(tmp_path / "run/checkpoint-3")
    (half / "model.safetensors").write_bytes((half / "model.safetensors").read_bytes()[:1000])
    lab_copy(tmp_path / "run/checkpoint-2")
    assert main(command([str(tmp_path / "run")], samples, tmp_path / "out", "--processes", "1")) == 0
    assert f"skipped {half}: model.safetensors ends too early" in capsys.readouterr().err
    assert main(command([str(tmp_path / "none")], samples, tmp_path / "other")) == 1
    assert "does not exist" in capsys.readouterr().err
    assert main(command([], samples, tmp_path / "other")) == 1
    assert "no checkpoints were named" in capsys.readouterr().err


def test_why_the_one_model_cannot_be_read_is_told_once(tmp_path, samples, capsys):
    model = tmp_path / "text.gguf"
    model.write_text("hello, this is no model at all\n" * 9)
    assert main(command([str(model)], samples, tmp_path / "out")) == 1
    assert capsys.readouterr().err.count("is no GGUF file") == 1
