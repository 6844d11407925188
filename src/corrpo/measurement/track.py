"""Measure every checkpoint of a training on the same samples, in parallel; to be stopped and gone on with."""

from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from corrpo.errors import in_one_line
from corrpo.jobs.folder_lock import locked_by_team
from corrpo.jobs.outcome import Outcome
from corrpo.jobs.process_count import processes_for
from corrpo.jobs.process_pool import parallel
from corrpo.jobs.process_team import Team
from corrpo.jobs.progress_bar import progress_bar
from corrpo.jobs.torchrun import check_processes, device_of_process
from corrpo.jobs.versions import library_versions
from corrpo.measurement.checkpoint_measurement import CheckpointKeywords, Job, measure_checkpoint
from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.track_folder import Tracked, TrackFolder
from corrpo.measurement.trajectory import Point
from corrpo.models.checkpoints import Checkpoint, Skipped, find_checkpoints
from corrpo.models.keywords import keywords_of, narrow
from corrpo.models.load_options import LoadOptions
from corrpo.samples import SampleOptions, load_samples, samples_digest
from corrpo.statistics import Correlation


@dataclass(frozen=True, kw_only=True)
class TrackKeywords(MeasureOptions, SampleOptions, CheckpointKeywords):
    """The keywords of `track`."""


@keywords_of(TrackKeywords)
def track(words: Sequence[str], samples: Path | str, keywords: TrackKeywords) -> Tracked:
    """Measure the fingerprint of every checkpoint on the same samples.

    The same call measures checkpoints that have come since. One measured before whose folder was deleted
    since, as a Trainer with `save_total_limit` does, stays in the trajectory.

    Args:
        words: [STAGE[:STEP]=]SOURCE each; see `find_checkpoints`.
        samples: a file or the folder of a dataset, as in `corrpo.measure`.
        keywords: given as the keywords below.

    Returns:
        The trajectory, and the checkpoints that failed.

    Raises:
        BadInputError: words, samples or options that cannot be used.
        OutputFolderError: `output` belongs to other samples or settings (named), to another process, or holds
            other files.
        CorrpoError: not one checkpoint could be measured.
    """
    output, samples = Path(keywords.output), Path(samples)
    settings, loading = narrow(keywords, MeasureOptions), narrow(keywords, LoadOptions)
    reading = narrow(keywords, SampleOptions)
    processes, team = keywords.processes, keywords.team or Team()
    check_processes(team, processes, loading.device_map)
    processes = 1 if loading.device_map is not None else processes
    claim = _claim(samples, reading, settings, loading)
    checkpoints, skipped = team.from_first(
        lambda: find_checkpoints(words, start=keywords.start, revision=loading.revision)
    )
    if processes is not None:
        processes_for(checkpoints, processes)  # a bad number is refused before the folder is made
    with locked_by_team(output, team) as together:
        if not together.first:
            return _measure_with_first(together, loading)
        folder = TrackFolder(output, claim, skipped)
        folder.begin(folder.with_deleted(checkpoints), loading)
        jobs = [
            Job(checkpoint, output / checkpoint.key, samples, reading, loading, settings)
            for checkpoint in folder.left
        ]
        together.from_first(lambda: jobs)
        _measure_all(jobs, folder, together, processes, loading, keywords.progress)
        return together.from_first(folder.end)


def _claim(
    samples: Path, reading: SampleOptions, settings: MeasureOptions, loading: LoadOptions
) -> dict[str, Any]:
    """What all checkpoints of an output folder are measured with."""
    return {
        "samples": {"name": samples.stem, "digest": samples_digest(load_samples(samples, reading))},
        "settings": settings.as_dict(),
        "dtype": loading.dtype,
        "quantization": None if loading.quantization == "none" else loading.quantization,
        "versions": library_versions(),
    }


def _measure_all(
    jobs: Sequence[Job],
    folder: TrackFolder,
    team: Team,
    processes: int | None,
    loading: LoadOptions,
    progress: bool,
) -> None:
    """What the first process does: checkpoints one by one with the team, or side by side without one."""
    count = 1
    if jobs and team.size == 1:
        count = processes_for(folder.left, processes, device=loading.device, dtype=loading.dtype)
    with _Display(len(folder.checkpoints), progress) as display:
        display.begin(folder.skipped, folder.points.values(), max(count, team.size))
        if team.size > 1:
            outcomes = _measure_together(jobs, team, loading)
        else:
            outcomes = parallel(
                measure_checkpoint,
                jobs,
                processes=count,
                device=loading.device,
                name=_name_of,
                died=lambda job, why: Outcome(job.checkpoint, why),
            )
        with closing(outcomes):
            for outcome in outcomes:
                display.add(outcome, folder.finish(outcome))


def _measure_together(
    jobs: Sequence[Job], team: Team, loading: LoadOptions
) -> Generator[Outcome[Checkpoint], None, None]:
    """One checkpoint after another, each measured by all processes of the team."""
    device = device_of_process(loading.device)
    for job in jobs:
        yield measure_checkpoint(job, device, team)


def _measure_with_first(team: Team, loading: LoadOptions) -> Tracked:
    """What a process other than the first does: its share of each checkpoint."""

    def only_the_first() -> Any:
        raise AssertionError("the first process has other things to do")

    jobs: list[Job] = team.from_first(only_the_first)
    for _ in _measure_together(jobs, team, loading):
        pass
    return team.from_first(only_the_first)


def _name_of(job: Job) -> str:
    return str(job.checkpoint)


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
            self._bar.console.print(in_one_line(line))

    def begin(self, skipped: Sequence[Skipped], points: Collection[Point], processes: int) -> None:
        """What is left out, what is done already, and in how many processes the rest is."""
        for checkpoint in skipped:
            self._say(f"skipped {checkpoint}")
        self._done = len(points)
        self._bar.update(self._task, completed=self._done)
        left = self._total - self._done
        if self._done:
            self._say(f"{self._done} of {self._total} checkpoints are measured already")
        if left and processes > 1:
            self._say(f"{left} checkpoints in {processes} processes")

    def add(self, outcome: Outcome[Checkpoint], point: Point | None) -> None:
        """One checkpoint more."""
        self._done += 1
        self._bar.update(self._task, completed=self._done)
        what = f"failed: {outcome.reason}" if point is None else f"rho {_short(point.spearman)}"
        self._say(f"checkpoint {self._done} of {self._total}, {outcome.item}: {what}")


def _short(rho: Correlation) -> str:
    if rho.value is None:
        return f"undefined: {rho.reason}"
    return str(rho).partition(" permutation")[0].partition(" (")[0]
