"""`FingerprintCallback`: follow the Entropy-Gradient Inversion of a model while any Trainer trains it.

Our choices: the model is measured between two optimizer steps, in its own dtype (without the autocast around
a training step; FSDP2 keeps the dtypes of its policy), so that the figures are those of `corrpo measure` on a
checkpoint of that step. And training goes on as if nothing had been measured: weights, random states and
modes are the same bit for bit.
"""

import logging
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import (
    ProcessorMixin,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from corrpo.errors import BadInputError, NonFiniteError, OutputFolderError
from corrpo.jobs.files import read_json
from corrpo.jobs.run_folder import is_whole
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.fingerprint_format import FINGERPRINT
from corrpo.measurement.measure_tasks import encode_sample, try_estimator
from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.pipeline import measure
from corrpo.measurement.trajectory import step_folders
from corrpo.models.description import model_digest
from corrpo.models.keywords import keywords_of, narrow
from corrpo.models.sharding import awaits_engine, full_parameters
from corrpo.samples import Sample, as_samples, samples_digest

logger = logging.getLogger(__name__)

COEFFICIENTS = ("spearman", "position_partial", "pearson")
"""The correlations of a fingerprint that are logged."""


@dataclass(frozen=True, kw_only=True)
class CallbackOptions(MeasureOptions):
    """The keywords of `FingerprintCallback`; some defaults are cheaper than those of a measurement.

    Raises:
        BadInputError: a value out of its range.
    """

    max_tokens: int | None = 64
    resamples: int = 200
    permutations: int = 0
    every: int = 50
    """Optimizer steps between measurements."""
    at_start: bool = True
    """Also measure before the first step (step 0), unless the run is resumed."""
    output: Path | str | None = None
    """A folder for the full fingerprint of each measurement, OUTPUT/step-000050 and so on, which `corrpo
    compare` reads. A step that is there with the same weights is read, not measured again. If its weights
    are others, it and all later steps are moved to OUTPUT/earlier-1 with a warning."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.every, bool) or not isinstance(self.every, int) or self.every < 1:
            raise BadInputError(
                f"every={self.every!r}: expected a whole number of optimizer steps, 1 or more"
            )


class FingerprintCallback(TrainerCallback):
    """Measures the fingerprint of the model in training every N optimizer steps, and logs it.

        trainer = SFTTrainer(model, args, train_dataset=data, processing_class=tokenizer)
        trainer.add_callback(FingerprintCallback(trainer, "samples.jsonl", every=50, output="out/track"))
        trainer.train()

    Logged, to whatever the run reports to and in `trainer.state.log_history`, each as a float under
    `fingerprint/`:

    - spearman, spearman_low, spearman_high, position_partial, pearson: over token positions (METHOD 1);
    - entropy_mean (bits) and strength_mean: over the measured tokens;
    - response_tokens_mean: the length of the responses, beside rho because rho moves with it;
    - measured_tokens, and seconds: how many tokens rho is over, and what measuring them took;
    - undefined: 1, and only then, where a coefficient does not exist (constant entropy, say) or the model
      gives NaN. What does not exist is left out, a warning of this module's logger says why, and training
      goes on.

    Cost: `max_tokens` gradients a sample (64 here; see METHOD 3 for each estimator's) and, without given
    responses, their generation (`max_new_tokens`). The other processes wait for the main one, so that a
    measurement must be quicker than `TrainingArguments.ddp_timeout`.

    Args:
        trainer: any transformers or TRL Trainer, made with a tokenizer as `processing_class`.
        samples: a JSONL file, or dicts, as in `corrpo.measure`; read once. A given response is the same text
            at every step; without one, the model writes a new one each time, from the same seed.
        options: given as keywords, the fields of `CallbackOptions`.

    Raises:
        BadInputError: a sample, an option or an `every` that cannot be used; no tokenizer.
        UnsupportedModelError: the estimator does not fit the model.
        OutputFolderError: `output` cannot be made, or holds steps measured with other samples or options.
            All of these when the callback is made, before any training; but under DeepSpeed ZeRO-3, whose
            weights can be gathered only when training begins, the estimator is tried then.
    """

    @keywords_of(CallbackOptions)
    def __init__(
        self,
        trainer: Trainer,
        samples: Path | str | Iterable[Sample | Mapping[str, Any]],
        options: CallbackOptions,
    ):
        """Check the samples and the options against the trainer's model."""
        self.trainer = trainer
        self.every = options.every
        self.at_start = options.at_start
        self.output = None if options.output is None else Path(options.output)
        self.samples = as_samples(samples)
        self.sample_set = Path(samples).stem if isinstance(samples, Path | str) else "samples"
        self.tokenizer = _tokenizer_of(trainer)
        self.settings = narrow(options, MeasureOptions)
        model = trainer.accelerator.unwrap_model(trainer.model)
        for sample in self.samples:
            encode_sample(sample, model, self.tokenizer, self.settings)
        if self.output is not None:
            _check_output(self.output, self.settings.as_dict(), samples_digest(self.samples))
        self._tried = False
        if not awaits_engine(trainer.model_wrapped):  # pyright: ignore[reportArgumentType]
            self._try_estimator()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure step 0, if wanted; a resumed run has left it behind."""
        if not self._tried:
            self._try_estimator()
        if self.at_start and state.global_step == 0:
            self._follow(0, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure every `every` optimizer steps."""
        if state.global_step % self.every == 0:
            self._follow(state.global_step, control)

    def _try_estimator(self) -> None:
        """On every process alike, so that all of them end with the error."""
        with random_states_kept(), self._whole_model() as model:
            try_estimator(model, self.settings)
        self._tried = True

    def _follow(self, step: int, control: TrainerControl) -> None:
        """Measure on the main process while the others wait with their shards, and log."""
        accelerator = self.trainer.accelerator
        began, metrics = time.perf_counter(), {}
        with random_states_kept(), self._whole_model() as model:
            if accelerator.is_main_process:
                metrics = self._metrics(model, step)
            accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            self._log(metrics | {"seconds": time.perf_counter() - began}, control)

    def _metrics(self, model: nn.Module, step: int) -> dict[str, float]:
        try:
            fingerprint = self._fingerprint(model, step)
        except NonFiniteError as error:
            logger.warning("step %d: the fingerprint is undefined, training goes on: %s", step, error)
            return {"undefined": 1.0}
        metrics = summary_metrics(fingerprint)
        if "undefined" in metrics:
            missing = {
                name: fingerprint.statistics[name].reason for name in COEFFICIENTS if name not in metrics
            }
            why = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            logger.warning("step %d: coefficients that do not exist are not logged: %s", step, why)
        return metrics

    def _fingerprint(self, model: nn.Module, step: int) -> Fingerprint:
        """That of an earlier run of this step with the same weights, or a new one, saved if wanted."""
        earlier = None if self.output is None else step_folders(self.output).get(step)
        if earlier is not None and is_whole(partial(Fingerprint.load, earlier), earlier / FINGERPRINT):
            if (known := Fingerprint.load(earlier)).model["digest"] == model_digest(model):
                return known
            _set_aside(earlier.parent, step)
        fingerprint = measure(model, self.tokenizer, self.samples, **vars(self.settings))
        fingerprint = replace(fingerprint, samples=fingerprint.samples | {"name": self.sample_set})
        if self.output is not None:
            fingerprint.save(_step_folder(self.output, step))
        return fingerprint

    def _log(self, metrics: dict[str, float], control: TrainerControl) -> None:
        """Through the base class: GRPOTrainer.log and its like also flush their own averaged metrics.

        Any log clears `should_log`, which would cost the trainer its own log of this step: it is put back.
        """
        should_log = control.should_log
        Trainer.log(self.trainer, {f"fingerprint/{name}": value for name, value in metrics.items()})
        control.should_log = should_log

    @contextmanager
    def _whole_model(self) -> Iterator[Any]:
        """The bare model with all of its weights at hand on this process, wrapped or sharded as it may be."""
        with full_parameters(self.trainer.model_wrapped) as module:  # pyright: ignore[reportArgumentType]
            yield self.trainer.accelerator.unwrap_model(module)


def summary_metrics(fingerprint: Fingerprint) -> dict[str, float]:
    """The figures of a fingerprint that are logged, without the prefix; see `FingerprintCallback`."""
    measured = fingerprint.tokens.drop_nulls("strength")
    figures = {
        **{name: fingerprint.statistics[name].value for name in COEFFICIENTS},
        "spearman_low": fingerprint.spearman.low,
        "spearman_high": fingerprint.spearman.high,
        "entropy_mean": measured["entropy_bits"].mean(),
        "strength_mean": measured["strength"].mean(),
        "response_tokens_mean": fingerprint.responses["response_tokens"].mean(),
        "measured_tokens": measured.height,
    }
    metrics = {name: float(value) for name, value in figures.items() if value is not None}  # pyright: ignore
    if not metrics.keys() >= set(COEFFICIENTS):
        metrics["undefined"] = 1.0
    return metrics


@contextmanager
def random_states_kept() -> Iterator[None]:
    """The global random states of Python, NumPy and torch (CPU and every CUDA device in use) as before."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices=devices, device_type="cuda"):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def _tokenizer_of(trainer: Trainer) -> Any:
    given = trainer.processing_class
    tokenizer = given.tokenizer if isinstance(given, ProcessorMixin) else given  # pyright: ignore
    if tokenizer is None or not hasattr(tokenizer, "decode"):
        raise BadInputError(
            f"the trainer's processing_class is {type(given).__name__}; expected the model's tokenizer: make "
            "the trainer with processing_class=AutoTokenizer.from_pretrained(...)"
        )
    return tokenizer


def _check_output(output: Path, settings: dict[str, Any], digest: str) -> None:
    """Make the folder, and refuse it if steps in it were measured on other samples or with other options."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFolderError(f"cannot make the folder {output}: {error.strerror or error}") from error
    for folder in step_folders(output).values():
        summary = read_json(folder / FINGERPRINT)
        before = summary["settings"]
        names = [name for name in settings | before if settings.get(name) != before.get(name)]
        differences = [f"{name} was {before.get(name)!r}, now {settings.get(name)!r}" for name in names]
        if summary["samples"]["digest"] != digest:
            differences.append("the samples were others")
        if differences:
            raise OutputFolderError(
                f"{folder} was measured otherwise: {'; '.join(differences)}. Use the same samples and "
                "options to go on with it, or give another output"
            )


def _step_folder(output: Path, step: int) -> Path:
    return output / f"step-{step:06d}"


def _set_aside(output: Path, step: int) -> None:
    """Move a step measured on other weights, and all later ones, to the first free OUTPUT/earlier-N."""
    earlier = next(path for path in (output / f"earlier-{i}" for i in count(1)) if not path.exists())
    moved = [folder for number, folder in step_folders(output).items() if number >= step]
    try:
        earlier.mkdir()
        for folder in moved:
            folder.rename(earlier / folder.name)
    except OSError as error:
        raise OutputFolderError(f"cannot move {moved[0]} to {earlier}: {error.strerror or error}") from error
    logger.warning(
        "%s was measured on other weights than this run's; it and later steps (%d in all) are now in %s",
        moved[0],
        len(moved),
        earlier,
    )
