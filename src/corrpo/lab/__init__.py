"""The lab: tiny trained language models and held-out samples, so that everything runs with no download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corrpo.errors import BadInputError, did_you_mean

FAMILIES = ("qwen2", "llama")
KINDS = ("base", "safety", "reasoning")
SAMPLE_SETS = ("reasoning", "safety", "base")

_FOLDER = Path(__file__).parent

LAB = "lab:"
"""What a name begins with where a model, sample set or task of the lab is meant."""

__all__ = [
    "FAMILIES",
    "KINDS",
    "LAB",
    "SAMPLE_SETS",
    "check_name",
    "checkpoint",
    "sample_location",
    "sample_set",
]


def checkpoint(family: str, kind: str) -> Path:
    """The folder of a shipped checkpoint, for `from_pretrained` of a model and of its tokenizer.

    >>> checkpoint("qwen2", "base").name
    'base'

    Raises BadInputError on an unknown family or kind, FileNotFoundError if the folder is not there.
    """
    check_name("family", family, FAMILIES)
    check_name("kind", kind, KINDS)
    return _shipped(_FOLDER / "checkpoints" / family / kind)


def sample_set(name: str) -> Path:
    """The JSONL file of a shipped sample set: a line per sample with id, prompt and, for sums, answer.

    >>> sample_set("safety").name
    'safety.jsonl'

    Raises BadInputError on an unknown name, FileNotFoundError if the file is not there.
    """
    check_name("sample set", name, SAMPLE_SETS)
    return _shipped(_FOLDER / "samples" / f"{name}.jsonl")


def sample_location(samples: Path | str) -> Path:
    """Where a samples file is: that of lab:NAME, or any other path as it stands.

    Raises BadInputError on a sample set that there is not.

    >>> sample_location("prompts.jsonl").name, sample_location("lab:safety").name
    ('prompts.jsonl', 'safety.jsonl')
    """
    name = str(samples)
    return sample_set(name.removeprefix(LAB)) if name.startswith(LAB) else Path(samples)


def check_name(what: str, name: str, known: Sequence[str]) -> str:
    """Return `name` if it is one of `known`; otherwise raise BadInputError that lists them.

    >>> check_name("kind", "base", KINDS)
    'base'
    """
    if name not in known:
        raise BadInputError(
            f"unknown lab {what} {name!r}: expected one of {', '.join(known)}{did_you_mean(name, known)}"
        )
    return name


def _shipped(path: Path) -> Path:
    """The path, if it was installed with the package."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing from this installation of corrpo: reinstall it")
    return path
