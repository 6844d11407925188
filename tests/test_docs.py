"""The documentation builds without a warning, covers what is public, and shows commands that exist."""

import os
import re
import subprocess
import sys

import pytest

import corrpo
from commands import ROOT, check_command, shown_commands
from corrpo.cli.main import VERBS

PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
    ROOT / "recipes" / "paper" / "README.md",
]


def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    page = (tmp_path / "api" / "measure" / "index.html").read_text()
    assert "Raises" in page
    assert "BadInputError" in page


def test_every_public_name_is_in_the_api():
    pages = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    documented = {name.rpartition(".")[2] for name in re.findall(r"^::: (\S+)", pages, re.MULTILINE)}
    assert set(corrpo.__all__) <= documented


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_that_are_shown_can_be_read(path):
    for words in shown_commands(path):
        check_command(words)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_python_that_is_shown_compiles_and_links_lead_somewhere(path):
    text = path.read_text()
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(block, str(path), "exec")
    for target in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (path.parent / target).exists(), f"{path} links to {target}"


def test_every_verb_is_on_some_page():
    text = "\n".join(path.read_text() for path in PAGES)
    missing = [verb for verb in VERBS if f"corrpo {verb}" not in text and f"make {verb}" not in text]
    assert missing == []
