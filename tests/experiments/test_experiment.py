"""`corrpo experiment` end to end: the small recipe, refusals, and runs that are killed at any moment."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from commands import ROOT
from corrpo.cli.main import main
from corrpo.experiments.launched_training import processes_on_one_node
from corrpo.experiments.preregistration import sha256_of

SMALL = ROOT / "recipes" / "lab" / "experiment_small.yaml"
LATEST = 8.0
"""Seconds after which a killed experiment is killed at the latest."""


def command(output, processes="1", recipe=SMALL):
    return ["experiment", str(recipe), "--output", str(output), "--processes", processes, "--device", "cpu"]


def runs_accuracy(results):
    """The mean over runs, in percent, with a decimal."""
    return f"{100 * results['correct'].sum() / results['generations'].sum():.1f}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    output = tmp_path_factory.mktemp("experiment") / "finished"
    assert main(command(output)) == 0
    return output


@pytest.mark.slow
def test_the_small_recipe_gives_tables_a_verdict_and_a_page(finished, capsys):
    results, runs = pl.read_parquet(finished / "results.parquet"), pl.read_parquet(finished / "runs.parquet")
    assert results.height == (1 + 2 * 2) * 12
    assert set(results["generations"]) == {2}
    assert runs.select("arm", "seed").rows() == [
        ("before", None),
        *((arm, seed) for seed in (0, 1) for arm in ("grpo", "corrpo")),
    ]
    assert runs["rho"].is_finite().all()
    registered = json.loads((finished / "preregistration.json").read_text())
    digest = registered["sha256"]
    assert digest == sha256_of(registered["plan"])
    assert set(results["preregistration"]) == set(runs["preregistration"]) == {digest}
    verdict = json.loads((finished / "verdict.json").read_text())
    page = (finished / "report.html").read_text()
    assert verdict["preregistration"] == digest
    assert digest in page
    assert verdict["verdict"]["sentence"] in page
    assert "<script" not in page
    assert page.count("<svg") == 3
    text = (finished / "report.md").read_text()
    assert verdict["verdict"]["sentence"] in text
    assert digest in text
    links = set(re.findall(r"\]\(([^)]+)\)", text))
    assert {"preregistration.json", "results.parquet", "figures/arms.svg"} <= links
    assert all((finished / link).is_file() for link in links)
    accuracy = runs_accuracy(results.filter(pl.col("arm") == "corrpo"))
    assert f"| qwen2 | corrpo | {accuracy} |" in text, "two seeds give no interval"
    assert not list(finished.glob("runs/*/*/*/training/checkpoint-*"))


@pytest.mark.slow
def test_what_is_finished_is_not_done_again(finished, capsys):
    def written():
        return {path: path.stat().st_mtime_ns for path in finished.glob("runs/**/*") if path.is_file()}

    before = written()
    assert main(command(finished)) == 0
    assert {path: at for path, at in written().items() if path.name != ".lock"} == {
        path: at for path, at in before.items() if path.name != ".lock"
    }


@pytest.mark.slow
def test_a_checkpoint_that_a_killed_run_has_left_goes(finished):
    left = [
        finished / "runs" / "qwen2" / "grpo" / "seed-0" / "training" / name
        for name in ("checkpoint-2", "half-written-1.1")
    ]
    for folder in left:
        folder.mkdir()
    assert main(command(finished)) == 0
    assert not any(folder.exists() for folder in left)


@pytest.mark.slow
def test_arms_that_are_evaluated_while_they_train_are_compared_at_equal_cost(tmp_path):
    content = yaml.safe_load(SMALL.read_text())
    content["training"] |= {"eval_strategy": "steps", "eval_steps": 1}
    content["training"] |= {"eval_split": "validation", "max_eval_samples": 4}
    recipe, output = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(yaml.safe_dump(content))
    assert main(command(output, recipe=recipe)) == 0
    costs = pl.read_parquet(output / "costs.parquet").drop_nulls("accuracy")
    assert set(costs.select("arm", "seed", "step").rows()) == {
        (arm, seed, step) for arm in ("grpo", "corrpo") for seed in (0, 1) for step in (1, 2)
    }
    matched = json.loads((output / "verdict.json").read_text())["matched"]
    assert [(row["arm"], row["measure"]) for row in matched][:1] == [("corrpo", "generated_tokens")]
    assert (output / "figures" / "costs.svg").exists()


@pytest.mark.slow
def test_another_recipe_an_edited_plan_and_torchrun_are_refused(finished, tmp_path, capsys, monkeypatch):
    recipe = tmp_path / "other.yaml"
    recipe.write_text(SMALL.read_text().replace("max_steps: 2", "max_steps: 3"))
    assert main(command(finished, recipe=recipe)) == 1
    stderr = capsys.readouterr().err
    assert "registered otherwise" in stderr
    assert "arms.grpo.settings.max_steps was 2, now 3" in stderr
    edited = tmp_path / "edited"
    edited.mkdir()
    text = (finished / "preregistration.json").read_text()
    (edited / "preregistration.json").write_text(text.replace('"max_steps": 2', '"max_steps": 4'))
    assert main(command(edited)) == 1
    assert "was changed since it was written" in capsys.readouterr().err
    plan = json.loads((edited / "preregistration.json").read_text())
    del plan["checksum"]
    (edited / "preregistration.json").write_text(json.dumps(plan))
    assert main(command(edited)) == 1
    assert "was edited" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(command(tmp_path / "ranks")) == 1
    assert "run it without torchrun" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_fails_is_reported_and_gives_no_verdict(tmp_path, capsys):
    content = yaml.safe_load(SMALL.read_text())
    content["arms"] = {"grpo": None, "corrpo": {"inversion_layers": [99]}}
    content["seeds"] = [0]
    recipe, output = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(yaml.safe_dump(content))
    assert main(command(output, recipe=recipe)) == 1
    stderr = capsys.readouterr().err
    assert "1 of 3 runs failed, and there is no verdict without them" in stderr
    assert "qwen2 corrpo seed 0: " in stderr
    assert (output / "runs" / "qwen2" / "grpo" / "seed-0" / "run.json").exists()
    assert not (output / "verdict.json").exists()


@pytest.mark.slow
def test_a_launcher_trains_each_run_in_several_processes_here_and_on_a_cluster(tmp_path, capsys, ray_nodes):
    content = yaml.safe_load(SMALL.read_text())
    content["arms"] = {"grpo": None, "corrpo": None}
    content["seeds"] = [0]
    content["analysis"] = {"controls": []}
    recipe, output = tmp_path / "recipe.yaml", tmp_path / "out"
    recipe.write_text(yaml.safe_dump(content))
    words = ["experiment", str(recipe), "--output", str(output), "--device", "cpu", "--launcher"]
    launcher = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2"
    assert main([*words, launcher, "--processes", "2"]) == 1
    assert "one run at a time" in capsys.readouterr().err
    assert main([*words, "no-such-launcher"]) == 1
    assert "cannot start no-such-launcher" in capsys.readouterr().err
    assert main([*words, launcher]) == 1
    assert "launcher was 'no-such-launcher', now" in capsys.readouterr().err
    shutil.rmtree(output)
    assert main([*words, launcher]) == 0
    folder = output / "runs" / "qwen2" / "corrpo" / "seed-0"
    assert json.loads((folder / "training" / "recipe.json").read_text())["processes"] == 2
    assert "corrpo 2/2" in (folder / "training.log").read_text()
    assert json.loads((output / "preregistration.json").read_text())["plan"]["launcher"] == launcher
    words[words.index(str(output))] = str(tmp_path / "there")
    with ray_nodes.joined(num_cpus=2):
        assert main([*words, launcher, "--cluster", ray_nodes.address]) == 0
    assert_alike(tmp_path / "there", output)


def test_what_a_launcher_says_of_its_processes(tmp_path, capsys):
    for words, processes in (
        ("torchrun --nproc-per-node 8", 8),
        ("python -m torch.distributed.run --nnodes=1 --nproc_per_node=2", 2),
        ("accelerate launch --num_machines 1 --num_processes 4", 4),
        ("torchrun --nproc-per-node auto", None),
        ("accelerate launch --config_file fsdp2.yaml", None),
        ("torchrun --nproc-per-node", None),
    ):
        assert processes_on_one_node(words.split()) == processes
    words = ["experiment", str(SMALL), "--output", str(tmp_path / "out"), "--cluster", "auto", "--launcher"]
    assert main([*words, "torchrun --nnodes 1:2 --nproc-per-node 2"]) == 1
    assert "it is for 1:2 nodes, and a run has one of the cluster; give --nproc" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def kill_and_go_on(finished, output, kills, processes):
    """Kill the experiment `kills` times at random moments, let it end, and compare it with `whole`."""
    moments = random.Random(0)
    words = [sys.executable, "-m", "corrpo.cli.main", *command(output, processes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for _ in range(kills):
        process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        try:
            process.wait(moments.uniform(3.0, LATEST))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        time.sleep(0.1)
    subprocess.run(words, check=True, capture_output=True, env=environment)
    assert_alike(output, finished)


def what_does_not_depend_on_time(folder):
    """Results, runs and verdict of an experiment, without the seconds that its training took."""
    results, runs = (pl.read_parquet(folder / name) for name in ("results.parquet", "runs.parquet"))
    verdict = json.loads((folder / "verdict.json").read_text())
    del verdict["checksum"]
    for arm in verdict["costs"]:
        del arm["seconds"]
    return results.to_dicts(), runs.drop("seconds").to_dicts(), verdict


def assert_alike(output, finished):
    """The same results, verdict and final models."""
    assert what_does_not_depend_on_time(output) == what_does_not_depend_on_time(finished)
    for path in finished.glob("runs/*/*/*/training/final"):
        one, other = (
            AutoModelForCausalLM.from_pretrained(place).state_dict()
            for place in (path, output / path.relative_to(finished))
        )
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_an_experiment_that_was_killed_ends_like_an_undisturbed_one(finished, tmp_path):
    kill_and_go_on(finished, tmp_path / "killed", kills=2, processes="1")


@pytest.mark.nightly
def test_an_experiment_that_was_killed_ten_times_ends_like_an_undisturbed_one(finished, tmp_path):
    kill_and_go_on(finished, tmp_path / "killed", kills=10, processes="2")


@pytest.mark.slow
def test_an_experiment_on_a_cluster_whose_nodes_are_killed_ends_like_one_here(finished, tmp_path, ray_nodes):
    words = ["experiment", str(SMALL), "--output", str(tmp_path), "--device", "cpu"]
    with ray_nodes.killed_after([1, 3], random.Random(1)):
        assert main([*words, "--cluster", ray_nodes.address]) == 0
    assert_alike(tmp_path, finished)
    here, there = (
        {path.relative_to(folder) for path in folder.rglob("*") if path.name[0] != "."}
        for folder in (finished, tmp_path)
    )
    assert here == there
