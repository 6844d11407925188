"""`measure`: from a model and samples to a fingerprint, piece by piece, so that it can stop and go on.

Our choices where the sources are silent: a generated response includes the end-of-sequence token that the
model wrote; responses are read at temperature 1 over the full vocabulary however they were drawn; a
generated response of a single token is left out and listed as skipped.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch
from rich.progress import Progress

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.jobs.process_team import Team
from corrpo.jobs.progress_bar import progress_bar
from corrpo.jobs.run_folder import Part, RunFolder, is_whole, make_parts
from corrpo.jobs.run_record import run_record
from corrpo.jobs.versions import library_versions
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.fingerprint_format import (
    FINGERPRINT,
    RESPONSE_COLUMNS,
    TOKEN_COLUMNS,
    schema,
    with_later_columns,
)
from corrpo.measurement.measured_model import describe_measured_model
from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.summary import summarise
from corrpo.measurement.token_rows import measure_response
from corrpo.models.eval_mode import eval_mode
from corrpo.models.generation.backend import Engine, Generation
from corrpo.models.generation.backends.transformers import TransformersEngine
from corrpo.models.generation.batches import respond_to_batch, response_text
from corrpo.models.keywords import keywords_of, narrow
from corrpo.models.loading import untrained_model
from corrpo.models.own_precision import own_precision
from corrpo.models.sharding import full_parameters
from corrpo.models.threads import threads_for
from corrpo.models.token_limits import context_length, vocabulary_size
from corrpo.models.turns import model_turn
from corrpo.samples import (
    Sample,
    SampleOptions,
    as_samples,
    encode_prompt,
    encode_response,
    samples_digest,
)
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.spec import GradientSpec

_RESPONSE_PART = {**schema(RESPONSE_COLUMNS), "response_ids": pl.List(pl.Int64)}


@dataclass(frozen=True)
class _Work:
    """One sample ready to be answered: prompt ids, and response ids if the response was given."""

    sample: Sample
    prompt_ids: list[int]
    response_ids: list[int] | None


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
    team: Team | None = None
    """The processes that share the work (`corrpo.jobs.torchrun.launched`); all of them must call this with
    the same arguments, with an output, and all get the fingerprint. This process alone if not given."""


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
    if keywords.output is None and keywords.team is not None and keywords.team.size > 1:
        raise BadInputError("several processes share their work through a folder: give output")
    if not callable(tokenizer):
        raise BadInputError(
            f"tokenizer={tokenizer!r:.80}: expected the model's tokenizer; corrpo.load_model gives both"
        )
    with model_turn(model), full_parameters(model) as full_model, own_precision(full_model):
        return _measure(full_model, tokenizer, samples, keywords)


def _measure(
    model: Any,
    tokenizer: Any,
    samples: Path | str | Iterable[Sample | Mapping[str, Any] | str],
    keywords: MeasureKeywords,
) -> Fingerprint:
    """`measure` of a model that is in one piece."""
    began = time.monotonic()
    settings = narrow(keywords, MeasureOptions)
    given = as_samples(samples, narrow(keywords, SampleOptions))
    work = [encode_sample(sample, model, tokenizer, settings, strict=keywords.strict) for sample in given]
    described = describe_measured_model(model, keywords.name, keywords.revision)
    known = known_before_loading(samples, given, settings)
    identity = {"model": described, "samples": known["samples"], "settings": known["settings"]}
    try_estimator(model, settings)
    with ExitStack() as stack:
        run = None
        if keywords.output is not None:
            claim = identity | {"versions": known["versions"], "prompts_digest": _digest(work)}
            run = stack.enter_context(RunFolder(Path(keywords.output), claim, keywords.team).claimed())
            if run.team.from_first(lambda: _is_finished(run.path)):
                return _finished(run)
        stack.enter_context(threads_for(model))
        stack.enter_context(eval_mode(model))
        bar = stack.enter_context(progress_bar(shown=keywords.progress, description="{task.description:>10}"))
        answering = _respond(TransformersEngine(model, tokenizer), work, settings)
        responses = pl.concat(_tables(answering, run, bar, "responses"))
        prompts = {item.sample.id: item.prompt_ids for item in work}
        reading = _read(model, tokenizer, prompts, responses, settings, "tokens")
        tokens = _tables(reading, run, bar, "tokens", first_alone=True)
        control = None
        if settings.untrained:
            fresh = untrained_model(model, settings.seed)
            reading = _read(fresh, tokenizer, prompts, responses, settings, "untrained")
            control = _tokens(_tables(reading, run, bar, "untrained", first_alone=True))
        if run is None or run.team.first:
            fingerprint = summarise(identity, responses, _tokens(tokens), control, settings)
            processes = 1 if run is None else run.team.size
            record = run_record(next(model.parameters()).device, began, processes)
            fingerprint = replace(fingerprint, run=record)
            if run is None:
                return fingerprint
            fingerprint.save(run.path)
        run.team.wait("saved")
        return _finished(run)


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
    if run.team.first:
        run.drop_parts()
    return Fingerprint.load(run.path)


def _tables(
    parts: list[Part], run: RunFolder | None, bar: Progress, kind: str, *, first_alone: bool = False
) -> list[pl.DataFrame]:
    """Make parts with all processes, and read them; `first_alone`: others than the first read none."""
    task = bar.add_task(kind, total=sum(part.size for part in parts))
    if run is None:
        return make_parts(parts, lambda size: bar.advance(task, size))
    run.make(parts, lambda size: bar.advance(task, size))
    return run.read(parts) if run.team.first or not first_alone else []


def _tokens(tables: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(schema=schema(TOKEN_COLUMNS)), *map(with_later_columns, tables)])


def try_estimator(model: Any, settings: MeasureOptions) -> None:
    """Meet an estimator that does not fit, or a layer that is not there, before anything is generated."""
    with suppress(NonFiniteError):  # raised again while measuring, with the sample's name
        spec = narrow(settings, GradientSpec)
        logit_gradient_norms(model, torch.zeros(4, dtype=torch.long), [3], **vars(spec))


def _digest(work: list[_Work]) -> str:
    """SHA-256 of all token ids, so that another tokenizer or chat template shows."""
    return hashlib.sha256(json.dumps([[w.prompt_ids, w.response_ids] for w in work]).encode()).hexdigest()


def encode_sample(
    sample: Sample, model: Any, tokenizer: Any, settings: MeasureOptions, *, strict: bool = False
) -> _Work:
    """Token ids of one sample, with all that can be checked before anything is computed.

    A given response of fewer than two tokens is refused if `strict`, and else left out and counted later.

    Raises:
        BadInputError: a sample that does not fit the model or its tokenizer; names the sample.
    """
    context = context_length(model)
    prompt_ids = encode_prompt(sample, tokenizer, settings.template, context)
    response_ids = None if sample.response is None else encode_response(sample, tokenizer, context)
    if strict and response_ids is not None and len(response_ids) < 2:
        raise BadInputError(
            f"{sample.where}: the response {sample.response!r} has {len(response_ids)} token(s); a response "
            "needs at least two for its tokens to be compared: leave the sample out, or do without --strict"
        )
    least = len(prompt_ids) + (2 if response_ids is None else len(response_ids))
    if context is not None and least > context:
        what = "" if response_ids is None else f" and its response of {len(response_ids)}"
        raise BadInputError(
            f"{sample.where}: the prompt of {len(prompt_ids)} tokens{what} does not fit into the model's "
            f"context of {context}; shorten the sample or leave it out"
        )
    vocabulary = vocabulary_size(model)
    largest: int = max([*prompt_ids, *(response_ids or [])])
    if largest >= vocabulary:
        raise BadInputError(
            f"{sample.where}: the tokenizer gives token {largest}, and the model knows {vocabulary}; is this "
            "the model's own tokenizer?"
        )
    return _Work(sample, prompt_ids, response_ids)


def _respond(engine: Engine, work: list[_Work], settings: MeasureOptions) -> list[Part]:
    """The responses of all samples, given or generated, in batches of the file's order."""
    starts = range(0, len(work), settings.batch_size)
    batches = [work[start : start + settings.batch_size] for start in starts]
    return [
        Part(
            f"responses-{number:06d}",
            partial(_respond_batch, engine, batch, settings, number),
            len(batch),
        )
        for number, batch in enumerate(batches)
    ]


