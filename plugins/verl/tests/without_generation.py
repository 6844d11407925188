"""A trainer with its worker group of two processes, and recorded rollouts in the place of generated ones.

All is verl's own but the rollout engine, which needs a GPU: workers have the role "actor".
"""

from types import SimpleNamespace

import torch
import transfer_queue as tq
from hydra import compose, initialize_config_module
from transfer_queue import KVBatchMeta
from verl.single_controller.ray import RayClassWithInitArgs, RayResourcePool, RayWorkerGroup
from verl.single_controller.ray.base import create_colocated_worker_cls
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1 import get_trainer_cls
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

from corrpo.lab import checkpoint

MODEL = checkpoint("qwen2", "reasoning")

_OVERRIDES = [
    f"actor_rollout_ref.model.path={MODEL}",
    "actor_rollout_ref.model.use_remove_padding=false",
    "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
    "actor_rollout_ref.actor.use_torch_compile=false",
    "+actor_rollout_ref.actor.fsdp_config.mixed_precision={param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}",
    "actor_rollout_ref.actor.ppo_mini_batch_size=2",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=2",
    "actor_rollout_ref.actor.optim.lr=1e-3",
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.n=4",
    "actor_rollout_ref.rollout.calculate_log_probs=false",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=2",
    "algorithm.adv_estimator=grpo",
    "data.train_batch_size=2",
    "trainer.device=cpu",
    "trainer.n_gpus_per_node=2",
]


def configuration(*overrides: str, trainer: str = "corrpo"):
    """verl's configuration for two processes on the CPU, the lab's model and two prompts of four rollouts."""
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", [*_OVERRIDES, f"trainer.v1.trainer_mode={trainer}", *overrides])


def trainer_on(config, worker_group=None):
    """verl's trainer of a configuration, ready for its first step of four; with given workers or its own."""
    trainer = get_trainer_cls(config.trainer.v1.trainer_mode)(config)
    trainer._init_tokenizer()
    trainer._init_resource_pool_mgr()
    trainer.timing_raw, trainer.global_steps, trainer.total_training_steps = {}, 1, 4
    trainer.actor_rollout_wg = _workers(trainer) if worker_group is None else worker_group
    trainer.on_sample_end = trainer.on_sample_begin = trainer.prepare_step = lambda: None
    trainer.reward_loop_manager = SimpleNamespace(reward_loop_worker_handles=[])
    trainer.train_dataloader = SimpleNamespace(state_dict=dict, load_state_dict=lambda state: None)
    return trainer


def _workers(trainer):
    worker = RayClassWithInitArgs(
        cls=trainer.role_worker_mapping[Role.ActorRollout],
        config=trainer.config.actor_rollout_ref,
        role="actor",
    )
    group = RayWorkerGroup(
        resource_pool=RayResourcePool([2], use_gpu=False, max_colocate_count=1),
        ray_cls_with_init=create_colocated_worker_cls({"actor": worker}),
        device_name="cpu",
    ).spawn({"actor"})["actor"]
    group.init_model()
    return group


def put(rollouts, *, order=None, sizes=(4, 4), images=False) -> KVBatchMeta:
    """Put recorded rollouts into verl's queue, as its agent loops do; the batch, in `order`.

    Args:
        rollouts: lists "prompts", "completions", "task", by prompt.
        order: the rows, reordered, as verl's balancing does.
        sizes: rollouts of each prompt.
        images: whether prompts come with some.
    """
    if left := list((tq.kv_list("train") or {}).get("train", {})):
        tq.kv_clear(keys=left, partition_id="train")
    keys = [f"prompt{group}_{session}_0" for group, size in enumerate(sizes) for session in range(size)]
    rows, tags = [], []
    triples = zip(rollouts["prompts"], rollouts["completions"], rollouts["task"], strict=True)
    for key, (prompt, completion, task) in zip(keys, triples, strict=True):
        ids, mask = torch.tensor(prompt + completion), torch.ones(len(completion), dtype=torch.int64)
        scores = torch.zeros(len(completion))
        scores[-1] = task
        rows.append(
            {
                "uid": key.split("_")[0],
                "prompts": torch.tensor(prompt),
                "responses": torch.tensor(completion),
                "input_ids": ids,
                "position_ids": torch.arange(len(ids)),
                "attention_mask": torch.ones_like(ids),
                "response_mask": mask,
                "loss_mask": mask,
                "rm_scores": scores,
                "multi_modal_inputs": {"pixel_values": torch.zeros(1)} if images else {},
                "num_turns": 2,
            }
        )
        tags.append({"seq_len": len(ids), "min_global_steps": 0, "max_global_steps": 0})
    tq.kv_batch_put(keys=keys, partition_id="train", fields=list_of_dict_to_tensordict(rows), tags=tags)
    order = range(len(keys)) if order is None else order
    batch = KVBatchMeta(keys=[keys[i] for i in order], tags=[tags[i] for i in order], partition_id="train")
    batch.extra_info["temperature"] = 1.0
    return batch


def read(batch: KVBatchMeta, field: str) -> torch.Tensor:
    """A field of a batch, rows padded with 0."""
    values = tq.kv_batch_get(keys=batch.keys, partition_id="train", select_fields=[field])[field]
    return values.to_padded_tensor(0.0) if values.is_nested else values
