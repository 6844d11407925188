"""Responses to lines that have none: watched while the model writes them, or written by vLLM and then scored.

vLLM gives no gradients, so its responses take a second pass, by the token ids that it wrote. Both need the
weights, and an engine takes most of a GPU: all responses are written first, into OUTPUT.responses, and the
engine is gone when the model is loaded that scores them.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corrpo.errors import BadInputError
from corrpo.models.generation.backend import find_backend
from corrpo.models.generation.batches import respond_to_batch, room_for_response
from corrpo.models.generation.sampling import numbered_seed
from corrpo.monitor.generation_file import Line, Writer, read_lines
from corrpo.monitor.journal import journal_beside
from corrpo.monitor.monitor import Monitor
from corrpo.monitor.options import WritingOptions
from corrpo.monitor.watched_response import Written
from corrpo.samples import encode_prompt

if TYPE_CHECKING:
    from corrpo.models.generation.backend import Engine


def watching(options: WritingOptions, seed: int) -> Writer:
    """A writer that watches the monitor's own model; each line has a seed of its own."""

    def write(monitor: Monitor, line: Line) -> Written:
        (written,) = monitor.write(
            [line.sample.prompt],
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
            top_p=options.top_p,
            seed=numbered_seed(seed, line.number),
        )
        return written

    return write


def reading(responses: dict[int, list[int]]) -> Writer:
    """A writer that scores responses that are written already, as token ids by the number of their line."""

    def write(monitor: Monitor, line: Line) -> Written:
        prompt = monitor.prompt_ids(
            line.sample.prompt
        )  # first, as what is wrong with it is why there is none
        if line.number not in responses:
            raise BadInputError("no response was written")
        return monitor.written(prompt, responses[line.number])

    return write


def write_all(
    open_engine: Callable[[], "Engine"],
    path: Path,
    output: Path,
    *,
    template: str,
    options: WritingOptions,
    seed: int,
    header: dict[str, Any],
    skip_bad: bool,
) -> dict[int, list[int]]:
    """Write the responses that a file lacks, in blocks that are the same each time; resumable.

    Args:
        open_engine: called only if there is something to write.
        path: of the generations.
        output: the responses stand beside it, in OUTPUT.responses.
        template: see `MonitorOptions`.
        options: how they are written.
        seed: of the responses.
        header: what else decides them.
        skip_bad: leave out lines that are none.

    Returns:
        Token ids, the one that ended a response included, by the number of the line.

    Raises:
        BadInputError: a bad line, unless `skip_bad`.
        OutputFolderError: as `Journal`.
    """
    with journal_beside(output, "responses", {**header, **asdict(options), "seed": seed}) as journal:
        engine = None
        size = find_backend(options.backend).batch_size
        for number, block in enumerate(_blocks(_without_response(path, skip_bad), size)):
            if all(line.number in journal.done for line in block):
                continue
            engine = engine or open_engine()
            asked = _encoded(block, engine, template, skip_bad)
            prompts = [ids for _, ids in asked]
            most = options.max_new_tokens
            shortest = min((room_for_response(engine.context, ids, most) for ids in prompts), default=most)
            responses = respond_to_batch(
                engine,
                prompts,
                [line.sample.where for line, _ in asked],
                number=number,
                max_new_tokens=shortest,
                temperature=options.temperature,
                top_p=options.top_p,
                seed=seed,
            )
            for (line, _), response in zip(asked, responses, strict=True):
                if line.number not in journal.done:
                    journal.add({"line": line.number, "ids": response.ids})
        return {line: record["ids"] for line, record in journal.done.items()}


def _blocks(lines: Iterator[Line], size: int) -> Iterator[list[Line]]:
    while block := list(islice(lines, size)):
        yield block


def _without_response(path: Path, skip_bad: bool) -> Iterator[Line]:
    for line in read_lines(path, responses=False):
        if isinstance(line, Line):
            if line.sample.response is None:
                yield line
        elif not skip_bad:
            raise line.error


def _encoded(
    block: list[Line], engine: "Engine", template: str, skip_bad: bool
) -> list[tuple[Line, list[int]]]:
    """The lines whose prompts can be read, with their token ids."""
    encoded = []
    for line in block:
        try:
            ids = encode_prompt(line.sample, engine.tokenizer, template, engine.context)
            if room_for_response(engine.context, ids, 1) < 1:
                raise BadInputError(f"{line.sample.where}: the prompt fills the model's context: shorten it")
            encoded.append((line, ids))
        except BadInputError:
            if not skip_bad:
                raise
    return encoded
