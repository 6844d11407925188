"""A model over its training: the fingerprints of its checkpoints, on the same samples, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from corrpo.errors import BadInputError
from corrpo.jobs.files import read_parquet, read_versioned, results_read
from corrpo.jobs.settings_differences import differences_between
from corrpo.measurement.comparison import mean_or_none, measured_with
from corrpo.measurement.fingerprint import SCHEMA_VERSION, STATISTICS, baseline_of
from corrpo.measurement.fingerprint_format import FINGERPRINT, TOKENS
from corrpo.measurement.layer_count import layer_count
from corrpo.models.checkpoints import Checkpoint, Skipped
from corrpo.statistics import Correlation

TRACK = "track.json"
"""What makes a folder that of `corrpo track`."""
TRACK_VERSION = 1
"""Version of the form of track.json."""
_STEP = "step-"


@dataclass(frozen=True)
class Point:
    """One checkpoint of a trajectory.

    Attributes:
        checkpoint: the model and where in training it stands.
        folder: its fingerprint folder.
        model_digest: of its weights.
        statistics: `corrpo.measurement.fingerprint.STATISTICS` to `Correlation`.
        mean_entropy_bits: over the measured tokens; None if there are none.
        mean_strength: likewise.
        mean_response_tokens: response tokens per measured sample; None if there are no samples.
        baseline: as `Fingerprint.baseline`.
        cut: share of the responses that ended at max_new_tokens; None in a fingerprint of an older version.
        layer_count: how many layers hold the measured projections; None where an older version does not tell.
    """

    checkpoint: Checkpoint
    folder: Path
    model_digest: str
    statistics: dict[str, Correlation]
    mean_entropy_bits: float | None
    mean_strength: float | None
    mean_response_tokens: float | None
    baseline: Correlation | None = None
    cut: float | None = None
    layer_count: int | None = None

    @property
    def spearman(self) -> Correlation:
        """Spearman's rho over token positions: the headline."""
        return self.statistics["spearman"]


@dataclass(frozen=True)
class Trajectory:
    """The Entropy-Gradient Inversion over the checkpoints of one or more stages of training.

    Attributes:
        label: FAMILY/NAME or NAME, as given; empty if none was.
        folder: what it was loaded from.
        points: in the order of training.
        settings: options of the measurement, the same for all points.
        samples: name and digest of the sample set, the same for all points.
        skipped: checkpoints that were left out.
    """

    label: str
    folder: Path
    points: tuple[Point, ...]
    settings: dict[str, Any]
    samples: dict[str, Any]
    skipped: tuple[Skipped, ...] = ()

    @property
    def stages(self) -> list[tuple[str, int, int]]:
        """Each stage with its first and last global step; a model that is no step of a run is left out."""
        steps: dict[str, list[int]] = {}
        for point in self.points:
            if point.checkpoint.global_step is not None:
                steps.setdefault(point.checkpoint.stage, []).append(point.checkpoint.global_step)
        return [(stage, min(counts), max(counts)) for stage, counts in steps.items()]

    @property
    def largest_cut(self) -> float | None:
        """The largest share over checkpoints of responses that ended at max_new_tokens, if known."""
        return max((point.cut for point in self.points if point.cut is not None), default=None)

    def table(self) -> pl.DataFrame:
        """A row per point and statistic, the last of them "baseline" where there is one.

        Columns: stage, step, at, key, folder (below that of the trajectory), statistic, value, low, high, p,
        n_tokens, n_samples, reason.
        """
        rows = [
            {
                "stage": point.checkpoint.stage,
                "step": point.checkpoint.step,
                "at": point.checkpoint.global_step,
                "key": point.checkpoint.key,
                "folder": point.folder.relative_to(self.folder).as_posix(),
                "statistic": name,
                **correlation.as_dict(),
            }
            for point in self.points
            for name, correlation in [*point.statistics.items(), ("baseline", point.baseline)]
            if correlation is not None
        ]
        return pl.DataFrame(rows, schema=_TABLE)

    @classmethod
    def load(cls, folder: Path | str, label: str = "") -> "Trajectory":
        """Read the output folder of `corrpo track` or of a `FingerprintCallback`.

        Args:
            folder: of a callback, it holds step-000050 and so on, and its name is taken for the stage.
            label: of the trajectory.

        Raises:
            BadInputError: no such output, none of its checkpoints is finished, another version of
                track.json, or steps of a callback that were measured differently.
        """
        folder = Path(folder)
        if (folder / TRACK).exists():
            return _load_track(cls, folder, label)
        if step_folders(folder):
            return _load_callback(cls, folder, label)
        raise BadInputError(
            f"{folder} holds neither {TRACK} nor folders like step-000050 with a fingerprint; give the "
            "output of corrpo track, or that of a FingerprintCallback"
        )


_TABLE = {
    "stage": pl.String,
    "step": pl.Int64,
    "at": pl.Int64,
    "key": pl.String,
    "folder": pl.String,
    "statistic": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "n_tokens": pl.Int64,
    "n_samples": pl.Int64,
    "reason": pl.String,
}


def is_trajectory(folder: Path | str) -> bool:
    """True for the output folder of `corrpo track` or of a `FingerprintCallback`."""
    return (Path(folder) / TRACK).exists() or bool(step_folders(Path(folder)))


