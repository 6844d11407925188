"""The order of prompts in a run that is resumed after its first epoch.

TRL's sampler of the RL trainers draws each epoch's order from a generator of its own, which no checkpoint
holds: a resumed run would begin again with the order of the first epoch. Drawn as often as there were epochs,
it gives the orders of an undisturbed run.
"""

from typing import Any

import torch
from transformers import TrainerCallback
from trl.trainer.utils import RepeatSampler


class SameOrder(TrainerCallback):
    """Brings the sampler of a resumed run to the epoch that it resumes in; does nothing to other samplers."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Draw the orders of the epochs that are done."""
        sampler = repeat_sampler(kwargs.get("train_dataloader"))
        if sampler is None or not sampler.shuffle:
            return
        for _ in range(int(state.epoch or 0)):
            torch.randperm(sampler.num_samples, generator=sampler.generator)


def repeat_sampler(loader: Any) -> RepeatSampler | None:
    """TRL's sampler beneath a data loader and accelerate's batching around it; None for others."""
    sampler = loader
    while sampler is not None and not isinstance(sampler, RepeatSampler):
        sampler = getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None)
    return sampler
