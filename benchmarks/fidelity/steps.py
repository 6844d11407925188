"""A CorR-PO step over a GRPO step with each estimator: `python benchmarks/fidelity/steps.py MODEL`.

A step is TRL's, with TRL's defaults: a group of 8 rollouts is generated, scored and learned from. Its
rollouts are kept and then measured by each estimator, by the clock that CorR-PO logs as inversion/seconds.
The ratio is that of the step with the measurement to the step without it, the quickest after the first.
"""

import resource
import tempfile
import time
from argparse import ArgumentParser
from typing import Any

import torch
from datasets import Dataset
from lengths import SAMPLES
from torch import Tensor

from common import heading, table
from corrpo import CorRPOConfig, CorRPOTrainer, load_model
from corrpo.lab import sample_location
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.rollouts import RolloutMeter
from corrpo.rewards.strength_fit import StrengthFit
from corrpo.rewards.task_rewards.exact_answer import exact_answer
from corrpo.samples import load_samples
from corrpo.strength.estimators import estimator_named

GROUP = 8
SETTINGS: dict[str, dict[str, Any]] = {
    "own, fitted": {},
    "own, q o, upper half": {"inversion_fit_tokens": 0},
    "last": {"inversion_estimator": "last"},
    "pruned-8 on 16 tokens": {
        "inversion_estimator": "pruned",
        "inversion_kept": 8,
        "inversion_max_tokens": 16,
    },
    "pruned-32 on 16 tokens": {"inversion_estimator": "pruned", "inversion_max_tokens": 16},
    "exact on 16 tokens": {"inversion_estimator": "exact", "inversion_max_tokens": 16},
    "pruned-8": {"inversion_estimator": "pruned", "inversion_kept": 8},
    "pruned-32": {"inversion_estimator": "pruned"},
    "exact": {"inversion_estimator": "exact"},
}


class Recorder(CorRPOTrainer):
    """CorR-PO that keeps the rollouts of its last step."""

    rollouts: tuple[list[list[int]], list[list[int]]]

    def _measure(self, completion_ids: list[list[int]]) -> Tensor:
        self.rollouts = (self._prompt_ids, completion_ids)
        return super()._measure(completion_ids)


def recorder(options: Any) -> Recorder:
    """A trainer whose steps change nothing: learning rate 0, plain SGD."""
    model, tokenizer = load_model(options.model, dtype="float32")
    samples = load_samples(sample_location(options.samples))
    config = CorRPOConfig(
        output_dir=tempfile.mkdtemp(),
        use_cpu=not torch.cuda.is_available(),
        bf16=torch.cuda.is_available(),
        per_device_train_batch_size=GROUP,
        num_generations=GROUP,
        max_completion_length=options.tokens,
        generation_kwargs={"min_new_tokens": options.tokens},
        max_steps=options.steps,
        learning_rate=0.0,
        optim="sgd",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    rows = [{"prompt": sample.prompt, "answer": sample.answer or ""} for sample in samples]
    return Recorder(
        model, exact_answer, args=config, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )


def seconds(model: Any, rollouts: tuple[list[list[int]], list[list[int]]], settings: dict[str, Any]) -> float:
    """Wall time of measuring the rollouts, after the meter has tried the model and judged a first batch.

    Estimators that take one rollout at a time take the first one, and its time counts for all.
    """
    asked = InversionSettings(**settings)
    meter, fit = RolloutMeter(model, asked), StrengthFit()
    alike = 1 if estimator_named(asked.gradient.estimator).batched else GROUP
    measured = [ids[: GROUP // alike] for ids in rollouts]
    if meter.fits:
        fit.add(meter.judge(model, *rollouts, fit))
    start = time.perf_counter()
    if meter.fits:
        fit.add(meter.judge(model, *rollouts, fit))
    meter(model, *measured, fit=fit)
    return (time.perf_counter() - start) * alike


def main() -> None:
    """Take the steps, measure the rollouts of the last one, and print the table."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--samples", default=str(SAMPLES), help="prompts with answers (JSONL)")
    parser.add_argument("--tokens", type=int, default=128, help="of every rollout")
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    trainer = recorder(options)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "step_time" in entry][1:]
    grpo = min(entry["step_time"] - entry["inversion/seconds"] for entry in logged)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    rows = []
    for name, settings in SETTINGS.items():
        measuring = seconds(trainer.model, trainer.rollouts, settings)
        rows.append([name, f"{measuring:.1f} s", f"{1 + measuring / grpo:.2f}"])
        print(f"{name}: {measuring:.1f} s", flush=True)
    with heading(
        f"A CorR-PO step over a GRPO step of {GROUP} rollouts of {options.tokens} tokens: {grpo:.1f} s, "
        f"{peak:.1f} GiB"
    ):
        table(["strengths", "measuring", "CorR-PO / GRPO"], rows)


if __name__ == "__main__":
    main()
