"""One step of CorR-PO in any engine: from the rollouts of a batch, measured, to the reward that is added.

A trainer gathers the `RolloutSignals` and the task rewards of all processes, and adds `weight * reward` to
the task reward of each rollout before its engine turns rewards into advantages:

    step = inversion_step(signals, task_rewards, settings, state, group_size=8, seed=seed, progress=0.25)
    total = task_reward + step.weight * step.reward

Every process calls this with the same rollouts in the same order, and comes to the same numbers.
"""

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from corrpo.errors import DamagedFileError
from corrpo.jobs.files import read_json, write_json
from corrpo.rewards.inversion import inversion_reward
from corrpo.rewards.inversion_settings import INVERSION_STATE, InversionSettings
from corrpo.rewards.rollouts import RolloutSignals
from corrpo.rewards.schedules import SCHEDULES
from corrpo.rewards.strength_fit import StrengthFit

logger = logging.getLogger(__name__)

INVERSION_FIT = "inversion_fit.safetensors"
"""The file of a checkpoint that keeps the tokens from which strengths follow."""
_SEED_STRIDE = 1_000_003


@dataclass
class InversionState:
    """What a run carries from batch to batch.

    Attributes:
        start_rho: the mean rho of the first training rollouts that have one, which control "clamp" holds;
            None until then. A checkpoint keeps it.
        fit: from which strengths of rollouts follow, with the tokens of the latest batches of training. A
            checkpoint keeps them.
    """

    start_rho: float | None = None

    def __post_init__(self) -> None:
        self.fit = StrengthFit()
        self._tokens_seen, self._batches = 0, 0

    def count_batch(self, tokens_seen: int) -> None:
        """Note that a batch begins, after `tokens_seen` tokens of training."""
        self._batches = self._batches + 1 if tokens_seen == self._tokens_seen else 0
        self._tokens_seen = tokens_seen

    def batch_seed(self, seed: int) -> int:
        """The seed of this batch: another for every batch, the same when a run is resumed.

        It decides which tokens are measured and what control "shuffle" deals out. The tokens that training
        has seen tell its batches apart, and a count those of an evaluation.
        """
        return seed + self._tokens_seen + _SEED_STRIDE * self._batches

    def starting_rho(self, rho: Float[Tensor, " rollouts"], *, is_training: bool) -> float:
        """`start_rho`, set from this batch if it is the first of training; the mean of `rho` before that."""
        mean = float(torch.nan_to_num(rho.nanmean()))
        if is_training and self.start_rho is None and not rho.isnan().all():
            self.start_rho = mean
        return mean if self.start_rho is None else self.start_rho

    def as_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, JSON-safe; `InversionState(**kept)` reads it."""
        return {"start_rho": self.start_rho}

    def save(self, checkpoint: Path, settings: InversionSettings) -> None:
        """Write what a checkpoint keeps into its folder, before what says that it is complete."""
        write_json(checkpoint / INVERSION_STATE, self.as_dict() | {"judged": _judged_parts(settings)})
        self.fit.save(checkpoint / INVERSION_FIT)

    def load(self, checkpoint: Path, settings: InversionSettings) -> bool:
        """Go on from the folder of a checkpoint; False if it keeps no state, and then as before.

        Judged tokens of other layers or projections than the settings say are left behind, with a warning.

        Raises:
            DamagedFileError: a file of the checkpoint is not as it was written.
        """
        file = checkpoint / INVERSION_STATE
        if not file.exists():
            return False
        kept = read_json(file)
        if not isinstance(kept, dict) or "start_rho" not in kept:
            raise DamagedFileError(f"{file} holds no start_rho; go on from another checkpoint")
        self.start_rho = kept["start_rho"]
        parts = _judged_parts(settings)
        if not (checkpoint / INVERSION_FIT).exists():
            return True
        if kept.get("judged", parts) == parts:
            self.fit = StrengthFit.load(checkpoint / INVERSION_FIT)
        else:
            logger.warning(
                "%s keeps judged tokens of %s, and %s are asked for: the regression of strengths starts anew",
                checkpoint,
                kept["judged"],
                parts,
            )
        return True


def _judged_parts(settings: InversionSettings) -> dict[str, Any]:
    """What the columns of judged tokens are of, JSON-safe."""
    gradient = settings.gradient
    layers = None if gradient.layers is None else list(gradient.layers)
    return {"layers": layers, "projections": list(gradient.projections)}


@dataclass(frozen=True)
class InversionStep:
    """What follows from the rollouts of a batch.

    Attributes:
        reward: the inversion reward of each rollout before its weight, float32 [rollouts] on the device of
            the signals; NaN for a rollout that no task reward could score, which stays without a reward.
        weight: lambda now.
        metrics: what to log of the batch, by name; NaN where no rollout has it.
    """

    reward: Float[Tensor, " rollouts"]
    weight: float
    metrics: dict[str, float]


def inversion_step(
    signals: RolloutSignals,
    task_rewards: Float[Tensor, "rollouts functions"] | None,
    settings: InversionSettings,
    state: InversionState,
    *,
    group_size: int,
    seed: int,
    progress: float,
    is_training: bool = True,
) -> InversionStep:
    """The inversion reward of a batch of rollouts, its weight now, and what to log.

    Args:
        signals: of the rollouts of all processes; those of one prompt stand together.
        task_rewards: of the same rollouts, NaN for what could not be scored; the first column decides which
            rollouts are correct. None or no column without a verifier.
        settings: the run's.
        state: the run's; its starting rho is set by the first batch of training.
        group_size: rollouts per prompt.
        seed: of this batch, the same on every process; see `InversionState.batch_seed`.
        progress: the part of training that is done, 0 to 1.
        is_training: False for the rollouts of an evaluation, which set no starting rho.

    Raises:
        BadInputError: see `inversion_reward`.

    >>> rho, other = torch.tensor([-0.5, 0.25]).double(), torch.ones(2).double()
    >>> signals = RolloutSignals(rho, other, other, other, other, other)
    >>> settings = InversionSettings(inversion_schedule="linear")
    >>> step = inversion_step(signals, None, settings, InversionState(), group_size=2, seed=0, progress=0.5)
    >>> step.reward, step.weight
    (tensor([ 0.5000, -0.2500]), 0.25)
    """
    tasks = task_rewards if task_rewards is not None and task_rewards.shape[1] else None
    reward = inversion_reward(
        signals.rho,
        group_size=group_size,
        shape=settings.inversion_shape,
        control=settings.inversion_control,
        gate=settings.inversion_gate,
        task=None if tasks is None else tasks[:, 0].double(),
        start=state.starting_rho(signals.rho, is_training=is_training),
        generator=torch.Generator().manual_seed(seed),
    )
    if tasks is not None:
        reward = reward.masked_fill(tasks.isnan().all(1), math.nan)
    weight = settings.inversion_weight * SCHEDULES[settings.inversion_schedule](progress)
    return InversionStep(reward, weight, batch_metrics(signals))


def batch_metrics(signals: RolloutSignals) -> dict[str, float]:
    """What to log of a batch: means and spreads over its rollouts, and the share without a rho."""
    has_rho = ~signals.rho.isnan()
    rho = signals.rho[has_rho]
    return {
        "rho_mean": rho.mean().item(),
        "rho_std": rho.std().item() if len(rho) > 1 else math.nan,
        "entropy_mean": signals.entropy_mean.nanmean().item(),
        "entropy_std": signals.entropy_std.nanmean().item(),
        "strength_mean": signals.strength_mean.nanmean().item(),
        "strength_std": signals.strength_std.nanmean().item(),
        "tokens_mean": signals.tokens.mean().item(),
        "without_rho": (~has_rho).double().mean().item(),
    }
