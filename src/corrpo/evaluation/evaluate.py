"""Evaluate models or checkpoints on suites, piece by piece, so that it can stop and go on.

OUTPUT/KEY/SUITE is one evaluation; while it goes on it holds a part for each batch of generations and, once
all are written, a part for each batch of scores. source.json in OUTPUT/KEY tells what files the model was
read from: a finished evaluation whose model is as it was is not loaded again.
"""

import gc
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import torch
from rich.console import Console

from corrpo.dynamics.checkpoints import Checkpoint, Skipped, find_checkpoints
from corrpo.dynamics.jobs import SOURCE, Loading, Outcome, quiet_loading, source_stamp
from corrpo.dynamics.processes import parallel, processes_for
from corrpo.errors import BadInputError, CorrpoError, NonFiniteError
from corrpo.evaluation.backends import Backend, open_backend, text_of
from corrpo.evaluation.options import EvaluateOptions
from corrpo.evaluation.results import (
    EVALUATION,
    EVALUATIONS,
    GENERATIONS_SCHEMA,
    Evaluation,
    evaluations_table,
    load_evaluations,
)
from corrpo.evaluation.scoring import counts, estimates, scores
from corrpo.evaluation.suites import Problem, Suite
from corrpo.measurement.summary import versions
from corrpo.progress import progress_bar
from corrpo.samples import Sample, encode_prompt
from corrpo.store import RunFolder, locked, read_json, write_json, write_parquet

SCORED_AT_ONCE = 256
"""Generations whose scores make a part."""


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
    folder: Path
    suites: tuple[Suite, ...]
    loading: Loading
    options: EvaluateOptions
    shown: bool
    finished: bool
    """All suites are there, of a model whose files are as they were."""


def evaluate(
    words: Sequence[str],
    suites: Sequence[Suite],
    *,
    output: Path | str,
    start: str | None = None,
    processes: int | None = 1,
    loading: Loading | None = None,
    options: EvaluateOptions | None = None,
    progress: bool = False,
) -> Evaluated:
    """Evaluate every model or checkpoint that words name on every suite.

    Args:
        words: [STAGE[:STEP]=]SOURCE each; see `find_checkpoints`. A model that is no checkpoint is called by
            STAGE.
        suites: see `load_suite`.
        output: a folder; the same call goes on where it stopped.
        start: the model that training began from, step 0 of the first stage.
        processes: checkpoints evaluated at once; None goes by cores or GPUs and free memory.
        loading: device, dtype and so on.
        options: the defaults if not given.
        progress: show what is being done, on standard error.

    Returns:
        The evaluations of this call, and the checkpoints that were skipped or failed. evaluations.parquet
        holds those of earlier calls with the same output too.

    Raises:
        BadInputError: words, suites or options that cannot be used, before anything is loaded.
        OutputFolderError: `output` holds evaluations with other settings (named), or another process writes.
        CorrpoError: not one checkpoint could be evaluated, or math-verify is not installed and needed.
    """
    output, loading, options = Path(output), loading or Loading(), options or EvaluateOptions()
    _check_suites(suites, options)
    checkpoints, skipped = find_checkpoints(words, start=start)
    console = Console(stderr=True, quiet=not progress, soft_wrap=True, highlight=False, markup=False)
    for each in skipped:
        console.print(f"skipped {each}")
    failed: list[Skipped] = []
    with locked(output):
        finished = {each.key: _is_finished(each, output / each.key, suites, loading) for each in checkpoints}
        left = [each for each in checkpoints if not finished[each.key]]
        count = processes_for(left, processes, device=loading.device, dtype=loading.dtype) if left else 1
        shown = progress and count == 1
        jobs = [
            _Job(each, output / each.key, tuple(suites), loading, options, shown, finished[each.key])
            for each in checkpoints
        ]
        for outcome in parallel(
            _evaluate_checkpoint, jobs, processes=count, device=loading.device, name=_name_of
        ):
            if outcome.reason is not None:
                failed.append(Skipped(outcome.checkpoint.name, outcome.reason))
            console.print(f"{outcome.checkpoint}: {outcome.reason or 'evaluated'}")
        found = [
            Evaluation.load(output / each.key / folder_name(suite.name))
            for each in checkpoints
            for suite in suites
            if (output / each.key / folder_name(suite.name) / EVALUATION).exists()
        ]
        if not found:
            raise CorrpoError(f"no checkpoint could be evaluated; the first failed so: {failed[0]}")
        write_parquet(output / EVALUATIONS, evaluations_table(load_evaluations(output)))
    return Evaluated(tuple(found), tuple(skipped), tuple(failed))


