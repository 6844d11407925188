"""Evaluate models or checkpoints on suites, piece by piece, so that it can stop and go on.

OUTPUT/KEY/SUITE is one evaluation; while it goes on it holds a part for each batch of generations and, once
all are written, a part for each batch of scores. source.json in OUTPUT/KEY tells what files the model was
read from: a finished evaluation whose model is as it was is not loaded again.
"""

from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from corrpo.errors import BadInputError, CorrpoError, in_one_line, require_packages
from corrpo.evaluation.checkpoint_evaluation import Job, Progress, evaluate_checkpoint
from corrpo.evaluation.options import EvaluateOptions
from corrpo.evaluation.results import (
    EVALUATIONS,
    Evaluation,
    evaluation_folder,
    evaluations_table,
    load_evaluations,
    suite_folder,
)
from corrpo.evaluation.suites.suite import Suite
from corrpo.jobs.console import Console
from corrpo.jobs.files import write_parquet
from corrpo.jobs.folder_lock import locked_folder
from corrpo.jobs.folder_tasks import fill_folders
from corrpo.jobs.outcome import Outcome
from corrpo.jobs.process_count import check_processes
from corrpo.jobs.progress_bar import progress_bar
from corrpo.jobs.workers import ThisProcess, open_workers
from corrpo.measurement.checkpoint_measurement import CheckpointKeywords
from corrpo.models.checkpoints import Skipped, find_checkpoints
from corrpo.models.generation.backend import find_backend
from corrpo.models.keywords import keywords_of, narrow
from corrpo.models.load_options import LoadOptions


@dataclass(frozen=True)
class Evaluated:
    """What a call of `evaluate` came to.

    Attributes:
        evaluations: those with these settings and weights that are finished, by checkpoint and suite.
        skipped: checkpoints that are not whole, with the reason.
        failed: checkpoints that could not be evaluated, with the reason; the next call tries them again.
    """

    evaluations: tuple[Evaluation, ...]
    skipped: tuple[Skipped, ...]
    failed: tuple[Skipped, ...]


@dataclass(frozen=True, kw_only=True)
class EvaluateKeywords(EvaluateOptions, CheckpointKeywords):
    """The keywords of `evaluate`."""

    processes: int | None = 1
    """Checkpoints evaluated at once; None goes by cores or GPUs and free memory. One where a model is spread
    over all GPUs, or the backend starts processes of its own."""


@keywords_of(EvaluateKeywords)
def evaluate(words: Sequence[str], suites: Sequence[Suite], keywords: EvaluateKeywords) -> Evaluated:
    """Evaluate every model or checkpoint that words name on every suite.

    Args:
        words: [STAGE[:STEP]=]SOURCE each; see `find_checkpoints`. A model that is no checkpoint is called by
            STAGE.
        suites: see `load_suite`.
        keywords: given as the keywords below.

    Returns:
        The evaluations of this call, and the checkpoints that were skipped or failed. evaluations.parquet
        holds those of earlier calls with the same output too.

    Raises:
        BadInputError: words, suites or options that cannot be used, before anything is loaded.
        OutputFolderError: `output` holds evaluations with other settings (named), or another process writes.
        CorrpoError: not one checkpoint could be evaluated, or math-verify is not installed and needed.
    """
    output = Path(keywords.output)
    options, loading = narrow(keywords, EvaluateOptions), narrow(keywords, LoadOptions)
    check_suites(suites, options)
    check_processes(keywords.processes, loading.device_map, keywords.cluster)
    checkpoints, skipped = find_checkpoints(words, start=keywords.start, revision=loading.revision)
    console = Console(stderr=True, quiet=not keywords.progress, soft_wrap=True, highlight=False, markup=False)
    for checkpoint in skipped:
        console.print(in_one_line(f"skipped {checkpoint}"))
    failed: list[Skipped] = []
    done: set[str] = set()
    jobs = [
        Job(checkpoint, output / checkpoint.key, tuple(suites), loading, options)
        for checkpoint in checkpoints
    ]
    with locked_folder(output), closing(_outcomes(jobs, keywords, console)) as outcomes:
        for job in jobs:
            with suppress(BadInputError):  # of a damaged file, which costs its own checkpoint alone
                job.check_folders()
        for outcome in outcomes:
            checkpoint = outcome.item.checkpoint
            done.update(evaluation_folder(checkpoint.key, suite) for suite in outcome.item.suites)
            if outcome.reason is not None:
                failed.append(Skipped(checkpoint.name, outcome.reason))
            if outcome.reason is None or len(jobs) > 1:  # the error below tells why
                console.print(in_one_line(f"{checkpoint}: {outcome.reason or 'evaluated'}"))
        folders = [evaluation_folder(job.checkpoint.key, suite.name) for job in jobs for suite in suites]
        evaluations = [Evaluation.load(output / folder) for folder in folders if folder in done]
        if not evaluations:
            raise CorrpoError(f"no checkpoint could be evaluated: {'; '.join(map(str, failed))}")
        write_parquet(output / EVALUATIONS, evaluations_table(load_evaluations(output)))
    return Evaluated(tuple(evaluations), tuple(skipped), tuple(failed))


def _outcomes(
    jobs: Sequence[Job], keywords: EvaluateKeywords, console: Console
) -> Generator[Outcome[Progress], None, None]:
    """One evaluated checkpoint after another: first those that are finished, which no model is loaded for."""
    jobs = [replace(job, is_finished=job.are_evaluated()) for job in jobs]
    for _, outcome in ThisProcess().map(evaluate_checkpoint, [job for job in jobs if job.is_finished]):
        yield outcome
    left = [job for job in jobs if not job.is_finished]
    if not left:
        return
    loading = left[0].loading
    devices = None if find_backend(left[0].options.backend).is_multiprocess else 1
    with open_workers(
        [job.checkpoint for job in left], keywords.processes, keywords.cluster, loading, devices=devices
    ) as workers:
        alone = workers.count == 1 and workers.share_folders
        left = [replace(job, show_progress=keywords.progress and alone) for job in left]
        outcomes = fill_folders(
            workers, evaluate_checkpoint, left, lost=lambda job, why: Outcome(Progress(job.checkpoint), why)
        )
        bar = progress_bar(shown=keywords.progress and not alone, transient=True, console=console)
        done = bar.add_task("checkpoints", total=len(left))
        if workers.count > 1:
            console.print(f"{len(left)} checkpoints in {workers.count} processes")
        with bar, closing(outcomes):
            for _, outcome in outcomes:
                bar.advance(done)
                yield outcome


def check_suites(suites: Sequence[Suite], options: EvaluateOptions) -> None:
    """Raise `BadInputError` on suites that cannot be evaluated together, or not with these options."""
    folders = [suite_folder(suite.name) for suite in suites]
    if not suites or len(set(folders)) < len(folders):
        raise BadInputError(f"suites {[suite.name for suite in suites]}: expected one or more, each once")
    if any(suite.check == "math" for suite in suites):
        require_packages("checking answers in mathematics", "math_verify", extra="train")
    for suite in suites:
        n = options.n or suite.n
        if any(k > n for k in options.k):
            raise BadInputError(
                f"k={list(options.k)}: {suite.name} has {n} generations a problem; give --n {max(options.k)}"
            )
