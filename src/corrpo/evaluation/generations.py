"""The generations of one evaluation and their scores, a part for each batch of them."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl

from corrpo.errors import BadInputError
from corrpo.evaluation.results import GENERATIONS_SCHEMA
from corrpo.evaluation.scoring import scores
from corrpo.evaluation.suites.suite import Problem, Suite
from corrpo.jobs.progress_bar import progress_bar
from corrpo.jobs.run_folder import Part, RunFolder
from corrpo.models.generation.backend import Engine
from corrpo.models.generation.batches import respond_to_batch, response_text
from corrpo.samples import Sample, encode_prompt

SCORED_AT_ONCE = 256
"""Generations whose scores make a part."""


def generations(
    name: str, suite: Suite, settings: dict[str, Any], engine: Engine, run: RunFolder, *, shown: bool
) -> pl.DataFrame | None:
    """Every generation of a model on a suite with its score, made by all processes of the run's team.

    Args:
        name: of the model, for the progress bar.
        suite: the problems.
        settings: n, prompt and so on, none of them missing.
        engine: writes the responses.
        run: the folder of the parts.
        shown: show the progress bar.

    Returns:
        A row each, in the columns of `GENERATIONS_SCHEMA`; None on processes other than the first.
    """
    prompts = {each.id: _encoded(each, suite, settings, engine) for each in suite.problems}
    asked = [(each, sample) for each in suite.problems for sample in range(settings["n"])]
    size = settings["batch_size"]
    with progress_bar(shown=shown, transient=True) as bar:
        what = f"{name}, {suite.name}"
        parts = [
            Part(
                f"generations-{number:06d}",
                partial(_respond, engine, asked[start : start + size], prompts, settings, number),
                len(asked[start : start + size]),
            )
            for number, start in enumerate(range(0, len(asked), size))
        ]
        task = bar.add_task(f"{what}: generations", total=len(asked))
        run.make(parts, partial(bar.advance, task))
        rows = pl.concat(run.read(parts))
        responses = rows["response"].to_list()
        parts = [
            Part(
                f"scores-{number:06d}",
                partial(_score, suite, asked[start:end], responses[start:end]),
                len(asked[start:end]),
            )
            for number, start in enumerate(range(0, len(asked), SCORED_AT_ONCE))
            for end in [start + SCORED_AT_ONCE]
        ]
        task = bar.add_task(f"{what}: scores", total=len(asked))
        run.make(parts, partial(bar.advance, task))
    if not run.team.first:
        return None
    scored = run.read(parts)
    return pl.concat([rows, pl.concat(scored)], how="horizontal").select(
        pl.col(name).cast(kind) for name, kind in GENERATIONS_SCHEMA.items()
    )


def problem_sample(problem: Problem, suite: Suite, prompt: str) -> Sample:
    """A problem as a model is asked it, without a response.

    Args:
        problem: of the suite.
        suite: for where it stands.
        prompt: with {problem} where the problem goes; chat messages are asked as they are.
    """
    asked = problem.problem
    text = prompt.format(problem=asked) if isinstance(asked, str) else asked
    where = f"suite {suite.name}, problem {problem.id}"
    return Sample(problem.id, text, answer=problem.answer, where=where)


def _encoded(problem: Problem, suite: Suite, settings: dict[str, Any], engine: Engine) -> list[int]:
    """The prompt's token ids.

    Raises:
        BadInputError: it leaves no room in the model's context; names the problem.
    """
    asked = problem_sample(problem, suite, settings["prompt"])
    ids = encode_prompt(asked, engine.tokenizer, settings["template"])
    if engine.context is not None and len(ids) + 1 > engine.context:
        raise BadInputError(
            f"{asked.where}: its prompt of {len(ids)} tokens does not fit into the model's context of "
            f"{engine.context}; leave it out, or give a shorter --prompt"
        )
    return ids


def _respond(
    engine: Engine,
    batch: Sequence[tuple[Problem, int]],
    prompts: dict[str, list[int]],
    settings: dict[str, Any],
    number: int,
) -> pl.DataFrame:
    """One batch of generations."""
    answers = respond_to_batch(
        engine,
        [prompts[problem.id] for problem, _ in batch],
        [f"problem {problem.id}" for problem, _ in batch],
        number=number,
        **{name: settings[name] for name in ("max_new_tokens", "temperature", "top_p", "seed")},
    )
    texts = [_storable(response_text(engine, answer)) for answer in answers]
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
