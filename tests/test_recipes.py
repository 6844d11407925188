"""The scripts of recipes: their shell, their commands, and what they say of themselves."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from commands import ROOT, check_command, given_commands
from corrpo.experiments.recipe_reader import read_experiment
from corrpo.lab import FAMILIES
from corrpo.samples import load_samples

SCRIPTS = sorted((ROOT / "recipes").glob("*/*.sh"))
WHOLE = [path for path in SCRIPTS if path.stem not in ("common", "models")]
PAPER = [path for path in WHOLE if path.parent.name == "paper"]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_the_shell_can_be_read(script):
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.parametrize("script", WHOLE, ids=name_of)
def test_every_command_that_a_script_gives_can_be_read(script, tmp_path):
    commands = given_commands(script, tmp_path)
    verbs = set()
    for program, *given in commands:
        words = given
        if program == "accelerate":
            launch, option, config, module, name, *words = given
            assert (launch, option, module, name) == ("launch", "--config_file", "-m", "corrpo.cli.main")
            assert "num_processes" in yaml.safe_load(Path(config).read_text())
        if program != "python":
            check_command(words)
            verbs.add(words[0])
    ends = (["corrpo", "report"], ["corrpo", "diagnose"], ["corrpo", "experiment"])
    assert commands[-1][:2] in ends or commands[-1][1].startswith("benchmarks/")
    work = {
        "measure",
        "compare",
        "convert",
        "track",
        "train",
        "evaluate",
        "report",
        "lab",
        "merge",
        "diagnose",
    }
    assert verbs <= work | {"experiment"}


def test_the_diagnosis_makes_and_measures_every_regime_of_every_family(tmp_path):
    commands = given_commands(ROOT / "recipes" / "lab" / "diagnosis.sh", tmp_path)
    families = ("qwen2", "llama", "mamba2")
    regimes = ("base", "sft", "dpo", "grpo", "distilled", "merged")
    labels = [word.partition("=")[0] for word in commands[-1] if "=" in word]
    assert labels == [f"{family}/{regime}" for family in families for regime in regimes]
    verbs = [verb for _, verb, *_ in commands]
    assert [verbs.count(verb) for verb in ("merge", "measure", "train")] == [3, 18, 9]
    for family in families:
        evaluated = next(words for words in commands if f"{tmp_path}/out/evaluated/{family}" in words)
        assert [word.partition("=")[0] for word in evaluated if "=" in word] == list(regimes)


def test_the_study_trains_the_models_that_its_experiments_name(tmp_path):
    commands = [words for _, *words in given_commands(ROOT / "recipes" / "lab" / "study.sh", tmp_path)]
    built = {
        f"{words[words.index('--output') + 1]}/checkpoints/{family}/reasoning"
        for words in commands
        if words[:2] == ["lab", "build"]
        for family in (words[words.index("--family") + 1 :] if "--family" in words else FAMILIES)
    }
    recipes = {
        Path(words[words.index("--output") + 1]).name: read_experiment(words[1])
        for words in commands
        if words[0] == "experiment"
    }
    named = {model for recipe in recipes.values() for model in recipe.models.values()}
    assert named == built | {f"lab:{family}/reasoning" for family in FAMILIES}
    suites = {name: recipe.suite for name, recipe in recipes.items()}
    assert suites == {
        "main": "lab:sums",
        "sizes": "lab:sums",
        "reworded-sums": "lab:reworded-sums",
        "sorting": "lab:sorting",
        "no-verifier": "lab:sums",
    }
    main, sizes = (recipes[name].as_dict() for name in ("main", "sizes"))
    for part in ("seeds", "evaluation", "fingerprint"):
        assert sizes[part] == main[part]
    # the same arms, so that qwen2 of main is the third size
    assert sizes["arms"] == {arm: main["arms"][arm] for arm in sizes["arms"]}


def test_the_curves_of_gemma_train_what_its_experiment_starts_from(tmp_path):
    commands = [
        words for _, *words in given_commands(ROOT / "recipes" / "gemma3-270m" / "curves.sh", tmp_path)
    ]
    made = {words[words.index("--output_dir") + 1] for words in commands if words[0] == "train"}
    made |= {words[words.index("--output") + 1] for words in commands if words[0].endswith("make_traces.py")}
    experiment = ROOT / "recipes" / "gemma3-270m" / "experiment.yaml"
    recipe, training = read_experiment(experiment), yaml.safe_load(experiment.read_text())["training"]
    out = f"{tmp_path}/out"
    assert {f"out/gemma3-270m{path.removeprefix(out)}/final" for path in made} >= set(recipe.models.values())
    named = {Path(training["dataset"]).parent, Path(recipe.suite).parent}
    assert {f"{out}/{path.name}" for path in named} <= made
    assert [arm.name for arm in recipe.arms] == ["grpo", "corrpo", "shuffle", "negate"]
    assert recipe.analysis.controls == ["shuffle", "negate"]
    followed = next(words for words in commands if words[0] == "track")
    steps = [word.partition("=")[0] for word in followed if ":" in word and "=" in word]
    assert steps == [*(f"sft:{step}" for step in (25, 50, 100, 150, 200)), "rl:30", "rl:60"]


def test_the_curves_are_not_gone_on_with_by_another_recipe(tmp_path):
    script = ROOT / "recipes" / "gemma3-270m" / "curves.sh"
    for _ in range(2):
        assert given_commands(script, tmp_path)
    record = tmp_path / "out" / "made-from.txt"
    record.write_text(record.read_text().replace("sft.yaml", "another.yaml"))
    done = subprocess.run(
        ["bash", str(script), str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "another.yaml" in done.stderr
    assert "was begun with other recipes or traces" in done.stderr


def test_a_command_that_corrpo_does_not_know_is_found_out():
    for words, message in (
        (["trace", "lab:qwen2/base"], "no verb 'trace'"),
        (["measure", "lab:qwen2/base", "--samples", "a", "--output", "b", "--token", "4"], "cannot be read"),
        (["train", "ppo"], "no stage 'ppo'"),
        (["train", "grpo", "--config", str(ROOT / "recipes/lab/grpo.yaml"), "--max_step", "4"], "max_steps"),
        (["train", "grpo", "--config", "missing.yaml"], "missing.yaml"),
    ):
        with pytest.raises(AssertionError, match=message):
            check_command(words)


def test_prompts_are_the_first_problems_of_a_suite_with_their_answers(tmp_path):
    bash = '. "$0" "$1" && prompts lab:sums'
    common = ROOT / "recipes" / "paper" / "common.sh"
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
    subprocess.run(["bash", "-c", bash, str(common), str(tmp_path)], check=True, env=environment)
    samples = load_samples(tmp_path / "lab:sums.jsonl")
    assert len(samples) == 200
    assert all(sample.answer and sample.response is None for sample in samples)


@pytest.mark.parametrize("script", PAPER, ids=name_of)
def test_a_script_of_the_paper_says_what_it_costs_and_is_listed(script):
    listed = (ROOT / "recipes" / "paper" / "README.md").read_text()
    head = script.read_text().partition("source ")[0]
    assert "Expected cost" in head
    assert f"bash recipes/paper/{script.name} OUT" in head
    assert f"[{script.name}]({script.name})" in listed


@pytest.mark.parametrize("script", WHOLE, ids=name_of)
def test_a_script_without_a_folder_says_so(script):
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "give a folder for the results" in done.stderr


def test_what_the_curves_lack_is_named_before_anything_is_written(tmp_path):
    script = ROOT / "recipes" / "gemma3-270m" / "publish.py"
    words = [sys.executable, str(script), str(tmp_path / "out"), str(tmp_path / "page")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "report/figures/figure4.svg" in done.stderr
    assert f"let `bash recipes/gemma3-270m/curves.sh {tmp_path / 'out'}` come to its end" in done.stderr
    assert not (tmp_path / "page").exists()
