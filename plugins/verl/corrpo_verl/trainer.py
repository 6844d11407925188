"""The trainer "corrpo": verl's synchronous trainer with the inversion in the reward of each rollout.

What is overridden: `_init_resource_pool_mgr`, to put `CorRPOWorker` in the place of verl's worker;
`_compute_advantage`, to add the weighted inversion reward to the task reward before verl turns it into
advantages; saving and loading of checkpoints, to keep the starting rho of control "clamp" and the tokens from
which strengths follow. All else is verl's own.
"""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch
import transfer_queue as tq
from jaxtyping import Float
from omegaconf import DictConfig, open_dict
from tensordict import TensorDict
from torch import Tensor
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import PPOTrainerSync, register_trainer
from verl.utils.debug import marked_timer

from corrpo.rewards.inversion_step import InversionState, batch_metrics, inversion_step
from corrpo.rewards.rollouts import RolloutSignals
from corrpo.rewards.strength_fit import StrengthFit
from corrpo_verl.groups import rollout_groups
from corrpo_verl.settings import NAME, checked_settings
from corrpo_verl.worker import READ_FIELDS, SEED, SIGNALS, CorRPOWorker

_log = logging.getLogger(__name__)


@register_trainer(NAME)
class CorRPOTrainer(PPOTrainerSync):
    """verl's synchronous trainer with the correlation of entropy and gradient strength in the reward.

    Chosen by `trainer.v1.trainer_mode=corrpo`; its settings are the fields `inversion_*` of
    `InversionSettings` under the key `corrpo` of the configuration. Logged beside verl's metrics:
    `inversion/` with what `batch_metrics` gives, reward_mean and reward_std (before the weight) and weight,
    and timing_s/inversion. critic/score is the task reward as before, critic/rewards the sum.

    Raises:
        BadInputError, UnsupportedModelError: settings, engine or model that cannot work; before any training.
    """

    def __init__(self, config: DictConfig):
        self.inversion_settings = checked_settings(config)
        self.inversion_state = InversionState()
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"  # by this name verl decides how batches are drawn
            config.actor_rollout_ref[NAME] = asdict(self.inversion_settings)  # what its workers are given
        super().__init__(config)

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        for role in self.role_worker_mapping:
            if role in (Role.ActorRollout, Role.ActorRolloutRef):
                self.role_worker_mapping[role] = ray.remote(CorRPOWorker)

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """verl's advantages of task reward plus weighted inversion reward."""
        with marked_timer("inversion", self.timing_raw):
            added = self._inversion_rewards(batch, metrics)
        task = self._read(batch, "rm_scores")
        total = _added_at_the_end(task, added)
        self._write(batch, rm_scores=total)
        advantages = super()._compute_advantage(batch, metrics)
        self._write(batch, rm_scores=task)
        if not self.config.algorithm.use_kl_in_reward:
            self._write(batch, token_level_rewards=total)
        return advantages

    def _inversion_rewards(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> Float[Tensor, " rows"]:
        """Measure the batch: the weighted inversion reward of each row, 0 for padding."""
        state, settings = self.inversion_state, self.inversion_settings
        state.count_batch(self.global_steps)
        seed = state.batch_seed(self.config.actor_rollout_ref.actor.data_loader_seed)
        self.actor_rollout_wg.measure_rollouts(
            KVBatchMeta(
                keys=batch.keys,
                tags=batch.tags,
                partition_id=batch.partition_id,
                fields=READ_FIELDS,
                extra_info={SEED: seed},
            )
        )
        groups = rollout_groups(batch.keys, [tag.get("is_padding", False) for tag in batch.tags])
        measured = groups.gather(torch.stack(self._read(batch, SIGNALS).unbind()))
        task = groups.gather(self._read(batch, "rm_scores").to_padded_tensor(0.0).sum(1))
        step = inversion_step(
            RolloutSignals.unstacked(measured),
            task[:, None],
            settings,
            state,
            group_size=groups.rows.shape[1],
            seed=seed,
            progress=(self.global_steps - 1) / max(1, self.total_training_steps),
        )
        present = groups.present.flatten()
        reward = step.reward[present]
        logged = batch_metrics(RolloutSignals.unstacked(measured[present])) | {
            "reward_mean": reward.nanmean().item(),
            "reward_std": reward[~reward.isnan()].std().item(),
            "weight": step.weight,
        }
        metrics.update({f"inversion/{name}": value for name, value in logged.items()})
        return groups.spread(step.weight * step.reward)

    def _read(self, batch: KVBatchMeta, field: str) -> Tensor:
        read = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=[field])
        return read[field]

    def _write(self, batch: KVBatchMeta, **fields: Tensor) -> None:
        written = TensorDict(fields, batch_size=len(batch))
        tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=written)

    def _save_checkpoint(self) -> None:
        """verl's, after the inversion's: the note of the latest checkpoint, written last, ends it."""
        self.inversion_state.fit = StrengthFit(self.actor_rollout_wg.judged_tokens()[0])
        self.inversion_state.save(self._checkpoint(), self.inversion_settings)
        super()._save_checkpoint()

    def _load_checkpoint(self) -> None:
        """verl's, with the starting rho and the judged tokens of the run that goes on."""
        super()._load_checkpoint()
        options = self.config.trainer
        by_path = options.resume_mode == "resume_path"
        checkpoint = Path(options.resume_from_path) if by_path else self._checkpoint()
        if self.global_steps and not self.inversion_state.load(checkpoint, self.inversion_settings):
            _log.warning(
                "%s was not written by the trainer %r: its first batch now is the start", checkpoint, NAME
            )
        self.actor_rollout_wg.set_judged_tokens(self.inversion_state.fit.judged)

    def _checkpoint(self) -> Path:
        """The folder of the checkpoint of this step."""
        return Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"


def _added_at_the_end(rewards: Tensor, added: Float[Tensor, " rows"]) -> Tensor:
    """Nested rewards of tokens with each row's number added at its last, where verl has the task's."""
    total = rewards.clone()
    total.values()[total.offsets()[1:] - 1] += added.to(total.values())
    return total
