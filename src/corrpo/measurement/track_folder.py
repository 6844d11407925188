"""The output folder of `corrpo track`: what was measured, what is left, and what may be gone on with.

OUTPUT/KEY is the fingerprint of a checkpoint, with source.json, which says what files it was read from.
OUTPUT/track.json says what was measured, and is written anew after each checkpoint. A finished checkpoint
whose files are as they were is not loaded again; otherwise its weights decide, by their digest.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from corrpo.errors import BadInputError, CorrpoError, OutputFolderError
from corrpo.jobs.files import read_json, write_json, write_parquet
from corrpo.jobs.outcome import Outcome
from corrpo.jobs.run_folder import is_whole, refuse_other_files
from corrpo.jobs.settings_differences import differences_between
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.fingerprint_format import FINGERPRINT
from corrpo.measurement.trajectory import TRACK, TRACK_VERSION, Point, Trajectory, read_point
from corrpo.models.checkpoints import Checkpoint, Skipped, in_order
from corrpo.models.load_options import LoadOptions
from corrpo.models.source_stamp import SOURCE, source_stamp

TABLE = "trajectory.parquet"
"""The table of the trajectory, in the output folder."""


@dataclass(frozen=True)
class Tracked:
    """What a call of `track` came to.

    Attributes:
        trajectory: of the checkpoints that are measured.
        failed: those that could not be, with the reason; the next call tries them again.
    """

    trajectory: Trajectory
    failed: tuple[Skipped, ...]


class TrackFolder:
    """The output folder of `track`, held by this process, and what is known of its checkpoints so far.

    `claim` is what all of them are measured with: samples, settings and versions. An `OutputFolderError`
    where the folder belongs to others (named), or holds other files.
    """

    def __init__(self, output: Path, claim: dict[str, Any], skipped: Sequence[Skipped]):
        self.output = output
        self.claim = claim
        self.skipped = skipped
        self.failed: dict[str, Skipped] = {}
        self.points: dict[str, Point] = {}
        self.checkpoints: list[Checkpoint] = []
        self.left: list[Checkpoint] = []
        self.before = self._checked()

    def _checked(self) -> dict[str, Any]:
        """The record of an earlier call, if this one may go on with it."""
        path = self.output / TRACK
        if not path.exists():
            refuse_other_files(self.output, "corrpo track")
            return {"points": []}
        before = read_json(path)
        differences = differences_between(
            {name: before.get(name) for name in ("schema_version", *self.claim)},
            {"schema_version": TRACK_VERSION, **self.claim},
        )
        if differences:
            raise OutputFolderError(
                f"{self.output} holds checkpoints measured otherwise: {'; '.join(differences)}. Use the same "
                "samples and settings to go on with it, or give another --output"
            )
        return before

    def with_deleted(self, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
        """Add what was measured before, in stages that are named now, from folders that have gone since."""
        keys = {checkpoint.key for checkpoint in checkpoints}
        stages = {checkpoint.stage for checkpoint in checkpoints}
        earlier = [Checkpoint.from_dict(record) for record in self.before["points"]]
        deleted = [
            checkpoint
            for checkpoint in earlier
            if checkpoint.key not in keys
            and checkpoint.stage in stages
            and checkpoint.step is not None
            and "files" in self._source_of(checkpoint)
            and not Path(checkpoint.source).exists()
        ]
        return in_order([*checkpoints, *deleted])

    def begin(self, checkpoints: list[Checkpoint], loading: LoadOptions) -> None:
        """Read what is finished, list what is left, and write track.json.

        Files that a process was writing when it was killed are removed: nobody else writes here.
        """
        for path in self.output.glob("**/.*.tmp"):
            path.unlink()
        self.checkpoints = checkpoints
        for checkpoint in checkpoints:
            folder = self.output / checkpoint.key
            done = folder / FINGERPRINT
            try:
                if (
                    done.exists()
                    and self._is_unchanged(checkpoint, loading)
                    and is_whole(partial(Fingerprint.load, folder), done)
                ):
                    self.points[checkpoint.key] = read_point(checkpoint, folder)
                else:
                    self.left.append(checkpoint)
            except BadInputError as error:
                self._fail(checkpoint, f"{error}; or remove {folder} to measure it again")
        self._write()

    def _source_of(self, checkpoint: Checkpoint) -> dict[str, Any]:
        path = self.output / checkpoint.key / SOURCE
        return read_json(path) if path.exists() and is_whole(partial(read_json, path), path) else {}

    def _is_unchanged(self, checkpoint: Checkpoint, loading: LoadOptions) -> bool:
        """True if the files that a fingerprint was measured on are as they were, or were deleted."""
        known = self._source_of(checkpoint)
        if "files" in known and not Path(checkpoint.source).exists():
            return True
        return bool(known) and known == source_stamp(checkpoint, loading)

    def finish(self, outcome: Outcome[Checkpoint]) -> Point | None:
        """Take in one checkpoint; its point, or None if it failed."""
        checkpoint = outcome.item
        try:
            if outcome.reason is None:
                self.points[checkpoint.key] = read_point(checkpoint, self.output / checkpoint.key)
            else:
                self._fail(checkpoint, outcome.reason)
        except BadInputError as error:
            outcome.reason = str(error)
            self._fail(checkpoint, outcome.reason)
        self._write()
        return self.points.get(checkpoint.key)

    def _fail(self, checkpoint: Checkpoint, reason: str) -> None:
        self.failed[checkpoint.key] = Skipped(checkpoint.name, reason)

    def _points(self) -> list[Point]:
        keys = [checkpoint.key for checkpoint in self.checkpoints]
        return [self.points[key] for key in keys if key in self.points]

    def _write(self) -> None:
        record = {
            "schema_version": TRACK_VERSION,
            **self.claim,
            "points": [
                {**point.checkpoint.as_dict(), "model_digest": point.model_digest} for point in self._points()
            ],
            "skipped": [asdict(skipped) for skipped in self.skipped],
            "failed": [{"key": key, **asdict(failed)} for key, failed in self.failed.items()],
        }
        write_json(self.output / TRACK, record)

    def end(self) -> Tracked:
        """The trajectory of all that is measured, with its table written."""
        keys = [checkpoint.key for checkpoint in self.checkpoints]
        failed = tuple(self.failed[key] for key in keys if key in self.failed)
        if not self.points:
            raise CorrpoError(f"no checkpoint could be measured: {'; '.join(map(str, failed))}")
        trajectory = Trajectory(
            label="",
            folder=self.output,
            points=tuple(self._points()),
            settings=self.claim["settings"],
            samples=self.claim["samples"],
            skipped=tuple(self.skipped),
        )
        write_parquet(self.output / TABLE, trajectory.table())
        return Tracked(trajectory, failed)
