"""What workers do of a measurement on the model that they hold: prepare it, respond, read responses.

Our choices where the sources are silent: a generated response includes the end-of-sequence token that the
model wrote; responses are read at temperature 1 over the full vocabulary however they were drawn.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import polars as pl
import torch

from corrpo.errors import BadInputError, NonFiniteError
from corrpo.jobs.run_folder import Part
from corrpo.jobs.run_record import hardware
from corrpo.measurement.fingerprint_format import RESPONSE_COLUMNS, schema
from corrpo.measurement.measured_model import count_layers, describe_measured_model
from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.token_rows import measure_response
from corrpo.models.eval_mode import eval_mode
from corrpo.models.generation.backend import Engine, Generation
from corrpo.models.generation.backends.transformers import TransformersEngine
from corrpo.models.generation.batches import respond_to_batch, response_text
from corrpo.models.keywords import narrow
from corrpo.models.load_options import LoadOptions
from corrpo.models.loading import load_model, quiet_loading, untrained_model
from corrpo.models.own_precision import own_precision
from corrpo.models.threads import threads_for
from corrpo.models.token_limits import context_length, vocabulary_size
from corrpo.models.turns import model_turn
from corrpo.samples import Sample, encode_prompt, encode_response
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.spec import GradientSpec

_RESPONSE_PART = {**schema(RESPONSE_COLUMNS), "response_ids": pl.List(pl.Int64)}


@dataclass(frozen=True)
class Work:
    """One sample ready to be answered: prompt ids, and response ids if the response was given."""

    sample: Sample
    prompt_ids: list[int]
    response_ids: list[int] | None


@dataclass
class LoadedModel:
    """A model of this process, ready to be measured, and its tokenizer."""

    model: Any
    tokenizer: Any
    _untrained: "LoadedModel | None" = None

    @contextmanager
    def used(self) -> Iterator["LoadedModel"]:
        """As it is."""
        yield self

    def untrained(self, seed: int) -> "LoadedModel":
        """The same with random weights, made once."""
        if self._untrained is None:
            self._untrained = LoadedModel(untrained_model(self.model, seed), self.tokenizer)
        return self._untrained


@dataclass(frozen=True)
class NamedModel:
    """A model that the process of a task loads when it first needs it, and keeps."""

    name: str
    loading: LoadOptions

    def __str__(self) -> str:
        return self.name

    @contextmanager
    def used(self) -> Iterator[LoadedModel]:
        """The model of this process, ready to be measured."""
        loaded = _loaded(self.name, self.loading)
        with ready(loaded.model):
            yield loaded

    @staticmethod
    def release() -> None:
        """Let go of the model that this process keeps: its files may be others the next time."""
        _loaded.cache_clear()


Source = LoadedModel | NamedModel
"""Where a task has its model from."""


@lru_cache(maxsize=1)
def _loaded(name: str, loading: LoadOptions) -> LoadedModel:
    with quiet_loading():
        return LoadedModel(*load_model(name, **vars(loading)))


@contextmanager
def ready(model: Any) -> Iterator[None]:
    """The state in which a model is measured; left as found."""
    with model_turn(model), own_precision(model), threads_for(model), eval_mode(model):
        yield


@dataclass(frozen=True)
class Prepared:
    """What of a measurement is known once its model is loaded.

    Attributes:
        model: see `describe_measured_model`.
        layer_count: how many of its layers hold the measured projections.
        work: the samples with their token ids.
        hardware: see `run_record`.
    """

    model: dict[str, Any]
    layer_count: int
    work: list[Work]
    hardware: dict[str, Any]


def prepare(
    source: Source,
    given: list[Sample],
    settings: MeasureOptions,
    *,
    strict: bool,
    name: str | None,
    revision: str | None,
) -> Prepared:
    """All that can be checked before anything is computed; the samples are encoded."""
    with source.used() as loaded:
        model = loaded.model
        work = [encode_sample(sample, model, loaded.tokenizer, settings, strict=strict) for sample in given]
        described = describe_measured_model(model, name, revision)
        try_estimator(model, settings)
        layers = count_layers(model, settings.projections)
        return Prepared(described, layers, work, hardware(next(model.parameters()).device))


def try_estimator(model: Any, settings: MeasureOptions) -> None:
    """Meet an estimator that does not fit, or a layer that is not there, before anything is generated."""
    with suppress(NonFiniteError):  # raised again while measuring, with the sample's name
        spec = narrow(settings, GradientSpec)
        logit_gradient_norms(model, torch.zeros(4, dtype=torch.long), [3], **vars(spec))


def encode_sample(
    sample: Sample, model: Any, tokenizer: Any, settings: MeasureOptions, *, strict: bool = False
) -> Work:
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
    return Work(sample, prompt_ids, response_ids)


def response_parts(source: Source, work: list[Work], settings: MeasureOptions) -> list[Part]:
    """The responses of all samples, given or generated, in batches of the file's order."""
    starts = range(0, len(work), settings.batch_size)
    batches = [work[start : start + settings.batch_size] for start in starts]
    return [
        Part(f"responses-{number:06d}", partial(_respond, source, batch, settings, number), len(batch))
        for number, batch in enumerate(batches)
    ]


def _respond(source: Source, batch: list[Work], settings: MeasureOptions, number: int) -> pl.DataFrame:
    with source.used() as loaded:
        engine = TransformersEngine(loaded.model, loaded.tokenizer)
        return _respond_batch(engine, batch, settings, number)


def _respond_batch(engine: Engine, batch: list[Work], settings: MeasureOptions, number: int) -> pl.DataFrame:
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


def _response_row(engine: Engine, item: Work, generation: Generation | None) -> dict[str, Any]:
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


def token_parts(
    source: Source,
    prompts: dict[str, list[int]],
    responses: pl.DataFrame,
    settings: MeasureOptions,
    *,
    untrained: bool = False,
) -> list[Part]:
    """The token rows of every response of at least two tokens, a part each, as large as what is measured.

    Args:
        source: of the model.
        prompts: token ids of each sample's prompt, by its id.
        responses: the tables of `response_parts`, one below the other.
        settings: of the measurement.
        untrained: read them by the model with random weights.
    """
    kept = (pl.col("response_tokens") >= 2) & (pl.col("finished") | (not settings.finished_only))
    rows = responses.filter(kept).select("id", "response_ids", "response_tokens").iter_rows()
    kind = "untrained" if untrained else "tokens"
    return [
        Part(
            f"{kind}-{number:06d}",
            partial(_read, source, prompts[sample], ids, sample, settings, untrained),
            min(tokens, settings.max_tokens or tokens),
        )
        for number, (sample, ids, tokens) in enumerate(rows)
    ]


def _read(
    source: Source,
    prompt: list[int],
    response: list[int],
    sample: str,
    settings: MeasureOptions,
    untrained: bool,
) -> pl.DataFrame:
    with source.used() as loaded:
        read = loaded.untrained(settings.seed) if untrained else loaded
        return measure_response(read.model, read.tokenizer, prompt, response, sample, settings)
