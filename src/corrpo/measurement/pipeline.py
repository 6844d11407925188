"""`measure`: from a model and samples to a fingerprint, piece by piece, so that it can stop and go on.

A generated response of a single token is left out and listed as skipped. What of it workers do is in
`corrpo.measurement.measure_tasks`.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from rich.progress import Progress

from corrpo.errors import BadInputError
from corrpo.jobs.progress_bar import progress_bar
from corrpo.jobs.run_folder import Part, RunFolder, is_whole, make_parts
from corrpo.jobs.run_record import run_record
from corrpo.jobs.versions import library_versions
from corrpo.jobs.workers import ThisProcess, Workers
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.fingerprint_format import FINGERPRINT, TOKEN_COLUMNS, schema, with_later_columns
from corrpo.measurement.layer_count import LAYER_COUNT
from corrpo.measurement.measure_tasks import (
    LoadedModel,
    NamedModel,
    Prepared,
    Source,
    Work,
    prepare,
    ready,
    response_parts,
    token_parts,
)
from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.summary import summarise
from corrpo.models.keywords import keywords_of, narrow
from corrpo.models.sharding import full_parameters
from corrpo.models.turns import model_turn
from corrpo.samples import Sample, SampleOptions, as_samples, samples_digest


@dataclass(frozen=True, kw_only=True)
class MeasureKeywords(MeasureOptions, SampleOptions):
    """The keywords of `measure`."""

    output: Path | str | None = None
    """A folder. Each finished response and measurement is kept there at once, the same call goes on where it
    stopped, and the finished fingerprint is saved there. None keeps all in memory."""
    name: str | None = None
    """The model's name in the fingerprint; its own if not given."""
    revision: str | None = None
    """The model's revision in the fingerprint; its own if not given."""
    progress: bool = False
    """Show a progress bar with the time left."""


@keywords_of(MeasureKeywords)
def measure(
    model: Any,
    tokenizer: Any,
    samples: Path | str | Iterable[Sample | Mapping[str, Any] | str],
    keywords: MeasureKeywords,
) -> Fingerprint:
    """Measure the Entropy-Gradient Inversion of a causal LM on samples.

    Args:
        model: a transformers causal LM; left as found. One that training keeps in pieces (FSDP, ZeRO-3) is
            made whole for as long, so every process must call this; its samples may be its own. It computes
            in the dtype of its weights, which the fingerprint states: `torch.autocast` is off inside. Threads
            that use one model wait for one another.
        tokenizer: its tokenizer.
        samples: a file (JSON lines, JSON, Parquet, CSV), a dataset or its folder, or dicts {"prompt",
            "response", "answer", "id"}; see `load_samples`. A sample without a response is answered by the
            model.
        keywords: given as the keywords below.

    Returns:
        The `Fingerprint`.

    Raises:
        BadInputError: an option or a sample that cannot be used, before anything is computed.
        NonFiniteError: NaN or infinite logits or gradients; names the sample.
        UnsupportedModelError: the estimator does not fit the model.
        OutputFolderError: see `RunFolder`.
    """
    if not callable(tokenizer):
        raise BadInputError(
            f"tokenizer={tokenizer!r:.80}: expected the model's tokenizer; corrpo.load_model gives both"
        )
    with model_turn(model), full_parameters(model) as full_model, ready(full_model):
        return _measure(LoadedModel(full_model, tokenizer), samples, keywords, ThisProcess())


@keywords_of(MeasureKeywords)
def measure_in_workers(
    model: NamedModel,
    samples: Path | str | Iterable[Sample | Mapping[str, Any] | str],
    workers: Workers,
    keywords: MeasureKeywords,
) -> Fingerprint:
    """`measure` of a model that each worker loads by its name; the workers take responses as they are free.

    This process loads no model, and alone writes to the output. Results and errors are those of `measure`.

    Args:
        model: its name, and how it is loaded.
        samples: as in `measure`.
        workers: of `corrpo.jobs.workers.open_workers`.
        keywords: given as the keywords below; name is that of `model` if not given.
    """
    name = keywords.name or model.name
    try:
        return _measure(model, samples, replace(keywords, name=name), workers)
    finally:
        model.release()


