"""What a measurement would take on this machine: time and peak memory, from a few tokens measured here.

An estimator's passes (`corrpo.strength.estimators.passes`) tell how often it reads a prefix forward and how
often it goes back. What one forward and one backward cost is measured on two prefixes, and follows a power of
the prefix between and beyond them:

    seconds = sum over passes of  forwards * f(s) + backwards * b(s)
    bytes   = largest over passes of  kept(s) + backwards * cotangent(s)

Entropies take one more forward of every response. Times are good to a factor of two or so; lengths of
responses that are yet to be written are taken to be the longest allowed, which makes them upper bounds.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from corrpo.measurement.measure_tasks import encode_sample
from corrpo.measurement.options import MeasureOptions
from corrpo.models.eval_mode import eval_mode
from corrpo.models.generation.backends.transformers import TransformersEngine
from corrpo.models.generation.batches import room_for_response
from corrpo.models.keywords import narrow
from corrpo.models.memory import free_memory
from corrpo.models.probing import Cost, generation_cost, peak_bytes_of, seconds_of, weight_bytes
from corrpo.models.threads import threads_for
from corrpo.models.token_limits import context_length, vocabulary_size
from corrpo.models.turns import model_turn
from corrpo.samples import Sample, as_samples
from corrpo.samples.token_sampling import stratified_positions
from corrpo.strength.entropy import token_entropy
from corrpo.strength.gradient_norms import logit_gradient_norms, passes_of
from corrpo.strength.spec import GradientSpec

LONGEST_PROBE = 512
"""Tokens of the longest prefix that is measured; longer ones are drawn out from it."""
_SHORTEST_PROBE = 8
_PROBED_TARGETS = (2, 6)


@dataclass(frozen=True)
class Reading:
    """One response to be measured.

    Attributes:
        prompt_tokens: before the response.
        response_tokens: of the response.
        positions: of the measured tokens in prompt and response together, ascending.
    """

    prompt_tokens: int
    response_tokens: int
    positions: Sequence[int]

    @property
    def length(self) -> int:
        """Tokens of prompt and response."""
        return self.prompt_tokens + self.response_tokens


@dataclass(frozen=True)
class DryRun:
    """What a measurement would do, and what it would take on this machine.

    Attributes:
        samples: how many there are.
        generated: how many of them the model would answer.
        response_tokens: of all responses, those to be written being as long as they may.
        measured_tokens: how many of these the estimator takes.
        generation: of writing responses.
        measurement: of reading them, with the untrained control if it is asked for.
        weight_bytes: of the model, and of the untrained control.
        free_bytes: memory that is free now, with the model loaded.
    """

    samples: int
    generated: int
    response_tokens: int
    measured_tokens: int
    generation: Cost
    measurement: Cost
    weight_bytes: int
    free_bytes: int

    @property
    def cost(self) -> Cost:
        """Of generation and measurement, one after the other."""
        return self.generation + self.measurement


def dry_run(
    model: Any,
    tokenizer: Any,
    samples: Path | str | Iterable[Sample | Mapping[str, Any]],
    options: MeasureOptions,
) -> DryRun:
    """What `measure` would do with these arguments; measures a few tokens, and writes nothing.

    Raises:
        CorrpoError: as `measure` raises for samples, options and models that cannot be used.
    """
    work = [encode_sample(sample, model, tokenizer, options) for sample in as_samples(samples)]
    context, device = context_length(model), next(model.parameters()).device
    rooms = [
        room_for_response(context, item.prompt_ids, options.max_new_tokens)
        if item.response_ids is None
        else len(item.response_ids)
        for item in work
    ]
    readings = [
        _reading(item.sample.id, len(item.prompt_ids), room, options)
        for item, room in zip(work, rooms, strict=True)
    ]
    copies = 2 if options.untrained else 1
    with model_turn(model), threads_for(model), eval_mode(model):
        generation = generation_cost(
            TransformersEngine(model, tokenizer), device, _batches(work, rooms, options)
        )
        once = measurement_cost(model, [reading for reading in readings if reading.positions], options)
    return DryRun(
        samples=len(work),
        generated=sum(item.response_ids is None for item in work),
        response_tokens=sum(rooms),
        measured_tokens=sum(len(reading.positions) for reading in readings),
        generation=generation,
        measurement=Cost(copies * once.seconds, once.peak_bytes),
        weight_bytes=copies * weight_bytes(model),
        free_bytes=free_memory(device),
    )


def _reading(sample: str, prompt_tokens: int, response_tokens: int, options: MeasureOptions) -> Reading:
    """A response of at least two tokens with its measured tokens; none of a shorter one are measured."""
    if response_tokens < 2:
        return Reading(prompt_tokens, response_tokens, [])
    chosen = stratified_positions(response_tokens, options.max_tokens, options.seed, sample)
    return Reading(prompt_tokens, response_tokens, (chosen + prompt_tokens).tolist())


def _batches(
    work: Sequence[Any], rooms: Sequence[int], options: MeasureOptions
) -> list[tuple[list[list[int]], int]]:
    """The prompts that are answered together, and the most tokens of their responses."""
    batches = []
    for start in range(0, len(work), options.batch_size):
        asked = [
            (item.prompt_ids, room)
            for item, room in zip(work[start:][: options.batch_size], rooms[start:], strict=False)
            if item.response_ids is None
        ]
        if asked:
            batches.append(([prompt for prompt, _ in asked], max(room for _, room in asked)))
    return batches


@dataclass(frozen=True)
class _Rates:
    """What was measured at one prefix: seconds and bytes of a forward, and of each backward."""

    prefix: int
    forward_seconds: float
    backward_seconds: float
    kept_bytes: float
    backward_bytes: float
    entropy_seconds: float


def measurement_cost(model: Any, readings: Sequence[Reading], options: MeasureOptions) -> Cost:
    """What it would take to measure responses of these lengths; the model is left as found."""
    if not readings:
        return Cost(0.0, 0.0)
    longest = min(LONGEST_PROBE, max(reading.length for reading in readings) - 1)
    short, long = (
        _measured_rates(model, prefix, options)
        for prefix in (max(_SHORTEST_PROBE, longest // 4), max(_SHORTEST_PROBE + 1, longest))
    )
    seconds_of_forward = _power_law(short, long, lambda rates: rates.forward_seconds)
    seconds_of_backward = _power_law(short, long, lambda rates: rates.backward_seconds)
    seconds_of_entropies = _power_law(short, long, lambda rates: rates.entropy_seconds)
    kept_bytes = _power_law(short, long, lambda rates: rates.kept_bytes)
    backward_bytes = _power_law(short, long, lambda rates: rates.backward_bytes)
    seconds, peak, spec = 0.0, 0.0, narrow(options, GradientSpec)
    for reading in readings:
        seconds += seconds_of_entropies(reading.length)
        for part in passes_of(model, reading.positions, reading.length, spec):
            seconds += part.forwards * seconds_of_forward(part.prefix)
            seconds += part.backwards * seconds_of_backward(part.prefix)
            peak = max(peak, kept_bytes(part.prefix) + part.backwards * backward_bytes(part.prefix))
    return Cost(seconds, peak)


def _measured_rates(model: Any, prefix: int, options: MeasureOptions) -> _Rates:
    """Measure a few of the last tokens of `prefix` + 1 random ones."""
    device, spec = next(model.parameters()).device, narrow(options, GradientSpec)
    generator = torch.Generator().manual_seed(options.seed)
    ids = torch.randint(vocabulary_size(model), (prefix + 1,), generator=generator).to(device)
    logit_gradient_norms(model, ids, [prefix], **asdict(spec))  # estimators try a new model out first
    counts, seconds, peaks = [], [], []
    for targets in _PROBED_TARGETS:
        positions = list(range(max(1, prefix + 1 - targets), prefix + 1))

        def measure(positions: list[int] = positions) -> torch.Tensor:
            return logit_gradient_norms(model, ids, positions, **asdict(spec))

        parts = passes_of(model, positions, prefix + 1, spec)
        counts.append((sum(part.forwards for part in parts), sum(part.backwards for part in parts)))
        peaks.append(peak_bytes_of(measure, device))
        seconds.append(seconds_of(measure))
    (forward, backward), _ = nnls(np.array(counts, dtype=float), np.array(seconds))
    largest = np.array([(1, max(1, count[1])) for count in counts], dtype=float)
    (kept, cotangent), _ = nnls(largest, np.array(peaks, dtype=float))
    return _Rates(prefix, forward, backward, kept, cotangent, _entropy_seconds(model, ids))


def _entropy_seconds(model: Any, ids: torch.Tensor) -> float:
    """Of one forward pass with the entropies of all its tokens."""

    def read() -> torch.Tensor:
        with torch.no_grad():
            return token_entropy(model(input_ids=ids[None], use_cache=False).logits[0])

    return seconds_of(read)


def _power_law(short: _Rates, long: _Rates, quantity: Callable[[_Rates], float]) -> Callable[[int], float]:
    """A quantity as c s^p through two measured prefixes s; p is at least 0 and at most 3."""
    low, high = quantity(short), quantity(long)
    if min(low, high) <= 0:
        return lambda prefix: high * prefix / long.prefix
    exponent = min(3.0, max(0.0, math.log(high / low) / math.log(long.prefix / short.prefix)))
    return lambda prefix: high * (prefix / long.prefix) ** exponent