def folder_name(suite: str) -> str:
    """A suite's name as that of a folder.

    >>> folder_name("rg:chain_sum")
    'rg-chain_sum'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", suite).strip("-.") or "suite"


def _name_of(job: _Job) -> str:
    return str(job.checkpoint)


def _check_suites(suites: Sequence[Suite], options: EvaluateOptions) -> None:
    names = [folder_name(suite.name) for suite in suites]
    if not suites or len(set(names)) < len(names):
        raise BadInputError(f"suites {[suite.name for suite in suites]}: expected one or more, each once")
    if any(suite.check == "math" for suite in suites) and find_spec("math_verify") is None:
        raise CorrpoError(
            "answers in mathematics are checked by math-verify, which is not installed: "
            "pip install 'corrpo[train]'"
        )
    for suite in suites:
        n = options.n or suite.n
        if any(k > n for k in options.k):
            raise BadInputError(
                f"k={list(options.k)}: {suite.name} has {n} generations a problem; give --n {max(options.k)}"
            )


def _is_finished(checkpoint: Checkpoint, folder: Path, suites: Sequence[Suite], loading: Loading) -> bool:
    """Whether all suites are there and the model's files are as they were when it was evaluated."""
    if not all((folder / folder_name(suite.name) / EVALUATION).exists() for suite in suites):
        return False
    known = read_json(folder / SOURCE) if (folder / SOURCE).exists() else None
    return known is not None and known == source_stamp(checkpoint, loading)


