"""The scripts of recipes: their shell, their commands and the files they name."""

import re
import subprocess

import pytest
import yaml

from commands import ROOT, check_command, shown_commands

SCRIPTS = sorted((ROOT / "recipes").glob("*/*.sh"))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_the_shell_and_every_command_can_be_read(script):
    subprocess.run(["bash", "-n", str(script)], check=True)
    for words in shown_commands(script):
        check_command(words)


@pytest.mark.parametrize("script", SCRIPTS, ids=name_of)
def test_the_files_that_a_script_names_exist(script):
    text = script.read_text()
    folders = [script.parent]
    if "stage " in text:
        folders = [ROOT / "recipes" / name for name in ("qwen2.5-7b", "llama-3.1-8b")]
    for name in set(re.findall(r"[\w-]+\.yaml", text)) - {"zero3.yaml"}:
        found = [folder for folder in folders if (folder / name).exists()]
        assert found, f"{script} names {name}"
        for folder in found:
            assert "output_dir" in yaml.safe_load((folder / name).read_text())
    assert (ROOT / "recipes" / "accelerate" / "zero3.yaml").exists()


def test_every_script_of_the_paper_says_what_it_costs_and_is_listed():
    listed = (ROOT / "recipes" / "paper" / "README.md").read_text()
    for script in (path for path in SCRIPTS if path.parent.name == "paper" and path.stem != "common"):
        head = script.read_text().partition("source ")[0]
        assert "Expected cost" in head
        assert f"bash recipes/paper/{script.name} OUT" in head
        assert f"[{script.name}]({script.name})" in listed


def test_a_script_without_a_folder_says_so():
    for script in SCRIPTS:
        if script.stem != "common":
            done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
            assert done.returncode != 0
            assert "give a folder for the results" in done.stderr
