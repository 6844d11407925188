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


def scored_generations(
    name: str, suite: Suite, settings: dict[str, Any], engine: Engine, run: RunFolder, *, show_progress: bool
) -> pl.DataFrame:
    """Every generation of a model on a suite with its score, made in the parts of a run.

    A row each, in the columns of `GENERATIONS_SCHEMA`. `settings` are n, prompt and so on, none of them
    missing; `name` is the model's in the progress bar.
    """
    prompts = {problem.id: encoded_prompt(problem, suite, settings, engine) for problem in suite.problems}
    asked = [(problem, sample) for problem in suite.problems for sample in range(settings["n"])]
    with progress_bar(shown=show_progress, transient=True) as bar:
        parts = [
            Part(
                f"generations-{number:06d}",
                partial(_respond, engine, asked[batch], prompts, settings, number),
                len(asked[batch]),
            )
            for number, batch in enumerate(_slices(len(asked), settings["batch_size"]))
        ]
        task = bar.add_task(f"{name}, {suite.name}: generations", total=len(asked))
        run.make(parts, partial(bar.advance, task))
        rows = pl.concat(run.read(parts))
        responses = rows["response"].to_list()
        parts = [
            Part(
                f"scores-{number:06d}",
                partial(_score, suite, asked[batch], responses[batch]),
                len(asked[batch]),
            )
            for number, batch in enumerate(_slices(len(asked), SCORED_AT_ONCE))
        ]
        task = bar.add_task(f"{name}, {suite.name}: scores", total=len(asked))
        run.make(parts, partial(bar.advance, task))
    scored = run.read(parts)
    return pl.concat([rows, pl.concat(scored)], how="horizontal").select(
        pl.col(name).cast(kind) for name, kind in GENERATIONS_SCHEMA.items()
    )


def _slices(total: int, size: int) -> list[slice]:
    """Of a list of `total` items, `size` after `size`."""
    return [slice(start, start + size) for start in range(0, total, size)]


def problem_sample(problem: Problem, suite: Suite, prompt: str) -> Sample:
    """A problem as a model is asked it: in the place of {problem}; chat messages as they are."""
    asked = problem.problem
    text = prompt.format(problem=asked) if isinstance(asked, str) else asked
    where = f"suite {suite.name}, problem {problem.id}"
    return Sample(problem.id, text, answer=problem.answer, where=where)


def encoded_prompt(problem: Problem, suite: Suite, settings: dict[str, Any], engine: Engine) -> list[int]:
    """The prompt's token ids.

    Raises:
        BadInputError: it leaves no room in the model's context; names the problem.
    """
    asked = problem_sample(problem, suite, settings["prompt"])
    ids = encode_prompt(asked, engine.tokenizer, settings["template"], engine.context)
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
            "prompt": [_prompt_text(problem, settings) for problem, _ in batch],
            "response": texts,
            "n_tokens": [len(answer.ids) for answer in answers],
            "finished": [answer.finished for answer in answers],
            "gold": [problem.answer for problem, _ in batch],
        },
        schema={name: GENERATIONS_SCHEMA[name] for name in _WRITTEN},
    )


_WRITTEN = ("problem", "sample", "prompt", "response", "n_tokens", "finished", "gold")


def _prompt_text(problem: Problem, settings: dict[str, Any]) -> str:
    """The prompt before the chat template: text, or chat messages as JSON."""
    if isinstance(problem.problem, str):
        return settings["prompt"].format(problem=problem.problem)
    return json.dumps(problem.problem, ensure_ascii=False)


def _storable(text: str) -> str:
    """Text that Parquet can hold: a lone surrogate becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _score(suite: Suite, batch: Sequence[tuple[Problem, int]], responses: Sequence[str]) -> pl.DataFrame:
    batch_scores = scores(suite, [problem for problem, _ in batch], responses)
    return pl.DataFrame(
        {
            "answer": [score.answer for score in batch_scores],
            "correct": [score.correct for score in batch_scores],
            "verdict": [score.verdict for score in batch_scores],
        },
        schema={name: GENERATIONS_SCHEMA[name] for name in ("answer", "correct", "verdict")},
    )
