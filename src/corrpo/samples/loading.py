"""Samples from a JSONL file or from Python, checked line by line."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corrpo.errors import BadInputError

Prompt = str | list[dict[str, str]]


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        id: its name, unique in its set.
        prompt: text, or chat messages [{"role": ..., "content": ...}, ...].
        response: text to measure, or None for the model to write one.
        answer: the right answer, if known; kept beside the response.
        where: where it was given, for messages: "FILE line N" or "sample N".
    """

    id: str
    prompt: Prompt
    response: str | None = None
    answer: str | None = None
    where: str = ""


def load_samples(path: Path | str) -> list[Sample]:
    """Read a JSONL file of samples; blank lines are passed over, fields of other names ignored.

    A prompt may be called "problem" too, as benchmarks do.

    Raises:
        BadInputError: no such file, no sample in it, or a line that is not UTF-8, not JSON, or not a
            sample; names the file, the line and what was expected.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BadInputError(f"cannot read samples from {path}: {error.strerror or error}") from error
    records = []
    for number, line in enumerate(lines, start=1):
        where = f"{path} line {number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if text:
                records.append((where, json.loads(text)))
        except UnicodeDecodeError as error:
            raise BadInputError(f"{where} is not UTF-8 text: {error}") from error
        except (ValueError, RecursionError) as error:
            raise BadInputError(f"{where} is not valid JSON: {error}") from error
    if not records:
        raise BadInputError(f'{path} holds no samples; expected lines like {{"prompt": "1 + 1 ="}}')
    return _checked(records)


def as_samples(samples: Path | str | Iterable[Sample | Mapping[str, Any]]) -> list[Sample]:
    """Samples from a JSONL path, from dicts of the same form, or from `Sample`s.

    >>> as_samples([{"prompt": "1 + 1 ="}])
    [Sample(id='0', prompt='1 + 1 =', response=None, answer=None, where='sample 0')]

    Raises:
        BadInputError: as `load_samples`, naming the number of the sample.
    """
    if isinstance(samples, Path | str):
        return load_samples(samples)
    records = []
    for number, sample in enumerate(samples):
        given = sample.__dict__ if isinstance(sample, Sample) else sample
        where = (given.get("where") if isinstance(given, Mapping) else None) or f"sample {number}"
        records.append((where, given))
    if not records:
        raise BadInputError("no samples were given")
    return _checked(records)


def samples_digest(samples: list[Sample]) -> str:
    """SHA-256 of what was asked: ids, prompts, given responses and answers, in order."""
    content = [[sample.id, sample.prompt, sample.response, sample.answer] for sample in samples]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checked(records: list[tuple[str, Any]]) -> list[Sample]:
    samples = [_sample(where, number, record) for number, (where, record) in enumerate(records)]
    first: dict[str, str] = {}
    for sample in samples:
        if sample.id in first:
            raise BadInputError(f"{sample.where}: the id {sample.id!r} is that of {first[sample.id]} too")
        first[sample.id] = sample.where
    return samples


def _sample(where: str, number: int, record: Any) -> Sample:
    if not isinstance(record, Mapping):
        raise BadInputError(f"{where}: expected an object with a prompt, not {type(record).__name__}")
    prompt = record.get("prompt", record.get("problem"))
    if prompt is None:
        raise BadInputError(f'{where}: "prompt" is missing; expected text or a list of chat messages')
    response, answer, name = (record.get(key) for key in ("response", "answer", "id"))
    if response is not None:
        _check_text(where, "response", response)
    if answer is not None and not isinstance(answer, str | int | float):
        raise BadInputError(f'{where}: "answer" must be text or a number, not {type(answer).__name__}')
    if name is not None and not isinstance(name, str | int):
        raise BadInputError(f'{where}: "id" must be text or a whole number, not {type(name).__name__}')
    return Sample(
        id=str(number) if name is None else str(name),
        prompt=_prompt(where, prompt),
        response=response,
        answer=None if answer is None else str(answer),
        where=where,
    )


def _prompt(where: str, prompt: Any) -> Prompt:
    if isinstance(prompt, str):
        _check_text(where, "prompt", prompt)
        return prompt
    if not isinstance(prompt, list) or not prompt:
        raise BadInputError(f'{where}: "prompt" must be text or a list of chat messages, at least one')
    for i, message in enumerate(prompt):
        if not isinstance(message, Mapping) or not all(
            isinstance(message.get(key), str) for key in ("role", "content")
        ):
            raise BadInputError(f'{where}: message {i} of "prompt" needs a text "role" and a text "content"')
        _check_text(where, f"content of message {i}", message["content"], empty=True)
    return [dict(message) for message in prompt]


def _check_text(where: str, name: str, text: Any, *, empty: bool = False) -> None:
    if not isinstance(text, str):
        raise BadInputError(f'{where}: "{name}" must be text, not {type(text).__name__}')
    if not text and not empty:
        raise BadInputError(f'{where}: "{name}" is empty')
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadInputError(
            f'{where}: "{name}" holds a lone surrogate at character {error.start}, which no tokenizer reads'
        ) from error