def has_points(folder: Path | str) -> bool:
    """Whether a trajectory has a finished checkpoint yet."""
    path = Path(folder) / TRACK
    return not path.exists() or bool(read_versioned(path, TRACK_VERSION, "track again").get("points"))


def check_same_measurement(trajectories: Sequence[Trajectory]) -> None:
    """Refuse to set trajectories beside one another that measure different quantities.

    Raises:
        BadInputError: estimator, norm, target, projections, layers or samples differ; names what does.
    """
    for other in trajectories[1:]:
        first = trajectories[0]
        ours, theirs = _measured(first), _measured(other)
        differences = [
            f"{name} {ours[name]!r} and {theirs[name]!r}" for name in ours if ours[name] != theirs[name]
        ]
        if first.samples.get("digest") != other.samples.get("digest"):
            differences.append(f"samples {_samples(first)} and {_samples(other)}")
        if differences:
            raise BadInputError(
                f"{_called(first)} and {_called(other)} were measured differently: {'; '.join(differences)}. "
                "Measure both with the same settings on the same samples"
            )


def _measured(trajectory: Trajectory) -> dict[str, Any]:
    return measured_with(trajectory.settings, trajectory.points[0].layer_count)


def _samples(trajectory: Trajectory) -> str:
    return f"{trajectory.samples.get('name')!r} (digest {str(trajectory.samples.get('digest'))[:8]})"


def _called(trajectory: Trajectory) -> str:
    return f"{trajectory.label} ({trajectory.folder})" if trajectory.label else str(trajectory.folder)


def _load_track(kind: type[Trajectory], folder: Path, label: str) -> Trajectory:
    with results_read(folder, "track again into a new folder"):
        return _read_track(kind, folder, label)


def _read_track(kind: type[Trajectory], folder: Path, label: str) -> Trajectory:
    record = read_versioned(folder / TRACK, TRACK_VERSION, "track again")
    if not record["points"]:
        raise BadInputError(
            f"{folder} holds no finished checkpoint; run corrpo track with --output {folder} again"
        )
    return kind(
        label=label,
        folder=folder,
        points=tuple(
            read_point(Checkpoint.from_dict(point), folder / point["key"]) for point in record["points"]
        ),
        settings=record["settings"],
        samples=record["samples"],
        skipped=tuple(Skipped(**skipped) for skipped in record["skipped"]),
    )


def _load_callback(kind: type[Trajectory], folder: Path, label: str) -> Trajectory:
    stage = folder.resolve().name or "run"
    folders = step_folders(folder)
    summaries = {step: _summary(path) for step, path in folders.items()}
    first, expected = next(((folders[step], what) for step, what in summaries.items()))
    for step, summary in summaries.items():
        differences = differences_between(expected["settings"], summary["settings"])
        differences += differences_between(_identity(expected), _identity(summary), "samples")
        if differences:
            raise BadInputError(
                f"{first} and {folders[step]} were measured differently: {'; '.join(differences)}. Give "
                "steps of the same settings and samples"
            )
    points = [
        _point(Checkpoint(stage, step, step, str(summary["model"]["name"])), folders[step], summary)
        for step, summary in summaries.items()
    ]
    return kind(label, folder, tuple(points), expected["settings"], _identity(expected))


def _identity(summary: dict[str, Any]) -> dict[str, Any]:
    return {key: summary["samples"].get(key) for key in ("name", "digest")}


def step_folders(folder: Path) -> dict[int, Path]:
    """The finished fingerprints step-N in a folder, by N."""
    folders = (path.parent for path in folder.glob(f"{_STEP}*/{FINGERPRINT}"))
    numbered = ((path.name.removeprefix(_STEP), path) for path in folders)
    return dict(sorted((int(name), path) for name, path in numbered if name.isdecimal()))


def read_point(checkpoint: Checkpoint, folder: Path) -> Point:
    """A point from a fingerprint folder; of the tokens, only two columns are read.

    Raises:
        BadInputError: there is no finished fingerprint in the folder, or its schema is another.
    """
    with results_read(folder):
        return _point(checkpoint, folder, _summary(folder))


def _point(checkpoint: Checkpoint, folder: Path, summary: dict[str, Any]) -> Point:
    tokens = read_parquet(folder / TOKENS, ["entropy_bits", "strength"])
    measured = tokens.drop_nulls("strength")
    samples = summary["samples"]
    return Point(
        checkpoint=checkpoint,
        folder=folder,
        model_digest=summary["model"]["digest"],
        statistics={name: Correlation.from_dict(summary["statistics"][name]) for name in STATISTICS},
        mean_entropy_bits=mean_or_none(measured["entropy_bits"]),
        mean_strength=mean_or_none(measured["strength"]),
        mean_response_tokens=samples["response_tokens"] / samples["measured"]
        if samples["measured"]
        else None,
        baseline=baseline_of(summary),
        cut=samples["cut"] / samples["given"] if samples.get("cut") is not None else None,
        layer_count=layer_count(summary["model"], summary["settings"]),
    )


def _summary(folder: Path) -> dict[str, Any]:
    return read_versioned(folder / FINGERPRINT, SCHEMA_VERSION)
