"""Evaluate models or checkpoints on suites, piece by piece, so that it can stop and go on.

OUTPUT/KEY/SUITE is one evaluation; while it goes on it holds a part for each batch of generations and, once
all are written, a part for each batch of scores. source.json in OUTPUT/KEY tells what files the model was
read from: a finished evaluation whose model is as it was is not loaded again.
"""

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from corrpo.errors import BadInputError, CorrpoError, require_packages
from corrpo.evaluation.generations import generations
from corrpo.evaluation.options import EvaluateOptions
from corrpo.evaluation.results import (
    EVALUATION,
    EVALUATIONS,
    Evaluation,
    evaluation_folder,
    evaluations_table,
    load_evaluations,
)
from corrpo.evaluation.scoring import counts, estimates
from corrpo.evaluation.suites.suite import Suite
from corrpo.jobs.files import read_json, write_json, write_parquet
from corrpo.jobs.folder_lock import locked_by_team
from corrpo.jobs.outcome import Outcome
from corrpo.jobs.process_count import processes_for
from corrpo.jobs.process_pool import parallel
from corrpo.jobs.process_team import Team
from corrpo.jobs.run_folder import RunFolder
from corrpo.jobs.torchrun import check_processes, device_of_process
from corrpo.jobs.versions import library_versions
from corrpo.measurement.checkpoint_measurement import CheckpointKeywords
from corrpo.models.checkpoints import Checkpoint, Skipped, find_checkpoints
from corrpo.models.generation.backend import Engine, find_backend, open_backend
from corrpo.models.keywords import keywords_of, narrow
from corrpo.models.load_options import LoadOptions
from corrpo.models.loading import quiet_loading
from corrpo.models.source_stamp import SOURCE, source_stamp


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


@dataclass(frozen=True)
class _Job:
    """One checkpoint and all that a process needs to evaluate it."""

    checkpoint: Checkpoint
    output: Path
    suites: tuple[Suite, ...]
    loading: LoadOptions
    options: EvaluateOptions
    shown: bool
    finished: bool
    """All suites are there, of a model whose files are as they were."""


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
        BadInputError: words, suites or options that cannot be used, before anything is loaded; math-verify is
            not installed and needed.
        OutputFolderError: `output` holds evaluations with other settings (named), or another process writes.
        CorrpoError: not one checkpoint could be evaluated.
    """
    output, processes, team = Path(keywords.output), keywords.processes, keywords.team or Team()
    options, loading = narrow(keywords, EvaluateOptions), narrow(keywords, LoadOptions)
    _check_suites(suites, options)
    check_processes(team, processes, loading.device_map)
    _check_backend(team, options)
    if loading.device_map is not None or find_backend(options.backend).is_multiprocess:
        processes = 1
    checkpoints, skipped = team.from_first(
        lambda: find_checkpoints(words, start=keywords.start, revision=loading.revision)
    )
    console = Console(stderr=True, quiet=not keywords.progress, soft_wrap=True, highlight=False, markup=False)
    for each in skipped:
        console.print(f"skipped {each}")
    failed: list[Skipped] = []
    with locked_by_team(output, team) as together:
        finished = together.from_first(
            lambda: {each.key: _is_finished(each, output, suites, loading) for each in checkpoints}
        )
        left = [each for each in checkpoints if not finished[each.key]]
        alone = bool(left) and together.size == 1
        count = processes_for(left, processes, device=loading.device, dtype=loading.dtype) if alone else 1
        shown = keywords.progress and count == 1 and together.first
        jobs = [
            _Job(each, output, tuple(suites), loading, options, shown, finished[each.key])
            for each in checkpoints
        ]
        for outcome in _outcomes(jobs, together, count, loading.device):
            if outcome.reason is not None:
                failed.append(Skipped(outcome.item.name, outcome.reason))
            console.print(f"{outcome.item}: {outcome.reason or 'evaluated'}")
        found = [
            Evaluation.load(output / evaluation_folder(each.key, suite.name))
            for each in checkpoints
            for suite in suites
            if (output / evaluation_folder(each.key, suite.name) / EVALUATION).exists()
        ]
        if not found:
            raise CorrpoError(f"no checkpoint could be evaluated; the first failed so: {failed[0]}")
        if together.first:
            write_parquet(output / EVALUATIONS, evaluations_table(load_evaluations(output)))
    return Evaluated(tuple(found), tuple(skipped), tuple(failed))


def _outcomes(jobs: Sequence[_Job], team: Team, processes: int, device: str) -> Iterator[Outcome[Checkpoint]]:
    """One evaluated checkpoint after another: by the whole team each, or by processes of their own."""
    if team.size == 1:
        yield from parallel(_evaluate_checkpoint, jobs, processes=processes, device=device, name=_name_of)
        return
    own = device_of_process(device)
    for job in jobs:
        yield _evaluate_checkpoint(job, own, team)


def _check_backend(team: Team, options: EvaluateOptions) -> None:
    if team.size > 1 and find_backend(options.backend).is_multiprocess:
        raise BadInputError(
            f"backend {options.backend!r} starts processes of its own, and {team.size} were started together "
            "already, as by torchrun: run it without torchrun, or take backend 'transformers'"
        )


def _name_of(job: _Job) -> str:
    return str(job.checkpoint)


def _check_suites(suites: Sequence[Suite], options: EvaluateOptions) -> None:
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


def _is_finished(checkpoint: Checkpoint, output: Path, suites: Sequence[Suite], loading: LoadOptions) -> bool:
    """Whether all suites are there and the model's files are as they were when it was evaluated."""
    if not all(
        (output / evaluation_folder(checkpoint.key, suite.name) / EVALUATION).exists() for suite in suites
    ):
        return False
    source = output / checkpoint.key / SOURCE
    known = read_json(source) if source.exists() else None
    return known is not None and known == source_stamp(checkpoint, loading)


