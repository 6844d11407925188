"""Batches of prompts answered by any backend, alike for a measurement, an evaluation and the monitor."""

from collections.abc import Sequence

from corrpo.errors import NonFiniteError
from corrpo.models.generation.backend import Engine, Generation
from corrpo.models.generation.sampling import numbered_seed


def respond_to_batch(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    names: Sequence[str],
    *,
    number: int,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
) -> list[Generation]:
    """The responses to one batch of prompts.

    A prompt that leaves less room in the context than `max_new_tokens` does not shorten the responses to the
    others: the batch is written as long as its longest response may be, and each is cut to its own room.

    Args:
        engine: writes; see `corrpo.models.generation.backend.open_backend`.
        prompts: token ids of each, at least one fewer than the engine's context.
        names: what to call each prompt in an error.
        number: of the batch in its run, which decides its seed.
        max_new_tokens: longest response, in tokens.
        temperature: of the softmax; 0 takes the likeliest token.
        top_p: draw among the likeliest tokens of this total probability.
        seed: of the run.

    Raises:
        NonFiniteError: NaN or infinite logits; names the prompt.
    """
    if not prompts:
        return []
    room = [room_for_response(engine.context, prompt, max_new_tokens) for prompt in prompts]
    try:
        generations = engine.respond(
            prompts,
            max_new_tokens=max(room),
            temperature=temperature,
            top_p=top_p,
            seed=numbered_seed(seed, number),
        )
    except NonFiniteError as error:
        if error.row is None:
            raise
        raise NonFiniteError(f"{names[error.row]}: {error}") from error
    return [generation.within(most) for generation, most in zip(generations, room, strict=True)]


def room_for_response(context: int | None, prompt: Sequence[int], max_new_tokens: int) -> int:
    """How many tokens a response may have: the setting, or what the context leaves; below 1 if nothing.

    >>> room_for_response(256, [1] * 250, 512), room_for_response(None, [1] * 250, 512)
    (6, 512)
    """
    return max_new_tokens if context is None else min(max_new_tokens, context - len(prompt))


def response_text(engine: Engine, generation: Generation) -> str:
    """The response as text; the token that ended it is left out, other special tokens stay."""
    ids = generation.ids
    if generation.finished and ids and ids[-1] in engine.end_tokens:
        ids = ids[:-1]
    return engine.tokenizer.decode(ids, skip_special_tokens=False)
