"""Measure every checkpoint of a training on the same samples, in parallel; to be stopped and gone on with.

OUTPUT/KEY is the whole fingerprint of a checkpoint, with source.json, which tells the files it was read from.
OUTPUT/track.json tells what was measured, and is written anew after each checkpoint. A finished checkpoint
whose files are as they were is not loaded again; otherwise its weights decide, by their digest.
"""

from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from corrpo.errors import CorrpoError, OutputFolderError
from corrpo.jobs.files import read_json, write_json, write_parquet
from corrpo.jobs.folder_lock import locked_by_team
from corrpo.jobs.process_count import processes_for
from corrpo.jobs.process_pool import parallel
from corrpo.jobs.process_team import Team
from corrpo.jobs.progress_bar import progress_bar
from corrpo.jobs.run_folder import refuse_other_files
from corrpo.jobs.settings_differences import differences_between
from corrpo.jobs.torchrun import check_processes, device_of_process
from corrpo.jobs.versions import library_versions
from corrpo.measurement.checkpoint_measurement import Job, Outcome, measure_checkpoint
from corrpo.measurement.fingerprint_format import FINGERPRINT
from corrpo.measurement.pipeline import checked_options
from corrpo.measurement.trajectory import TRACK, TRACK_VERSION, Point, Trajectory, read_point
from corrpo.models.checkpoints import Checkpoint, Skipped, find_checkpoints, in_order
from corrpo.models.load_options import LoadOptions
from corrpo.models.source_stamp import SOURCE, source_stamp
from corrpo.samples import load_samples, samples_digest
from corrpo.statistics import Correlation

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


def track(
    words: Sequence[str],
    samples: Path | str,
    *,
    output: Path | str,
    start: str | None = None,
    processes: int | None = None,
    loading: LoadOptions | None = None,
    progress: bool = False,
    team: Team | None = None,
    **options: Any,
) -> Tracked:
    """Measure the fingerprint of every checkpoint on the same samples.

    Args:
        words: [STAGE[:STEP]=]SOURCE each; see `find_checkpoints`.
        samples: a JSONL file, as in `corrpo.measure`.
        output: a folder. The same call goes on where it stopped, and measures checkpoints that have come
            since. One measured before whose folder was deleted since, as a Trainer with `save_total_limit`
            does, stays in the trajectory.
        start: the model that training began from, step 0 of the first stage.
        processes: how many to share the work between; by cores or GPUs and free memory if not given.
        loading: device, dtype and so on.
        progress: show what is being done, on standard error.
        team: processes that were started together (`corrpo.jobs.torchrun.launched`), which share the samples
            of one checkpoint after another; all of them must call this, and all get the result.
        **options: fields of `MeasureOptions`.

    Returns:
        The trajectory, and the checkpoints that failed.

    Raises:
        BadInputError: words, samples or options that cannot be used.
        OutputFolderError: `output` belongs to other samples or settings (named), to another process, or holds
            other files.
        CorrpoError: not one checkpoint could be measured.
    """
    output, samples, loading = Path(output), Path(samples), loading or LoadOptions()
    settings, team = checked_options(options), team or Team()
    check_processes(team, processes, loading.device_map)
    processes = 1 if loading.device_map is not None else processes
    claim = {
        "samples": {"name": samples.stem, "digest": samples_digest(load_samples(samples))},
        "settings": settings.as_dict(),
        "dtype": loading.dtype,
        "quantization": None if loading.quantization == "none" else loading.quantization,
        "versions": library_versions(),
    }
    checkpoints, skipped = team.from_first(
        lambda: find_checkpoints(words, start=start, revision=loading.revision)
    )
    if processes is not None:
        processes_for(checkpoints, processes)  # a bad number is told before the folder is made
    with locked_by_team(output, team) as together:
        if not together.first:
            return _helped(together, loading)
        run = _Run(output, claim, skipped)
        checkpoints = run.with_deleted(checkpoints)
        run.begin(checkpoints, loading)
        jobs = [Job(each, output / each.key, samples, loading, settings) for each in run.left]
        together.from_first(lambda: jobs)
        alone = bool(jobs) and together.size == 1
        count = processes_for(run.left, processes, device=loading.device, dtype=loading.dtype) if alone else 1
        with _Display(len(checkpoints), progress) as display:
            display.begin(skipped, run.points.values(), max(count, together.size))
            if together.size > 1:
                outcomes = _outcomes(jobs, together, loading)
            else:
                outcomes = parallel(
                    measure_checkpoint, jobs, processes=count, device=loading.device, name=_name_of
                )
            with closing(outcomes):
                for outcome in outcomes:
                    display.tell(outcome, run.finish(outcome))
        return together.from_first(run.end)


def _outcomes(jobs: Sequence[Job], team: Team, loading: LoadOptions) -> Generator[Outcome, None, None]:
    """One checkpoint after another, each measured by the whole team."""
    device = device_of_process(loading.device)
    for job in jobs:
        yield measure_checkpoint(job, device, team)


