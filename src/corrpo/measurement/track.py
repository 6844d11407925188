"""Measure every checkpoint of a training on the same samples, in parallel; to be stopped and gone on with."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corrpo.errors import in_one_line
from corrpo.jobs.console import Console
from corrpo.jobs.folder_lock import locked_folder
from corrpo.jobs.folder_tasks import fill_folders
from corrpo.jobs.outcome import Outcome
from corrpo.jobs.process_count import check_processes
from corrpo.jobs.progress_bar import progress_bar
from corrpo.jobs.versions import library_versions
from corrpo.jobs.workers import open_workers
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
    check_processes(keywords.processes, loading.device_map, keywords.cluster)
    claim = _claim(samples, reading, settings, loading)
    checkpoints, skipped = find_checkpoints(words, start=keywords.start, revision=loading.revision)
    with locked_folder(output):
        folder = TrackFolder(output, claim, skipped)
        folder.begin(folder.with_deleted(checkpoints), loading)
        jobs = [
            Job(checkpoint, output / checkpoint.key, samples, reading, loading, settings)
            for checkpoint in folder.left
        ]
        _measure_all(jobs, folder, keywords)
        return folder.end()


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


def _measure_all(jobs: Sequence[Job], folder: TrackFolder, keywords: TrackKeywords) -> None:
    with _Display(len(folder.checkpoints), keywords.progress) as display, ExitStack() as stack:
        if not jobs:
            display.begin(folder.skipped, folder.points.values(), 1)
            return
        loading, paths = narrow(keywords, LoadOptions), [jobs[0].samples]
        workers = stack.enter_context(
            open_workers(folder.left, keywords.processes, keywords.cluster, loading, paths=paths)
        )
        display.begin(folder.skipped, folder.points.values(), workers.count)
        outcomes = fill_folders(
            workers, measure_checkpoint, jobs, lost=lambda job, why: Outcome(job.checkpoint, why)
        )
        for _, outcome in stack.enter_context(closing(outcomes)):
            display.add(outcome, folder.finish(outcome))


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
        if point is None and self._total == 1:
            return  # the command's error tells why
        what = f"failed: {outcome.reason}" if point is None else f"rho {_short(point.spearman)}"
        self._say(f"checkpoint {self._done} of {self._total}, {outcome.item}: {what}")


def _short(rho: Correlation) -> str:
    if rho.value is None:
        return f"undefined: {rho.reason}"
    return str(rho).partition(" permutation")[0].partition(" (")[0]
