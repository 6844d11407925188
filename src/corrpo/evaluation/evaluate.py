"""Evaluate models or checkpoints on suites, piece by piece, so that it can stop and go on.

OUTPUT/KEY/SUITE is one evaluation; while it goes on it holds a part for each batch of generations and, once
all are written, a part for each batch of scores. source.json in OUTPUT/KEY tells what files the model was
read from: a finished evaluation whose model is as it was is not loaded again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from corrpo.errors import BadInputError, CorrpoError, in_one_line, require_packages
from corrpo.evaluation.checkpoint_evaluation import Job, evaluate_checkpoint
from corrpo.evaluation.options import EvaluateOptions
from corrpo.evaluation.results import (
    EVALUATION,
    EVALUATIONS,
    Evaluation,
    evaluation_folder,
    evaluations_table,
    load_evaluations,
)
from corrpo.evaluation.suites.suite import Suite
from corrpo.jobs.files import write_parquet
from corrpo.jobs.folder_lock import locked_by_team
from corrpo.jobs.outcome import Outcome
from corrpo.jobs.process_count import processes_for
from corrpo.jobs.process_pool import parallel
from corrpo.jobs.process_team import Team
from corrpo.jobs.torchrun import check_processes, device_of_process
from corrpo.measurement.checkpoint_measurement import CheckpointKeywords
from corrpo.models.checkpoints import Checkpoint, Skipped, find_checkpoints
from corrpo.models.generation.backend import find_backend
from corrpo.models.keywords import keywords_of, narrow
from corrpo.models.load_options import LoadOptions


@dataclass(frozen=True)
class Evaluated:
    """What a call of `evaluate` came to.

    Attributes:
        evaluations: those that are finished, by checkpoint and suite.
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
    output, processes, team = Path(keywords.output), keywords.processes, keywords.team or Team()
    options, loading = narrow(keywords, EvaluateOptions), narrow(keywords, LoadOptions)
    check_suites(suites, options)
    _check_processes(team, processes, loading, options)
    checkpoints, skipped = team.from_first(
        lambda: find_checkpoints(words, start=keywords.start, revision=loading.revision)
    )
    console = Console(stderr=True, quiet=not keywords.progress, soft_wrap=True, highlight=False, markup=False)
    for checkpoint in skipped:
        console.print(in_one_line(f"skipped {checkpoint}"))
    failed: list[Skipped] = []
    jobs = [Job(checkpoint, output, tuple(suites), loading, options) for checkpoint in checkpoints]
    with locked_by_team(output, team) as together:
        for outcome in _outcomes(jobs, together, processes, progress=keywords.progress):
            if outcome.reason is not None:
                failed.append(Skipped(outcome.item.name, outcome.reason))
            console.print(in_one_line(f"{outcome.item}: {outcome.reason or 'evaluated'}"))
        folders = [job.folder(suite) for job in jobs for suite in suites]
        evaluations = [Evaluation.load(folder) for folder in folders if (folder / EVALUATION).exists()]
        if not evaluations:
            raise CorrpoError(f"no checkpoint could be evaluated: {'; '.join(map(str, failed))}")
        if together.first:
            write_parquet(output / EVALUATIONS, evaluations_table(load_evaluations(output)))
    return Evaluated(tuple(evaluations), tuple(skipped), tuple(failed))


def _outcomes(
    jobs: Sequence[Job], team: Team, processes: int | None, *, progress: bool
) -> Iterator[Outcome[Checkpoint]]:
    """One evaluated checkpoint after another: by the whole team each, or by processes of their own."""
    loading = jobs[0].loading
    finished = team.from_first(lambda: {job.checkpoint.key: job.are_evaluated() for job in jobs})
    left = [job.checkpoint for job in jobs if not finished[job.checkpoint.key]]
    has_all_devices = loading.device_map is not None or find_backend(jobs[0].options.backend).is_multiprocess
    count = 1
    if left and team.size == 1 and not has_all_devices:
        count = processes_for(left, processes, device=loading.device, dtype=loading.dtype)
    show_progress = progress and count == 1 and team.first
    jobs = [
        replace(job, show_progress=show_progress, is_finished=finished[job.checkpoint.key]) for job in jobs
    ]
    if team.size == 1:
        yield from parallel(
            evaluate_checkpoint,
            jobs,
            processes=count,
            device=loading.device,
            died=lambda job, why: Outcome(job.checkpoint, why),
        )
        return
    device = device_of_process(loading.device)
    for job in jobs:
        yield evaluate_checkpoint(job, device, team)


def _check_processes(
    team: Team, processes: int | None, loading: LoadOptions, options: EvaluateOptions
) -> None:
    check_processes(team, processes, loading.device_map)
    if team.size > 1 and find_backend(options.backend).is_multiprocess:
        raise BadInputError(
            f"backend {options.backend!r} starts processes of its own, and {team.size} were started together "
            "already, as by torchrun: run it without torchrun, or take backend 'transformers'"
        )


def check_suites(suites: Sequence[Suite], options: EvaluateOptions) -> None:
    """Raise `BadInputError` on suites that cannot be evaluated together, or not with these options."""
    folders = [evaluation_folder("", suite.name) for suite in suites]
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
