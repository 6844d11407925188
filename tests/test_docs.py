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
    ROOT / "recipes" / "README.md",
    ROOT / "recipes" / "paper" / "README.md",
]


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=quiet, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert "contains a link" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_site_needs_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        fetched = re.findall(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"?(\S+)", page.read_text())
        assert fetched
        assert [address for address in fetched if re.match(r"(?:https?:)?//", address)] == []


@pytest.mark.slow
def test_docstrings_become_tables_and_their_examples_code(site):
    page = (site / "api" / "statistics" / "index.html").read_text()
    assert "Raises:" in page
    assert "BadInputError" in page
    assert '<span class="gp">&gt;&gt;&gt; </span>' in page
    for path in (site / "api").rglob("*.html"):
        assert "<blockquote>" not in path.read_text(), f"{path}: an example that is not read as one"


@pytest.mark.slow
def test_links_out_of_the_documentation_are_paths_in_the_site(site):
    page = (site / "TRAINING" / "index.html").read_text()
    assert "<code>benchmarks/direction.py</code>" in page
    assert "../src/" not in page


def test_every_public_name_is_in_the_api():
    pages = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    documented = re.findall(r"^::: (\S+)", pages, re.MULTILINE)
    assert {f"corrpo.{name}" for name in corrpo.__all__ if name != "CorrpoError"} <= set(documented)
    assert "corrpo.errors" in documented


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_commands_that_are_shown_can_be_read(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for words in shown_commands(path):
        check_command(words)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
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
