"""A JSONL file of generations through the monitor: for a calibration, or judged line by line, resumably.

A line is {"prompt": ..., "response": ..., "id": ...}, with "low": true or false where it is for a calibration
(true for a generation of low reasoning). Lines go one at a time, so the file may be of any length.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corrpo.errors import BadInputError, NonFiniteError, OutputFolderError
from corrpo.monitor.calibration import Labelled
from corrpo.monitor.monitor import Monitor
from corrpo.samples import Sample, as_samples
from corrpo.store import whole_file


@dataclass(frozen=True)
class Line:
    """One line of a file of generations.

    Attributes:
        number: of the line, from 1.
        sample: what it holds.
        low: its label; None if it has none.
    """

    number: int
    sample: Sample
    low: bool | None


@dataclass(frozen=True)
class BadLine:
    """A line that is no generation: its number, and what is wrong with it, which names file and line."""

    number: int
    error: BadInputError


def read_lines(path: Path, *, labelled: bool = False) -> Iterator[Line | BadLine]:
    """The generations of a file, or what is wrong with a line; blank lines are passed over.

    Args:
        path: of the JSONL file.
        labelled: a line needs "low" and a response.

    Raises:
        BadInputError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if raw.strip():
                    try:
                        yield _line(f"{path} line {number}", number, raw, labelled)
                    except BadInputError as error:
                        yield BadLine(number, error)
    except OSError as error:
        raise BadInputError(f"cannot read generations from {path}: {error.strerror or error}") from error


def _line(where: str, number: int, raw: bytes, labelled: bool) -> Line:
    try:
        record = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(record, dict):
        raise BadInputError(f"{where}: expected an object with prompt and response")
    (sample,) = as_samples([{"id": str(number), **record, "where": where}])
    low = record.get("low")
    if sample.response is None:
        raise BadInputError(f'{where}: "response" is missing; expected the text that was written')
    if (low is not None and not isinstance(low, bool)) or (labelled and low is None):
        raise BadInputError(
            f'{where}: "low" must be true (a generation of low reasoning) or false, not {low!r}'
        )
    return Line(number, sample, low)


def labelled_generations(
    monitor: Monitor, path: Path, *, skip_bad: bool, tell: Callable[[str], None]
) -> Iterator[Labelled]:
    """Every labelled generation of a file, measured.

    Raises:
        BadInputError, NonFiniteError: the first bad line, unless `skip_bad`: then it is told.
    """
    for line in read_lines(path, labelled=True):
        try:
            if isinstance(line, BadLine):
                raise line.error
            scored = monitor.score(line.sample.prompt, line.sample.response or "")
            prompt = json.dumps(line.sample.prompt, sort_keys=True)
            yield scored.labelled(prompt, bool(line.low))
        except (BadInputError, NonFiniteError) as error:
            message = _with_place(line, error)
            if not skip_bad:
                raise BadInputError(f"{message}; --skip-bad-lines leaves such lines out") from error
            tell(message)


def judge_file(
    monitor: Monitor, path: Path, output: Path, *, skip_bad: bool, tell: Callable[[str], None]
) -> dict[str, int]:
    """Judge every generation of a file into a JSONL file, a line each, in order.

    The work stands in OUTPUT.partial until it is done; the same call goes on from there.

    Returns:
        How many lines there are by name: "judged", "flagged", "bad", and "resumed" of them.

    Raises:
        BadInputError, NonFiniteError: the first bad line, unless `skip_bad`: it is then told, written with
            its error, and counted.
        OutputFolderError: the output is there already, or the work that stands was done with other settings
            or another file.
    """
    if output.exists():
        raise OutputFolderError(f"{output} exists; give another file, or remove it")
    partial = output.with_name(output.name + ".partial")
    header = _header(monitor, path)
    counts = {"judged": 0, "flagged": 0, "bad": 0, "resumed": 0}
    done = _resume(partial, header, output)
    with partial.open("a", encoding="utf-8") as file:
        if done is None:
            file.write(json.dumps(header) + "\n")
        for line in read_lines(path):
            record = (done or {}).get(line.number)
            if record is None:
                record = _judged(monitor, line, skip_bad, tell)
                file.write(json.dumps(record) + "\n")
                file.flush()
            else:
                counts["resumed"] += 1
            counts["bad" if "error" in record else "judged"] += 1
            counts["flagged"] += bool(record.get("flag"))
    _finish(partial, output)
    return counts


def _judged(
    monitor: Monitor, line: Line | BadLine, skip_bad: bool, tell: Callable[[str], None]
) -> dict[str, Any]:
    try:
        if isinstance(line, BadLine):
            raise line.error
        scored = monitor.score(line.sample.prompt, line.sample.response or "")
    except (BadInputError, NonFiniteError) as error:
        message = _with_place(line, error)
        if not skip_bad:
            raise BadInputError(
                f"{message}; what is done is kept; --skip-bad-lines leaves such lines out"
            ) from error
        tell(message)
        return {"line": line.number, "error": message}
    return {"line": line.number, "id": line.sample.id, **scored.as_dict()}


def _with_place(line: Line | BadLine, error: Exception) -> str:
    return str(error) if isinstance(line, BadLine) else f"{line.sample.where}: {error}"


def _header(monitor: Monitor, path: Path) -> dict[str, Any]:
    """What decides the results, so that work is gone on with only where they would be the same."""
    state = path.stat() if path.exists() else None
    known = monitor.calibration
    return {
        "source": str(path.resolve()),
        "bytes": state and state.st_size,
        "changed": state and state.st_mtime_ns,
        "digest": monitor.description["digest"],
        "settings": monitor.options.as_dict(),
        "thresholds": known and [known.side, known.whole, known.running],
    }


def _resume(partial: Path, header: dict[str, Any], output: Path) -> dict[int, dict[str, Any]] | None:
    """The records of earlier work by line, or None if there is none; a line cut short is taken off."""
    if not partial.exists():
        partial.parent.mkdir(parents=True, exist_ok=True)
        return None
    content = partial.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if not whole:
        partial.unlink()
        return None
    first, *rest = whole.decode().splitlines()
    if json.loads(first) != header:
        raise OutputFolderError(
            f"{partial} holds work with another model, calibration, file or settings; remove it, or give "
            f"another output than {output}"
        )
    if len(whole) < len(content):
        with partial.open("r+b") as file:
            file.truncate(len(whole))
    records = [json.loads(each) for each in rest]
    return {record["line"]: record for record in records}


def _finish(partial: Path, output: Path) -> None:
    """The records without their header become the output, each line once."""
    with whole_file(output) as temporary, partial.open("rb") as source, temporary.open("wb") as target:
        next(source)
        for line in source:
            target.write(line)
    partial.unlink()