def _respond_batch(engine: Engine, batch: list[_Work], settings: MeasureOptions, number: int) -> pl.DataFrame:
    asked = [item for item in batch if item.response_ids is None]
    generations = respond_to_batch(
        engine,
        [item.prompt_ids for item in asked],
        [f"sample {item.sample.id!r}" for item in asked],
        number=number,
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=settings.seed,
    )
    written = {item.sample.id: generation for item, generation in zip(asked, generations, strict=True)}
    rows = [_response_row(engine, item, written.get(item.sample.id)) for item in batch]
    return pl.DataFrame(rows, schema=_RESPONSE_PART)


def _response_row(engine: Engine, item: _Work, generation: Generation | None) -> dict[str, Any]:
    """One response as a row of responses.jsonl: as it was given, or as it was generated."""
    if generation is None:
        ids, finished, text = item.response_ids or [], True, item.sample.response
    else:
        ids, finished, text = generation.ids, generation.finished, response_text(engine, generation)
    return {
        "id": item.sample.id,
        "prompt": json.dumps(item.sample.prompt),
        "response": text,
        "answer": item.sample.answer,
        "prompt_tokens": len(item.prompt_ids),
        "response_tokens": len(ids),
        "finished": finished,
        "response_ids": ids,
    }


def _read(
    model: Any,
    tokenizer: Any,
    prompts: dict[str, list[int]],
    responses: pl.DataFrame,
    settings: MeasureOptions,
    kind: str,
) -> list[Part]:
    """The token rows of every response of at least two tokens, a part each, as large as what is measured."""
    kept = (pl.col("response_tokens") >= 2) & (pl.col("finished") | (not settings.finished_only))
    rows = responses.filter(kept).iter_rows(named=True)

    def measured(row: dict[str, Any]) -> int:
        return min(row["response_tokens"], settings.max_tokens or row["response_tokens"])

    def make(row: dict[str, Any]) -> pl.DataFrame:
        sample = row["id"]
        return measure_response(model, tokenizer, prompts[sample], row["response_ids"], sample, settings)

    return [
        Part(f"{kind}-{number:06d}", partial(make, row), measured(row)) for number, row in enumerate(rows)
    ]