def _measure(
    source: Source,
    samples: Path | str | Iterable[Sample | Mapping[str, Any] | str],
    keywords: MeasureKeywords,
    workers: Workers,
) -> Fingerprint:
    began = time.monotonic()
    settings = narrow(keywords, MeasureOptions)
    given = as_samples(samples, narrow(keywords, SampleOptions))
    preparing = partial(_prepared, given, keywords)
    ((_, prepared),) = workers.map(preparing, [source], name=None)
    known = known_before_loading(samples, given, settings)
    identity = {"model": prepared.model, "samples": known["samples"], "settings": known["settings"]}
    with ExitStack() as stack:
        run = None
        if keywords.output is not None:
            claim = identity | {"versions": known["versions"], "prompts_digest": _digest(prepared.work)}
            run = stack.enter_context(RunFolder(Path(keywords.output), claim).claimed())
            if _is_finished(run.path):
                return _finished(run)
        bar = stack.enter_context(progress_bar(shown=keywords.progress, description="{task.description:>10}"))
        tables = partial(_tables, run, bar, workers)
        responses = pl.concat(tables("responses", response_parts(source, prepared.work, settings)))
        prompts = {item.sample.id: item.prompt_ids for item in prepared.work}
        reading = partial(token_parts, source, prompts, responses, settings)
        tokens, control = _tokens(tables("tokens", reading())), None
        if settings.untrained:
            control = _tokens(tables("untrained", reading(untrained=True)))
        model = prepared.model | {LAYER_COUNT: prepared.layer_count}
        fingerprint = summarise(identity | {"model": model}, responses, tokens, control, settings)
        record = run_record(prepared.hardware, began, workers.count)
        fingerprint = replace(fingerprint, run=record)
        if run is None:
            return fingerprint
        fingerprint.save(run.path)
        return _finished(run)


def _prepared(given: list[Sample], keywords: MeasureKeywords, source: Source) -> Prepared:
    settings = narrow(keywords, MeasureOptions)
    strict, name, revision = keywords.strict, keywords.name, keywords.revision
    return prepare(source, given, settings, strict=strict, name=name, revision=revision)


def known_before_loading(samples: Any, given: list[Sample], settings: MeasureOptions) -> dict[str, Any]:
    """What of a measurement's settings does not need its model; `given` is what `samples` holds."""
    name = Path(samples).stem if isinstance(samples, Path | str) else "samples"
    return {
        "samples": {"name": name, "digest": samples_digest(given)},
        "settings": settings.as_dict(),
        "versions": library_versions(),
    }


def _is_finished(folder: Path) -> bool:
    done = folder / FINGERPRINT
    return done.exists() and is_whole(lambda: Fingerprint.load(folder), done)


def _finished(run: RunFolder) -> Fingerprint:
    """The fingerprint of a finished run, whose parts are needed no more."""
    run.drop_parts()
    return Fingerprint.load(run.path)


def _tables(
    run: RunFolder | None, bar: Progress, workers: Workers, kind: str, parts: list[Part]
) -> list[pl.DataFrame]:
    """Make parts, and read them."""
    task = bar.add_task(kind, total=sum(part.size for part in parts))
    if run is None:
        return make_parts(parts, partial(bar.advance, task))
    run.make(parts, partial(bar.advance, task), workers)
    return run.read(parts)


def _tokens(tables: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=schema(TOKEN_COLUMNS)), *map(with_later_columns, tables)])


def _digest(work: list[Work]) -> str:
    """SHA-256 of all token ids, so that another tokenizer or chat template shows."""
    return hashlib.sha256(json.dumps([[w.prompt_ids, w.response_ids] for w in work]).encode()).hexdigest()
