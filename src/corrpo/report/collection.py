"""What lies in the folders of a report: fingerprints, trajectories and evaluations, each under a label.

A label is FAMILY/NAME or NAME. Families are panels of a figure; what a trajectory and an evaluation under the
same label belong to is one run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from corrpo.errors import BadInputError
from corrpo.evaluation.results import EVALUATIONS, Evaluation, load_evaluations
from corrpo.jobs.run_folder import SETTINGS
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.fingerprint_format import FINGERPRINT
from corrpo.measurement.labelled_fingerprints import Labelled
from corrpo.measurement.trajectory import Trajectory, has_points, is_trajectory

FORM = (
    "give folders that corrpo measure, track or evaluate wrote, or folders of such folders, each as DIR or "
    "LABEL=DIR, with a label like grpo or qwen2/grpo"
)
_PARTS_OF_LABEL = 2
"""A folder found below one that was given without a label is called by the last two of its names below it."""


@dataclass(frozen=True)
class EvaluatedRun:
    """What `corrpo evaluate` found for the checkpoints or models of one folder.

    Attributes:
        label: FAMILY/NAME or NAME.
        folder: the output folder of `corrpo evaluate`.
        evaluations: by checkpoint, then by suite.
    """

    label: str
    folder: Path
    evaluations: tuple[Evaluation, ...]

    @property
    def suites(self) -> list[str]:
        """Names of the suites, in order."""
        return list(dict.fromkeys(row.suite["name"] for row in self.evaluations))


@dataclass(frozen=True)
class Collection:
    """Everything that a report is about.

    Attributes:
        fingerprints: of models, as `corrpo measure` wrote them.
        trajectories: of runs, as `corrpo track` or a `FingerprintCallback` wrote them.
        evaluated: as `corrpo evaluate` wrote them.
        unfinished: folders of runs that have not come to their end; they are left out.
    """

    fingerprints: tuple[Labelled, ...] = ()
    trajectories: tuple[Trajectory, ...] = ()
    evaluated: tuple[EvaluatedRun, ...] = ()
    unfinished: tuple[Path, ...] = ()


def collect(words: Sequence[str]) -> Collection:
    """Find and load all results in and below some folders.

    Args:
        words: DIR or LABEL=DIR each. Under a label, a folder found deeper is LABEL/ITS/PATH; without one it
            is called by the last two of its names below DIR, and DIR itself by its own. The folder of a
            sample set is not part of a label.

    Raises:
        BadInputError: no folder, one that does not exist or holds no results, or two results of a kind under
            one label.
    """
    if not words:
        raise BadInputError(f"nothing to report: {FORM}")
    fingerprints: list[Labelled] = []
    trajectories: list[Trajectory] = []
    evaluated: list[EvaluatedRun] = []
    unfinished: list[Path] = []
    for label, folder in map(_parse, words):
        found = list(_results(folder))
        begun = [path for kind, path in found if kind == "unfinished"]
        if len(begun) == len(found):
            others = f"; {len(begun)} runs in it are unfinished" if begun else ""
            raise BadInputError(f"{folder} holds no finished result{others}: {FORM}")
        unfinished += begun
        for kind, path in found:
            parts = list(path.relative_to(folder).parts)
            if kind == "fingerprint":
                fingerprint = Fingerprint.load(path)
                if parts and parts[-1] == fingerprint.samples["name"]:
                    parts.pop()
                fingerprints.append(Labelled(_label(label, folder, parts), path, fingerprint))
            elif kind == "trajectory":
                trajectories.append(Trajectory.load(path, _label(label, folder, parts)))
            elif kind == "evaluations":
                evaluated.append(
                    EvaluatedRun(_label(label, folder, parts), path, tuple(load_evaluations(path)))
                )
    for what, runs in (("trajectories", trajectories), ("evaluations", evaluated)):
        _refuse_twice(what, [(run.label, run.folder) for run in runs])
    _refuse_twice("fingerprints", [(f"{row.label} on {row.sample_set}", row.folder) for row in fingerprints])
    return Collection(tuple(fingerprints), tuple(trajectories), tuple(evaluated), tuple(unfinished))


def _parse(word: str) -> tuple[str | None, Path]:
    """The label, if there is one, and the folder; a word that is the path of a folder has no label."""
    label, equals, path = word.partition("=")
    if not equals or Path(word).is_dir():
        label, path = "", word
    elif not all(part.strip() for part in label.split("/")) or not path:
        raise BadInputError(f"{word!r} is neither DIR nor LABEL=DIR: {FORM}")
    folder = Path(path)
    if not folder.is_dir():
        raise BadInputError(f"{path} is not a folder: {FORM}")
    return label.strip() or None, folder


def _results(folder: Path) -> Iterator[tuple[str, Path]]:
    """The kind and place of each result in `folder` and below, in the order of names."""
    if (folder / EVALUATIONS).exists():
        yield "evaluations", folder
    elif is_trajectory(folder):
        yield "trajectory" if has_points(folder) else "unfinished", folder
    elif (folder / FINGERPRINT).exists():
        yield "fingerprint", folder
    elif (folder / SETTINGS).exists():
        yield "unfinished", folder
    else:
        for child in sorted(path for path in folder.iterdir() if path.is_dir()):
            yield from _results(child)


def _label(given: str | None, folder: Path, parts: Sequence[str]) -> str:
    if given is not None:
        return "/".join([given, *parts])
    names = parts or [folder.resolve().name]
    return "/".join(names[-_PARTS_OF_LABEL:])


def _refuse_twice(what: str, labelled: Sequence[tuple[str, Path]]) -> None:
    seen: dict[str, Path] = {}
    for label, folder in labelled:
        first = seen.setdefault(label, folder)
        if first is not folder:
            raise BadInputError(
                f"two {what} are called {label!r}: {first} and {folder}. Give them labels, such as "
                f"one={first} "
                f"two={folder}, or leave one out"
            )