def _evaluate_checkpoint(job: _Job, device: str, team: Team | None = None) -> Outcome[Checkpoint]:
    """Evaluate one checkpoint on every suite in this process, or in all of a team."""
    team = team or Team()
    gc.collect()  # of a large model or engine before, as much as may stay in cycles
    try:
        with team.together() as together:
            _evaluate_suites(job, device, together)
    except CorrpoError as error:
        team.check()  # what has ended the job is no failure of this checkpoint
        return Outcome(job.checkpoint, str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        told = str(error).splitlines()[0] if str(error) else "no memory left"
        return Outcome(
            job.checkpoint,
            f"{told}: try fewer --processes; or a smaller --batch-size, with another --output",
        )
    return Outcome(job.checkpoint)


def _evaluate_suites(job: _Job, device: str, team: Team) -> None:
    stamp = team.from_first(lambda: source_stamp(job.checkpoint, job.loading))
    if job.finished:
        for suite in job.suites:
            folder = job.output / evaluation_folder(job.checkpoint.key, suite.name)
            _evaluate_suite(job, team, read_json(folder / EVALUATION)["model"], stamp, suite, None)
        return
    with quiet_loading():
        engine = open_backend(job.options.backend, job.checkpoint, job.loading, device)
    model = engine.describe()
    for suite in job.suites:
        _evaluate_suite(job, team, model, stamp, suite, engine)
    if stamp is not None and team.first:
        write_json(job.output / job.checkpoint.key / SOURCE, stamp)


def _evaluate_suite(
    job: _Job,
    team: Team,
    model: dict[str, Any],
    stamp: dict[str, Any] | None,
    suite: Suite,
    engine: Engine | None,
) -> None:
    """One evaluation; without an engine only that a finished one has these settings.

    Where the engine tells no digest of the weights, the stamp of their files stands for it.
    """
    settings = _settings(suite, job.options)
    if job.loading.quantization != "none":
        settings["quantization"] = job.loading.quantization
    described = {
        "name": suite.name,
        "source": suite.source,
        "revision": suite.revision,
        "digest": suite.digest,
        "problems": len(suite.problems),
    }
    claim = {
        "model": model if model["digest"] is not None else model | {"weights": stamp},
        "suite": described,
        "settings": settings,
        "versions": _versions(suite, job.options),
    }
    with RunFolder(
        job.output / evaluation_folder(job.checkpoint.key, suite.name), claim, team
    ).claimed() as run:
        if run.team.from_first((run.path / EVALUATION).exists):
            if run.team.first:
                run.drop_parts()
            return
        if engine is None:
            raise CorrpoError(f"{run.path} lost its {EVALUATION} while it was read")
        rows = generations(str(job.checkpoint), suite, settings, engine, run, shown=job.shown)
        if rows is None:
            return
        evaluation = Evaluation(
            model=model,
            checkpoint={
                "stage": job.checkpoint.stage,
                "step": job.checkpoint.step,
                "at": job.checkpoint.global_step,
                "key": job.checkpoint.key,
            },
            suite=described,
            settings=settings,
            versions=claim["versions"],
            estimates=estimates(suite, rows, settings["k"], job.options.confidence),
            counts=counts(rows),
            generations=rows,
        )
        evaluation.save(run.path)
        run.drop_parts()


def _settings(suite: Suite, options: EvaluateOptions) -> dict[str, Any]:
    """The options with the suite's own values where none were given."""
    n = options.n or suite.n
    return options.as_dict() | {
        "n": n,
        "k": sorted(set(options.k)) or sorted({1, n}),
        "prompt": options.prompt or suite.prompt,
        "batch_size": options.batch,
        "check": suite.check,
    }


def _versions(suite: Suite, options: EvaluateOptions) -> dict[str, str]:
    found = library_versions()
    scorer = ["reasoning-gym"] if suite.check == "reasoning-gym" else []
    for name in ("math-verify", *scorer, *find_backend(options.backend).distributions):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