def _helped(team: Team, loading: LoadOptions) -> Tracked:
    """What a process other than the first does: its share of each checkpoint."""

    def only_the_first() -> Any:
        raise AssertionError("the first process has other things to do")

    jobs: list[Job] = team.from_first(only_the_first)
    for _ in _outcomes(jobs, team, loading):
        pass
    return team.from_first(only_the_first)


def _name_of(job: Job) -> str:
    return str(job.checkpoint)


class _Run:
    """The output folder and what is known of its checkpoints so far."""

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
        named, stages = {each.key for each in checkpoints}, {each.stage for each in checkpoints}
        earlier = [Checkpoint.from_dict(record) for record in self.before["points"]]
        gone = [
            each
            for each in earlier
            if each.key not in named
            and each.stage in stages
            and each.step is not None
            and "files" in self._source_of(each)
            and not Path(each.source).exists()
        ]
        return in_order([*checkpoints, *gone])

    def begin(self, checkpoints: list[Checkpoint], loading: LoadOptions) -> None:
        """Read what is finished, list what is left, and write track.json.

        Files that a process was writing when it was killed are removed: nobody else writes here.
        """
        for path in self.output.glob("**/.*.tmp"):
            path.unlink()
        self.checkpoints = checkpoints
        for each in checkpoints:
            folder = self.output / each.key
            if (folder / FINGERPRINT).exists() and self._is_unchanged(each, loading):
                self.points[each.key] = read_point(each, folder)
            else:
                self.left.append(each)
        self._write()

    def _source_of(self, checkpoint: Checkpoint) -> dict[str, Any]:
        path = self.output / checkpoint.key / SOURCE
        return read_json(path) if path.exists() else {}

    def _is_unchanged(self, checkpoint: Checkpoint, loading: LoadOptions) -> bool:
        """True if the files that a fingerprint was measured on are as they were, or were deleted."""
        known = self._source_of(checkpoint)
        if "files" in known and not Path(checkpoint.source).exists():
            return True
        return bool(known) and known == source_stamp(checkpoint, loading)

    def finish(self, outcome: Outcome) -> Point | None:
        """Take in one checkpoint; its point, or None if it failed."""
        checkpoint = outcome.checkpoint
        if outcome.reason is None:
            self.points[checkpoint.key] = read_point(checkpoint, self.output / checkpoint.key)
        else:
            self.failed[checkpoint.key] = Skipped(checkpoint.name, outcome.reason)
        self._write()
        return self.points.get(checkpoint.key)

    def _write(self) -> None:
        points = [self.points[each.key] for each in self.checkpoints if each.key in self.points]
        record = {
            "schema_version": TRACK_VERSION,
            **self.claim,
            "points": [
                {**point.checkpoint.as_dict(), "model_digest": point.model_digest} for point in points
            ],
            "skipped": [asdict(each) for each in self.skipped],
            "failed": [{"key": key, **asdict(each)} for key, each in self.failed.items()],
        }
        write_json(self.output / TRACK, record)

    def end(self) -> Tracked:
        """The trajectory of all that is measured, with its table written."""
        failed = tuple(self.failed[each.key] for each in self.checkpoints if each.key in self.failed)
        if not self.points:
            raise CorrpoError(f"no checkpoint could be measured; the first failed so: {failed[0]}")
        trajectory = Trajectory(
            label="",
            folder=self.output,
            points=tuple(self.points[each.key] for each in self.checkpoints if each.key in self.points),
            settings=self.claim["settings"],
            samples=self.claim["samples"],
            skipped=tuple(self.skipped),
        )
        write_parquet(self.output / TABLE, trajectory.table())
        return Tracked(trajectory, failed)


class _Display:
    """A bar with the time left and a line for each checkpoint, on standard error; nothing if not shown."""

    def __init__(self, total: int, shown: bool):
        console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
        self._bar = progress_bar(shown=shown, transient=True, console=console)
        self._task = self._bar.add_task("checkpoints", total=total)
        self._total = total
        self._done = 0
        self._shown = shown

    def __enter__(self) -> "_Display":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _say(self, line: str) -> None:
        if self._shown:
            self._bar.console.print(line)

    def begin(self, skipped: Sequence[Skipped], points: Collection[Point], processes: int) -> None:
        """What is left out, what is done already, and in how many processes the rest is."""
        for each in skipped:
            self._say(f"skipped {each}")
        self._done = len(points)
        self._bar.update(self._task, completed=self._done)
        left = self._total - self._done
        if self._done:
            self._say(f"{self._done} of {self._total} checkpoints are measured already")
        if left and processes > 1:
            self._say(f"{left} checkpoints in {processes} processes")

    def tell(self, outcome: Outcome, point: Point | None) -> None:
        """One checkpoint more."""
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        what = f"failed: {outcome.reason}" if point is None else f"rho {_short(point.spearman)}"
        self._say(f"checkpoint {self._done} of {self._total}, {outcome.checkpoint}: {what}")


def _short(rho: Correlation) -> str:
    if rho.value is None:
        return f"undefined: {rho.reason}"
    interval = "" if rho.low is None or rho.high is None else f" [{rho.low:.2f}, {rho.high:.2f}]"
    return f"{rho.value:.2f}{interval}"
