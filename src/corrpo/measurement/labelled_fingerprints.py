"""Fingerprints under labels, as they are compared: read from `LABEL=DIR` arguments, and put in order.

A label names a model type, or `FAMILY/TYPE`; types are compared within a family and on the same samples only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corrpo.errors import BadInputError
from corrpo.jobs.run_folder import SETTINGS
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.fingerprint_format import FINGERPRINT

TYPE_ORDER = ("base", "safety", "reasoning")
FORM = "give LABEL=DIR, such as base=runs/base or qwen2/base=runs/qwen2-base"


@dataclass(frozen=True)
class Labelled:
    """A fingerprint under the label it is compared by.

    Attributes:
        label: as given: TYPE or FAMILY/TYPE.
        folder: the fingerprint folder.
        fingerprint: what it holds.
    """

    label: str
    folder: Path
    fingerprint: Fingerprint

    @property
    def family(self) -> str:
        """What stands before the last slash of the label; empty without one."""
        return self.label.rpartition("/")[0]

    @property
    def type(self) -> str:
        """What stands after the last slash of the label, such as base, safety or reasoning."""
        return self.label.rpartition("/")[2]

    @property
    def sample_set(self) -> str:
        """Name of the sample set."""
        return str(self.fingerprint.samples["name"])

    def __str__(self) -> str:
        return f"{self.label} on {self.sample_set} ({self.folder})"


def parse_label(argument: str) -> tuple[str, Path]:
    """Split `LABEL=DIR` at the first equals sign; a folder without a label goes by its own name.

    Raises:
        BadInputError: neither a folder that there is, nor a label and a folder; names it.

    >>> parse_label("qwen2/base=runs/base")[0]
    'qwen2/base'
    """
    if argument and Path(argument).is_dir():
        return Path(argument).resolve().name, Path(argument)
    label, equals, folder = argument.partition("=")
    label = label.strip()
    if not (equals and folder and label and all(part.strip() for part in label.split("/"))):
        raise BadInputError(f"{argument!r} is no folder, and not LABEL=DIR: {FORM}")
    return label, Path(folder)


def load_labelled(arguments: Sequence[str]) -> list[Labelled]:
    """Load every fingerprint that `LABEL=DIR` arguments name, in order of families, sample sets and types.

    DIR is a fingerprint folder, or a folder with one fingerprint folder per sample set in it. A label may be
    given several times, for several sample sets. Families and sample sets come in the order of their first
    appearance; types as base, safety, reasoning, then others likewise.

    Raises:
        BadInputError: no arguments; a malformed one; a folder that is missing, unfinished or without
            fingerprints; the same label and sample set twice.
    """
    if not arguments:
        raise BadInputError(f"nothing to compare: {FORM}")
    labelled = [
        Labelled(label, folder, Fingerprint.load(folder))
        for label, parent in map(parse_label, arguments)
        for folder in fingerprint_folders(parent)
    ]
    return in_order(labelled)


def in_order(labelled: Sequence[Labelled]) -> list[Labelled]:
    """By families, sample sets and types, in the order of first appearance but base, safety, reasoning first.

    Raises:
        BadInputError: the same label and sample set twice.
    """
    refuse_twice(labelled)
    types = list(dict.fromkeys([*TYPE_ORDER, *(one.type for one in labelled)]))
    families = list(dict.fromkeys(one.family for one in labelled))
    sample_sets = list(dict.fromkeys(one.sample_set for one in labelled))

    def place(one: Labelled) -> tuple[int, int, int]:
        return families.index(one.family), sample_sets.index(one.sample_set), types.index(one.type)

    return sorted(labelled, key=place)


def fingerprint_folders(folder: Path) -> list[Path]:
    """`folder` itself if it is a fingerprint folder, finished or not, else those directly inside, by name.

    Raises:
        BadInputError: the folder does not exist, or neither it nor its sub-folders hold a fingerprint.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is not a folder; give one that corrpo measure wrote with --output")
    if _is_fingerprint(folder):
        return [folder]
    inside = sorted(child for child in folder.iterdir() if child.is_dir() and _is_fingerprint(child))
    if not inside:
        raise BadInputError(
            f"{folder} holds no {FINGERPRINT}, and none of its sub-folders does; give a folder that "
            "corrpo measure wrote with --output, or one with such folders in it"
        )
    return inside


def _is_fingerprint(folder: Path) -> bool:
    return (folder / FINGERPRINT).exists() or (folder / SETTINGS).exists()


def refuse_twice(labelled: Sequence[Labelled]) -> None:
    """See that no label has the same sample set twice.

    Raises:
        BadInputError: one has; names both folders.
    """
    seen: dict[tuple[str, str], Labelled] = {}
    for one in labelled:
        first = seen.setdefault((one.label, one.sample_set), one)
        if first is not one:
            raise BadInputError(
                f"label {one.label!r} has the sample set {one.sample_set!r} twice: in {first.folder} and "
                f"in {one.folder}. Give them different labels, or leave one out"
            )