def _evaluate_checkpoint(job: _Job, device: str) -> Outcome:
    """Evaluate one checkpoint on every suite in this process."""
    gc.collect()  # of a large model or engine before, as much as may stay in cycles
    try:
        stamp = source_stamp(job.checkpoint, job.loading)
        if not job.finished:
            with quiet_loading():
                backend = open_backend(job.options.backend, job.checkpoint, job.loading, device)
            model = backend.describe()
            for suite in job.suites:
                _evaluate_suite(job, model, stamp, suite, backend)
            if stamp is not None:
                write_json(job.folder / SOURCE, stamp)
        else:
            for suite in job.suites:
                folder = job.folder / folder_name(suite.name)
                _evaluate_suite(job, read_json(folder / EVALUATION)["model"], stamp, suite, None)
    except CorrpoError as error:
        return Outcome(job.checkpoint, str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        told = str(error).splitlines()[0] if str(error) else "no memory left"
        return Outcome(
            job.checkpoint,
            f"{told}: try fewer --processes; or a smaller --batch-size, with another --output",
        )
    return Outcome(job.checkpoint)


def _evaluate_suite(
    job: _Job,
    model: dict[str, Any],
    stamp: dict[str, Any] | None,
    suite: Suite,
    backend: Backend | None,
) -> None:
    """One evaluation; without a backend only that a finished one has these settings.

    Where the backend tells no digest of the weights, the stamp of their files stands for it.
    """
    settings = _settings(suite, job.options)
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
    with RunFolder(job.folder / folder_name(suite.name), claim).claimed() as run:
        if (run.path / EVALUATION).exists():
            run.drop_parts()
            return
        if backend is None:
            raise CorrpoError(f"{run.path} lost its {EVALUATION} while it was read")
        generations = _generations(job, suite, settings, backend, run)
        evaluation = Evaluation(
            model=model,
            checkpoint={
                "stage": job.checkpoint.stage,
                "step": job.checkpoint.step,
                "at": job.checkpoint.at,
                "key": job.checkpoint.key,
            },
            suite=described,
            settings=settings,
            versions=claim["versions"],
            estimates=estimates(suite, generations, settings["k"], job.options.confidence),
            counts=counts(generations),
            generations=generations,
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
    found = versions()
    scorer = ["reasoning-gym"] if suite.check == "reasoning-gym" else []
    for name in ("math-verify", *scorer, *(["vllm"] if options.backend == "vllm" else [])):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _generations(
    job: _Job, suite: Suite, settings: dict[str, Any], backend: Backend, run: RunFolder
) -> pl.DataFrame:
    """Every generation with its score."""
    prompts = {each.id: _encoded(each, suite, settings, backend) for each in suite.problems}
    asked = [(each, sample) for each in suite.problems for sample in range(settings["n"])]
    size = settings["batch_size"]
    with progress_bar(shown=job.shown, transient=True) as bar:
        task = bar.add_task(f"{job.checkpoint}, {suite.name}: generations", total=len(asked))
        written = []
        for number, start in enumerate(range(0, len(asked), size)):
            batch = asked[start : start + size]
            make = lambda batch=batch, number=number: _respond(backend, batch, prompts, settings, number)  # noqa: E731
            written.append(run.part_once(f"generations-{number:06d}", make))
            bar.advance(task, len(batch))
        rows = pl.concat(written)
        task = bar.add_task(f"{job.checkpoint}, {suite.name}: scores", total=len(asked))
        scored = []
        for number, start in enumerate(range(0, len(asked), SCORED_AT_ONCE)):
            batch = asked[start : start + SCORED_AT_ONCE]
            responses = rows["response"][start : start + SCORED_AT_ONCE].to_list()
            make = lambda batch=batch, responses=responses: _score(suite, batch, responses)  # noqa: E731
            scored.append(run.part_once(f"scores-{number:06d}", make))
            bar.advance(task, len(batch))
    return pl.concat([rows, pl.concat(scored)], how="horizontal").select(
        pl.col(name).cast(kind) for name, kind in GENERATIONS_SCHEMA.items()
    )


def _encoded(problem: Problem, suite: Suite, settings: dict[str, Any], backend: Backend) -> list[int]:
    """The prompt's token ids.

    Raises:
        BadInputError: it leaves no room in the model's context; names the problem.
    """
    asked = problem.problem
    text = settings["prompt"].format(problem=asked) if isinstance(asked, str) else asked
    where = f"suite {suite.name}, problem {problem.id}"
    ids = encode_prompt(Sample(problem.id, text, where=where), backend.tokenizer, settings["template"])
    if backend.context is not None and len(ids) + 1 > backend.context:
        raise BadInputError(
            f"{where}: its prompt of {len(ids)} tokens does not fit into the model's context of "
            f"{backend.context}; leave it out, or give a shorter --prompt"
        )
    return ids


def _respond(
    backend: Backend,
    batch: Sequence[tuple[Problem, int]],
    prompts: dict[str, list[int]],
    settings: dict[str, Any],
    number: int,
) -> pl.DataFrame:
    """One batch of generations."""
    encoded = [prompts[problem.id] for problem, _ in batch]
    context = backend.context
    most = settings["max_new_tokens"]
    room = [most if context is None else min(most, context - len(ids)) for ids in encoded]
    try:
        answers = backend.respond(
            encoded,
            max(room),
            settings["temperature"],
            settings["top_p"],
            settings["seed"] * 1_000_003 + number,
        )
    except NonFiniteError as error:
        place = "" if error.row is None else f"problem {batch[error.row][0].id}: "
        raise NonFiniteError(f"{place}{error}") from error
    answers = [answer.within(limit) for answer, limit in zip(answers, room, strict=True)]
    texts = [_storable(text_of(backend, answer)) for answer in answers]
    return pl.DataFrame(
        {
            "problem": [problem.id for problem, _ in batch],
            "sample": [sample for _, sample in batch],
            "prompt": [_told(problem, settings) for problem, _ in batch],
            "response": texts,
            "n_tokens": [len(answer.ids) for answer in answers],
            "finished": [answer.finished for answer in answers],
            "gold": [problem.answer for problem, _ in batch],
        },
        schema={name: GENERATIONS_SCHEMA[name] for name in _WRITTEN},
    )


_WRITTEN = ("problem", "sample", "prompt", "response", "n_tokens", "finished", "gold")


def _told(problem: Problem, settings: dict[str, Any]) -> str:
    """The prompt before the chat template: text, or chat messages as JSON."""
    if isinstance(problem.problem, str):
        return settings["prompt"].format(problem=problem.problem)
    return json.dumps(problem.problem, ensure_ascii=False)


def _storable(text: str) -> str:
    """Text that Parquet can hold: a lone surrogate becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _score(suite: Suite, batch: Sequence[tuple[Problem, int]], responses: Sequence[str]) -> pl.DataFrame:
    found = scores(suite, [problem for problem, _ in batch], responses)
    return pl.DataFrame(
        {
            "answer": [each.answer for each in found],
            "correct": [each.correct for each in found],
            "verdict": [each.verdict for each in found],
        },
        schema={name: GENERATIONS_SCHEMA[name] for name in ("answer", "correct", "verdict")},
    )
