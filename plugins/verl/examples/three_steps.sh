#!/usr/bin/env bash
# Three steps of CorR-PO on verl with vLLM: needs one GPU of 24 GB and an environment with verl[vllm] and this plug-in.
#
#     MODEL=Qwen/Qwen2.5-0.5B-Instruct bash plugins/verl/examples/three_steps.sh OUTPUT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
output=${1:?the folder to write to}
mkdir -p "$output"
output=$(cd "$output" && pwd)
python "$here/sums.py" "$output/sums.jsonl"

overrides=(
    trainer.v1.trainer_mode=corrpo
    +corrpo.inversion_weight=0.5
    algorithm.adv_estimator=grpo
    data.train_files="$output/sums.jsonl"
    data.val_files="$output/sums.jsonl"
    data.train_batch_size=8
    data.max_prompt_length=256
    data.max_response_length=256
    reward.custom_reward_function.path="$here/sums.py"
    actor_rollout_ref.model.path="${MODEL:-Qwen/Qwen2.5-0.5B-Instruct}"
    actor_rollout_ref.actor.strategy=fsdp
    actor_rollout_ref.actor.ppo_mini_batch_size=8
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=8
    actor_rollout_ref.rollout.name=vllm
    actor_rollout_ref.rollout.n=4
    actor_rollout_ref.rollout.gpu_memory_utilization=0.4
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=8
    trainer.n_gpus_per_node=1
    trainer.total_training_steps=3
    trainer.save_freq=3
    trainer.val_before_train=false
    trainer.logger=[console]
    trainer.default_local_dir="$output/checkpoints"
)
python -m corrpo_verl "${overrides[@]}"
python -m verl.trainer.main_ppo "${overrides[@]}" "${@:2}"
