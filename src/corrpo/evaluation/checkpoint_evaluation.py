"""One checkpoint evaluated on its suites; what is finished stays."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from corrpo.errors import CorrpoError
from corrpo.evaluation.options import EvaluateOptions
from corrpo.evaluation.results import EVALUATION, Evaluation, is_evaluated, suite_folder
from corrpo.evaluation.scored_generations import scored_generations
from corrpo.evaluation.scoring import counts, estimates
from corrpo.evaluation.suites.suite import Suite
from corrpo.jobs.files import read_json, write_json
from corrpo.jobs.outcome import Outcome, outcome_of
from corrpo.jobs.run_folder import RunFolder, check_output, is_whole
from corrpo.jobs.versions import library_versions
from corrpo.models.checkpoints import Checkpoint
from corrpo.models.generation.backend import Engine, find_backend, open_backend
from corrpo.models.load_options import LoadOptions
from corrpo.models.loading import quiet_loading
from corrpo.models.source_stamp import SOURCE, source_stamp


@dataclass(frozen=True)
class Job:
    """One checkpoint and all that a process needs to evaluate it, into FOLDER/SUITE for each suite."""

    checkpoint: Checkpoint
    folder: Path
    """OUTPUT/KEY."""
    suites: tuple[Suite, ...]
    loading: LoadOptions
    options: EvaluateOptions
    show_progress: bool = False
    is_finished: bool = False
    """All suites are there, of a model whose files are as they were; see `are_evaluated`."""

    def __str__(self) -> str:
        return str(self.checkpoint)

    def folder_of(self, suite: Suite) -> Path:
        """That of the evaluation on a suite."""
        return self.folder / suite_folder(suite.name)

    def are_evaluated(self) -> bool:
        """Whether all suites are there and the model's files are as they were when it was evaluated."""
        if not all([is_evaluated(self.folder_of(suite)) for suite in self.suites]):
            return False
        source = self.folder / SOURCE
        is_known = source.exists() and is_whole(partial(read_json, source), source)
        known = read_json(source) if is_known else None
        return known is not None and known == source_stamp(self.checkpoint, self.loading)

    def check_folders(self) -> None:
        """See that each suite's folder is new, or was begun with these settings.

        Raises:
            OutputFolderError: it holds an evaluation with other settings (named) or other files, or cannot be
                written to.
        """
        for suite in self.suites:
            check_output(self.folder_of(suite), _known_before_loading(self, suite))


@dataclass
class Progress:
    """How far a checkpoint has come: the names of the suites whose evaluations of its weights are there."""

    checkpoint: Checkpoint
    suites: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return str(self.checkpoint)


def evaluate_checkpoint(job: Job) -> Outcome[Progress]:
    """Evaluate one checkpoint on every suite; why it failed if it did."""
    gc.collect()  # of a large model or engine before, as much as may stay in cycles
    out_of_memory = "try fewer --processes; or a smaller --batch-size, with another --output"
    with outcome_of(Progress(job.checkpoint), out_of_memory=out_of_memory) as outcome:
        outcome.item.suites.extend(_evaluated_suites(job))
    return outcome


def _evaluated_suites(job: Job) -> Iterator[str]:
    """Evaluate on one suite after another; the name of each, once its evaluation is there."""
    stamp = source_stamp(job.checkpoint, job.loading)
    if job.is_finished:
        for suite in job.suites:
            model = read_json(job.folder_of(suite) / EVALUATION)["model"]
            _evaluate_suite(job, model, stamp, suite, None)
            yield suite.name
        return
    job.check_folders()
    with quiet_loading():
        engine = open_backend(job.options.backend, job.checkpoint, job.loading, job.loading.device)
    model = engine.describe()
    for suite in job.suites:
        _evaluate_suite(job, model, stamp, suite, engine)
        yield suite.name
    if stamp is not None:
        write_json(job.folder / SOURCE, stamp)


def _evaluate_suite(
    job: Job,
    model: dict[str, Any],
    stamp: dict[str, Any] | None,
    suite: Suite,
    engine: Engine | None,
) -> None:
    """One evaluation; without an engine only a check that a finished one has these settings.

    Where the engine gives no digest of the weights, the stamp of their files stands for it.
    """
    settings, described = suite_settings(job, suite), job.checkpoint.as_dict()
    checkpoint = {name: described[name] for name in ("stage", "step", "at", "key")}
    known = _known_before_loading(job, suite)
    claim = {"model": model if model["digest"] is not None else model | {"weights": stamp}, **known}
    with RunFolder(job.folder_of(suite), claim).claimed() as run:
        if is_evaluated(run.path):
            _write_checkpoint(run.path / EVALUATION, checkpoint)
            run.drop_parts()
            return
        if engine is None:
            raise CorrpoError(f"{run.path} lost its {EVALUATION} while it was read")
        rows = scored_generations(
            str(job.checkpoint), suite, settings, engine, run, show_progress=job.show_progress
        )
        evaluation = Evaluation(
            model=model,
            checkpoint=checkpoint,
            suite=claim["suite"],
            settings=settings,
            versions=claim["versions"],
            estimates=estimates(suite, rows, settings["k"], job.options.confidence),
            counts=counts(rows),
            generations=rows,
        )
        evaluation.save(run.path)
        run.drop_parts()


def _write_checkpoint(path: Path, checkpoint: dict[str, Any]) -> None:
    """Have a finished evaluation say where this training has its model: another, that it was copied from, may
    have it at another step."""
    record = read_json(path)
    if record["checkpoint"] != checkpoint:
        write_json(path, record | {"checkpoint": checkpoint})


def _known_before_loading(job: Job, suite: Suite) -> dict[str, Any]:
    """What of an evaluation's settings does not need its model."""
    return {
        "suite": suite.as_dict(),
        "settings": suite_settings(job, suite),
        "versions": _versions(suite, job.options),
    }


def suite_settings(job: Job, suite: Suite) -> dict[str, Any]:
    """The options with the suite's own values where none were given."""
    options = job.options
    n = options.n or suite.n
    settings = options.as_dict() | {
        "n": n,
        "k": sorted(set(options.k)) or sorted({1, n}),
        "prompt": options.prompt or suite.prompt,
        "batch_size": options.batch,
        "check": suite.check,
    }
    if job.loading.quantization != "none":
        settings["quantization"] = job.loading.quantization
    return settings


def _versions(suite: Suite, options: EvaluateOptions) -> dict[str, str]:
    versions = library_versions()
    scorer = ["reasoning-gym"] if suite.check == "reasoning-gym" else []
    for name in ("math-verify", *scorer, *find_backend(options.backend).distributions):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
