"""What an evaluation would take on this machine: time and peak memory, from a few tokens written here."""

from dataclasses import dataclass
from typing import Any

import torch

from corrpo.errors import BadInputError
from corrpo.evaluation.checkpoint_evaluation import Job, suite_settings
from corrpo.evaluation.evaluate import check_suites
from corrpo.evaluation.scored_generations import encoded_prompt
from corrpo.models.generation.backend import find_backend, open_backend
from corrpo.models.generation.batches import room_for_response
from corrpo.models.loading import quiet_loading
from corrpo.models.memory import free_memory
from corrpo.models.probing import Cost, generation_cost, weight_bytes
from corrpo.models.threads import threads_for


@dataclass(frozen=True)
class EvaluationDryRun:
    """What evaluating one checkpoint would do, and what it would take on this machine.

    Attributes:
        generations: over all suites.
        tokens: of all generations, if each were as long as it may be.
        generation: of writing them. Scoring is not counted: it takes milliseconds an answer.
        weight_bytes: of the model.
        free_bytes: memory that is free now, with the model loaded.
    """

    generations: int
    tokens: int
    generation: Cost
    weight_bytes: int
    free_bytes: int


def dry_run(job: Job) -> EvaluationDryRun:
    """Load a checkpoint, write a few tokens, and tell what `evaluate` would take; nothing is kept.

    Args:
        job: the checkpoint, the suites, how it is loaded, and the options.

    Raises:
        BadInputError: a backend whose model is not in this process; or as `evaluate`.
    """
    options, device = job.options, job.loading.device
    check_suites(job.suites, options)
    if not find_backend(options.backend).is_measurable:
        raise BadInputError(
            f"backend {options.backend!r} writes outside of this process, where time and memory cannot be "
            "measured beforehand; give --backend transformers for a dry run"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    with quiet_loading():
        engine: Any = open_backend(options.backend, job.checkpoint, job.loading, device)
    batches, tokens = [], 0
    for suite in job.suites:
        settings = suite_settings(job, suite)
        encoded = [encoded_prompt(problem, suite, settings, engine) for problem in suite.problems]
        prompts = [prompt for prompt in encoded for _ in range(settings["n"])]
        rooms = [room_for_response(engine.context, prompt, options.max_new_tokens) for prompt in prompts]
        tokens += sum(rooms)
        size = settings["batch_size"]
        batches += [
            (prompts[start : start + size], max(rooms[start : start + size]))
            for start in range(0, len(prompts), size)
        ]
    place = next(engine.model.parameters()).device
    with threads_for(engine.model):
        generation = generation_cost(engine, place, batches)
    return EvaluationDryRun(
        generations=sum(len(prompts) for prompts, _ in batches),
        tokens=tokens,
        generation=generation,
        weight_bytes=weight_bytes(engine.model),
        free_bytes=free_memory(place),
    )
