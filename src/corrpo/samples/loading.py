"""Samples from a file, a dataset or Python, checked one by one."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from corrpo.errors import BadInputError
from corrpo.samples.fields import Prompt, check_text, fields_of
from corrpo.samples.options import SampleOptions
from corrpo.samples.sources import Record, records_of_path, records_of_rows

_DEFAULTS = SampleOptions()


@dataclass(frozen=True)
class Sample:
    """One sample.

    Attributes:
        id: its name, unique in its set.
        prompt: text, or chat messages [{"role": ..., "content": ...}, ...].
        response: text to measure, or None for the model to write one.
        answer: the right answer, if known; kept beside the response.
        where: where it was given, for messages: "FILE line N" or "sample N".
        columns: the names of the columns of prompt, response and answer; None for what there was not.
    """

    id: str
    prompt: Prompt
    response: str | None = None
    answer: str | None = None
    where: str = ""
    columns: tuple[str | None, str | None, str | None] = field(
        default=(None, None, None), repr=False, compare=False
    )


def load_samples(path: Path | str, options: SampleOptions = _DEFAULTS) -> list[Sample]:
    """Read samples from JSON lines, a JSON array, CSV (these may be gzipped), Parquet, or a dataset's folder.

    Blank lines are passed over, an empty field of CSV is none, and columns that say nothing of a sample are
    ignored. What columns may be called is told in `corrpo.samples.fields`.

    Args:
        path: a file, or a folder that `Dataset.save_to_disk` wrote.
        options: columns of other names, and how many samples.

    Raises:
        BadInputError: no such file, no sample in it, or a line that is not UTF-8, not JSON or CSV, or
            not a sample; names the file, the line and what was expected.
    """
    path = Path(path)
    records = records_of_path(path)
    if not records:
        raise BadInputError(f'{path} holds no samples; expected lines like {{"prompt": "1 + 1 ="}}')
    return _checked(records, options)


def as_samples(
    samples: Path | str | Iterable[Sample | Mapping[str, Any] | str], options: SampleOptions = _DEFAULTS
) -> list[Sample]:
    """Samples from a path, or from dicts of the same form, a `datasets.Dataset`, texts, or `Sample`s.

    >>> as_samples([{"question": "1 + 1 =", "answer": 2}])
    [Sample(id='0', prompt='1 + 1 =', response=None, answer='2', where='sample 0')]

    Raises:
        BadInputError: as `load_samples`, naming the number of the sample.
    """
    if isinstance(samples, Path | str):
        return load_samples(samples, options)
    records = [_named(*record) for record in records_of_rows(samples)]
    if not records:
        raise BadInputError("no samples were given")
    return _checked(records, options)


def describe_samples(samples: Sequence[Sample]) -> str:
    """How many samples there are, and what was taken for what.

    >>> describe_samples(as_samples([{"question": "1 + 1 =", "answer": 2}]))
    '1 sample: prompt from question, answer from answer, responses by the model'
    """
    count = "1 sample" if len(samples) == 1 else f"{len(samples):,} samples"
    taken = [_taken(samples, number, what) for number, what in enumerate(("prompt", "response", "answer"))]
    without = sum(sample.response is None for sample in samples)
    if without:
        taken.append("responses by the model" if without == len(samples) else f"{without:,} by the model")
    return f"{count}: {', '.join(filter(None, taken))}"


def samples_digest(samples: list[Sample]) -> str:
    """SHA-256 of what was asked: ids, prompts, given responses and answers, in order."""
    content = [[sample.id, sample.prompt, sample.response, sample.answer] for sample in samples]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _named(where: str, record: Any) -> Record:
    """A record as it is read, under the place that it names itself."""
    if isinstance(record, Sample):
        kept = {name: getattr(record, name) for name in ("id", "prompt", "response", "answer")}
        return record.where or where, kept
    named = record.get("where") if isinstance(record, Mapping) else None
    return (named if isinstance(named, str) and named else where), record


def _taken(samples: Sequence[Sample], number: int, what: str) -> str:
    columns = Counter(column for sample in samples if (column := sample.columns[number]) is not None)
    return f"{what} from {' and '.join(columns)}" if columns else ""


def _checked(records: list[Record], options: SampleOptions) -> list[Sample]:
    kept = islice(records, options.limit)
    samples = [_sample(where, number, record, options) for number, (where, record) in enumerate(kept)]
    first: dict[str, str] = {}
    for sample in samples:
        if sample.id in first:
            raise BadInputError(f"{sample.where}: the id {sample.id!r} is that of {first[sample.id]} too")
        first[sample.id] = sample.where
    return samples


def _sample(where: str, number: int, record: Any, options: SampleOptions) -> Sample:
    found = fields_of(where, record, options)
    name = record.get("id")
    if name is not None and (isinstance(name, bool) or not isinstance(name, str | int)):
        raise BadInputError(f'{where}: "id" must be text or a whole number, not {type(name).__name__}')
    return Sample(
        id=str(number) if name is None else check_text(where, "id", str(name)),
        prompt=found.prompt,
        response=found.response,
        answer=found.answer,
        where=where,
        columns=found.columns,
    )
