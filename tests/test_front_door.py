"""What `import corrpo` gives: the public names, the new places of old ones, and options that load quickly."""

import importlib
import subprocess
import sys

import pytest

import corrpo
from commands import ROOT
from corrpo.cli.main import main

HEAVY = ("torch", "transformers", "trl", "reasoning_gym", "matplotlib", "polars", "scipy", "jaxtyping")

LOADS = f"""
import sys
from corrpo.cli.main import VERBS, help_text, options_class
help_text()
for verb in VERBS:
    options_class(verb, [])
    loaded = [name for name in {HEAVY} if name in sys.modules]
    if loaded:
        sys.exit(f"the options of corrpo {{verb}} load {{', '.join(loaded)}}")
"""


def test_the_public_names_are_listed_and_there():
    assert set(corrpo.__all__) <= set(dir(corrpo))
    assert {"GradientSpec", "is_correct", "load_model", "measure"} <= set(dir(corrpo))
    assert corrpo.is_correct("the sum is \\boxed{17}", "17", check="exact")
    assert corrpo.GradientSpec().estimator == "exact"
    assert all(hasattr(corrpo, name) for name in corrpo.__all__)


def test_the_package_is_typed():
    assert (ROOT / "src" / "corrpo" / "py.typed").exists()


@pytest.mark.parametrize("old", corrpo._MOVED)
def test_a_module_of_version_0_2_names_its_new_place(old):
    places = [place for place in corrpo._MOVED[old].split(", ") if place.startswith("corrpo.")]
    with pytest.raises(ModuleNotFoundError, match=f"{old} of version 0.2 is now in "):
        importlib.import_module(old)
    for place in places:
        path = ROOT / "src" / place.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), place


def test_a_name_of_version_0_2_in_its_old_module_names_the_new_one():
    with pytest.raises(ModuleNotFoundError, match=r"is now in corrpo\.measurement\.fingerprint"):
        exec("from corrpo.fingerprint import Fingerprint")
    with pytest.raises(ModuleNotFoundError, match=r"is now in corrpo\.models\.loading"):
        exec("from corrpo.models import load_model")
    with pytest.raises(AttributeError, match=r"is now in corrpo\.strength\.gradient_norms"):
        corrpo.estimators  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'mesure'$"):
        corrpo.mesure  # noqa: B018


def test_the_options_of_no_verb_load_anything_heavy():
    ended = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("module", "extra", "words"),
    [
        ("uvicorn", "serve", ["view", "out"]),
        ("starlette", "serve", ["monitor", "lab:qwen2/base", "--serve"]),
        (
            "reasoning_gym",
            "tasks",
            ["evaluate", "lab:qwen2/base", "--suite", "rg:chain_sum", "--output", "out"],
        ),
        ("datasets", "train", ["evaluate", "lab:qwen2/base", "--suite", "gsm8k", "--output", "out"]),
        ("trl", "train", ["train", "sft"]),
        ("yaml", "train", ["experiment", "recipe.yaml", "--output", "out"]),
    ],
)
def test_a_verb_whose_packages_are_missing_says_what_installs_them(module, extra, words, monkeypatch, capsys):
    monkeypatch.setattr("corrpo.errors.find_spec", lambda name: None if name == module else object())
    assert main(words) == 1
    message = capsys.readouterr().err
    assert f"needs {module.replace('_', '-')}, which is not installed" in message
    assert f"pip install -c constraints.txt '.[{extra}]' in a checkout of corrpo" in message
