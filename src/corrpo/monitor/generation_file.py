"""A JSONL file of generations through the monitor: for a calibration, or judged line by line, resumably.

A line is {"prompt": ..., "response": ..., "id": ...}, with "low": true or false where it is for a calibration
(true for a generation of low reasoning). Without a response one is written, if there is a writer
(`corrpo.monitor.response_writers`). Lines go one at a time, so the file may be of any length. The
generations.parquet of `corrpo evaluate` is read as well: those that are not correct are of low reasoning.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.jobs.files import read_parquet
from corrpo.jobs.progress_bar import progress_bar
from corrpo.monitor.calibration import Labelled
from corrpo.monitor.journal import journal_beside
from corrpo.monitor.monitor import Monitor
from corrpo.monitor.watched_response import Written
from corrpo.samples import Sample, as_samples
from corrpo.samples.fields import kept_prompt

_EVALUATED = ("problem", "sample", "prompt", "response", "correct")


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


Writer = Callable[[Monitor, Line], Written]
"""Gives a response to a line that has none."""


def read_lines(path: Path, *, labelled: bool = False, responses: bool = True) -> Iterator[Line | BadLine]:
    """The generations of a file, or what is wrong with a line; blank lines are passed over.

    A line needs "low" where `labelled`, and a response where `responses`.
    """
    if path.suffix == ".parquet":
        yield from _read_evaluated(path)
        return
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if raw.strip():
                    try:
                        yield _line(f"{path} line {number}", number, raw, labelled, responses)
                    except BadInputError as error:
                        yield BadLine(number, error)
    except OSError as error:
        raise BadInputError(f"cannot read generations from {path}: {error.strerror or error}") from error


def _read_evaluated(path: Path) -> Iterator[Line]:
    """The generations of a generations.parquet, labelled by their verdicts."""
    rows = read_parquet(path)
    missing = [name for name in _EVALUATED if name not in rows.columns]
    if missing:
        raise BadInputError(
            f"{path} has no column {missing[0]!r}; expected JSON lines, or the generations.parquet of corrpo "
            "evaluate"
        )
    for number, row in enumerate(rows.iter_rows(named=True), start=1):
        name, where = f"{row['problem']}-{row['sample']}", f"{path} row {number - 1}"
        sample = Sample(name, kept_prompt(row["prompt"]), row["response"], where=where)
        yield Line(number, sample, low=not row["correct"])


def _line(where: str, number: int, raw: bytes, labelled: bool, responses: bool) -> Line:
    try:
        record = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{where} is not valid JSON: {error}") from error
    if not isinstance(record, dict):
        raise BadInputError(f"{where}: expected an object with prompt and response")
    name = record.get("id")
    (sample,) = as_samples([{**record, "id": str(number) if name is None else name, "where": where}])
    low = record.get("low")
    if sample.response is None and responses:
        raise BadInputError(f'{where}: "response" is missing; expected the text that was written')
    if (low is not None and not isinstance(low, bool)) or (labelled and low is None):
        raise BadInputError(
            f'{where}: "low" must be true (a generation of low reasoning) or false, not {low!r}'
        )
    return Line(number, sample, low)


def labelled_generations(
    monitor: Monitor, path: Path, *, skip_bad: bool, tell: Callable[[str], None], shown: bool = False
) -> Iterator[Labelled]:
    """Every labelled generation of a file, measured.

    The first bad line is an error; with `skip_bad` all of them are passed to `tell`.
    """
    for line in _with_bar(read_lines(path, labelled=True), path, "measured", shown):
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
    monitor: Monitor,
    path: Path,
    output: Path,
    *,
    skip_bad: bool,
    tell: Callable[[str], None],
    writer: Writer | None = None,
    writing: dict[str, Any] | None = None,
    shown: bool = False,
) -> dict[str, int]:
    """Judge every generation of a file into a JSONL file, a line each, in order.

    The work stands in OUTPUT.partial until it is done; the same call goes on from there.

    Args:
        monitor: what judges.
        path: of the generations.
        output: of the results; must not exist.
        skip_bad: pass what is wrong with bad lines to `tell`, write them with their error, and go on.
        tell: takes the message about each.
        writer: writes responses where a line has none; such lines are bad without it.
        writing: what decides those responses.
        shown: show a bar.

    Returns:
        How many lines there are by name: "judged", "flagged", "bad", and "resumed" of them.

    Raises:
        BadInputError, NonFiniteError: the first bad line, unless `skip_bad`.
        OutputFolderError: the output is there already; or as `corrpo.monitor.journal.Journal`.
    """
    counts = {"judged": 0, "flagged": 0, "bad": 0, "resumed": 0}
    lines = read_lines(path, responses=writer is None)
    with journal_beside(output, "partial", _header(monitor, path, writing)) as journal:
        for line in _with_bar(lines, path, "judged", shown):
            record = journal.done.get(line.number)
            if record is None:
                record = _judged(monitor, line, writer, skip_bad, tell)
                journal.add(record)
            else:
                counts["resumed"] += 1
            counts["bad" if "error" in record else "judged"] += 1
            counts["flagged"] += bool(record.get("flag"))
        journal.become(output)
    return counts


def _judged(
    monitor: Monitor,
    line: Line | BadLine,
    writer: Writer | None,
    skip_bad: bool,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    try:
        if isinstance(line, BadLine):
            raise line.error
        if line.sample.response is None:
            assert writer is not None
            written = writer(monitor, line)
            judgement = {"response": written.text, **written.scored.as_dict()}
        else:
            judgement = monitor.score(line.sample.prompt, line.sample.response).as_dict()
    except (BadInputError, NonFiniteError) as error:
        message = _with_place(line, error)
        if not skip_bad:
            raise BadInputError(
                f"{message}; what is done is kept; --skip-bad-lines leaves such lines out"
            ) from error
        tell(message)
        return {"line": line.number, "error": message}
    return {"line": line.number, "id": line.sample.id, **judgement}


def _with_place(line: Line | BadLine, error: Exception) -> str:
    message = str(error)
    if isinstance(line, BadLine) or line.sample.where in message:
        return message
    return f"{line.sample.where}: {message}"


def _with_bar(
    lines: Iterator[Line | BadLine], path: Path, done: str, shown: bool
) -> Iterator[Line | BadLine]:
    with progress_bar(shown=shown, transient=True) as bar:
        task = bar.add_task(done, total=_count(path) if shown else None)
        for line in lines:
            yield line
            bar.advance(task)


def _count(path: Path) -> int | None:
    if path.suffix == ".parquet":
        return None
    try:
        with path.open("rb") as file:
            return sum(1 for raw in file if raw.strip())
    except OSError:
        return None


def source_facts(path: Path) -> dict[str, Any]:
    """What tells whether a file of generations is still the same."""
    state = path.stat() if path.exists() else None
    return {
        "source": str(path.resolve()),
        "bytes": state and state.st_size,
        "changed": state and state.st_mtime_ns,
    }


def _header(monitor: Monitor, path: Path, writing: dict[str, Any] | None) -> dict[str, Any]:
    """What decides the results, so that work is gone on with only where they would be the same."""
    known = monitor.calibration
    return {
        **source_facts(path),
        "digest": monitor.description["digest"],
        "settings": monitor.options.as_dict(),
        "thresholds": known and [known.side, known.whole, known.running],
        "writing": writing,
    }
