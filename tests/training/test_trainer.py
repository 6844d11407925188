"""CorRPOTrainer: TRL's trainer at weight 0, and the reward that METHOD 6 says at any other."""

import json
import math

import numpy as np
import pytest
import torch
from datasets import Dataset
from peft import LoraConfig
from scipy.stats import spearmanr
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from chat_templates import OPENS, ending_tokenizer
from corrpo import CorRPOConfig, CorRPOTrainer
from corrpo.rewards.rollouts import RolloutMeter
from corrpo.rewards.task_rewards.exact_answer import exact_answer as exact
from corrpo.rewards.task_rewards.think_answer_format import format_after_template
from corrpo.strength.entropy import token_entropy
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.training.config import CorRRLOOConfig
from corrpo.training.trainer import CorRRLOOTrainer
from training.tiny import QUESTION, digits, lab, settings, sums, trained


def weights(trainer) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in trainer.model.parameters()]


def logged(trainer, key: str) -> list[float]:
    return [entry[key] for entry in trainer.state.log_history if key in entry]


@pytest.mark.parametrize(
    ("ours", "our_config", "theirs", "their_config"),
    [
        (CorRPOTrainer, CorRPOConfig, GRPOTrainer, GRPOConfig),
        (CorRRLOOTrainer, CorRRLOOConfig, RLOOTrainer, RLOOConfig),
    ],
)
def test_weight_zero_is_trl_bit_for_bit(ours, our_config, theirs, their_config, tmp_path):
    common = settings(tmp_path, max_steps=5)
    one = trained(ours, our_config(**common, inversion_weight=0.0), *lab(), digits)
    other = trained(theirs, their_config(**common), *lab(), digits)
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
    start = lab()[0].parameters()
    assert not all(torch.equal(a, b) for a, b in zip(weights(one), start, strict=True))
    assert len(logged(one, "inversion/rho_mean")) == 5


class Watched(CorRPOTrainer):
    """Keeps what its first batch was scored on, and the weights it was scored with."""

    def _generate_and_score_completions(self, inputs):
        before = {name: value.clone() for name, value in self.model.state_dict().items()}
        output = super()._generate_and_score_completions(inputs)
        if not hasattr(self, "first"):
            self.first = (before, output, {name: list(v) for name, v in self._logs["rewards"].items()})
        return output


@pytest.mark.parametrize("family", ["qwen2", "llama"])
def test_rewards_and_advantages_are_those_of_a_slow_loop(family, tmp_path):
    model, tokenizer = lab(family)
    how = settings(tmp_path, max_steps=1, shuffle_dataset=False)
    config = CorRPOConfig(**how, inversion_weight=0.7, inversion_fit_tokens=0)
    trainer = trained(Watched, config, model, tokenizer, digits)
    before, output, rewards = trainer.first
    model.load_state_dict(before)
    model.eval()
    rhos = []
    for row in range(8):
        prompt = output["prompt_ids"][row][output["prompt_mask"][row].bool()]
        completion = output["completion_ids"][row][output["completion_mask"][row].bool()]
        ids = torch.cat([prompt, completion])
        where = torch.arange(len(prompt), len(ids))
        with torch.no_grad():
            entropy = token_entropy(model(input_ids=ids[None]).logits[0])[where - 1]
        norms = logit_gradient_norms(
            model, ids, where, estimator="own", projections=("q", "o"), layers=[2, 3]
        )
        rhos.append(spearmanr(entropy, norms.mean((1, 2))).statistic)
    np.testing.assert_allclose(sorted(rewards["inversion"]), sorted(-np.array(rhos)), atol=2e-3)
    total = np.array(rewards["digits"]) + 0.7 * np.array(rewards["inversion"])
    groups = total.reshape(2, 4)
    advantages = (groups - groups.mean(1, keepdims=True)) / (groups.std(1, ddof=1, keepdims=True) + 1e-4)
    np.testing.assert_allclose(trainer._logs["advantages"], advantages.ravel(), atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"loss_type": name} for name in ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo")]
    + [
        {"importance_sampling_level": "sequence", "scale_rewards": "batch"},
        {"num_iterations": 2, "steps_per_generation": 2, "per_device_train_batch_size": 4},
        {"beta": 0.05, "scale_rewards": "none"},
        {"multi_objective_aggregation": "normalize_then_sum"},
        {"gradient_checkpointing": False, "mask_truncated_completions": True},
        {"bf16": True},
        {"bf16": True, "inversion_estimator": "pruned", "inversion_kept": 2, "inversion_max_tokens": 8},
        {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
    ],
    ids=str,
)
def test_every_variant_of_grpo_goes_on_working(options, tmp_path):
    config = CorRPOConfig(**settings(tmp_path, **options), reward_weights=[1.0, 0.5])
    trainer = trained(CorRPOTrainer, config, *lab(), [exact, digits])
    assert config.reward_weights == [1.0, 0.5]
    assert all(math.isfinite(value) for value in logged(trainer, "loss") + logged(trainer, "grad_norm"))
    assert logged(trainer, "rewards/inversion/mean")
    assert set(logged(trainer, "inversion/weight")) == {0.5}


def test_lora_trains_the_adapter_alone(tmp_path):
    model, tokenizer = lab()
    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
    config = CorRPOConfig(**settings(tmp_path), inversion_weight=2.0)
    trainer = trained(CorRPOTrainer, config, model, tokenizer, digits, peft_config=adapter)
    moved = [name for name, p in trainer.model.named_parameters() if p.requires_grad]
    assert moved
    assert all("lora" in name for name in moved)
    assert any(p.abs().sum() > 0 for name, p in trainer.model.named_parameters() if "lora_B" in name)


@pytest.mark.parametrize("estimator", ["last", "pruned", "exact", "reference"])
def test_other_estimators_layers_and_tokens(estimator, tmp_path):
    chosen = {"inversion_layers": [-1], "inversion_projections": ["q", "o"], "inversion_max_tokens": 12}
    config = CorRPOConfig(
        **settings(tmp_path, max_steps=1),
        **chosen,
        inversion_estimator=estimator,
        inversion_statistic="pearson",
    )
    trainer = trained(CorRPOTrainer, config, *lab(), digits)
    assert logged(trainer, "inversion/tokens_mean")[0] <= 12
    assert -1 <= logged(trainer, "inversion/rho_mean")[0] <= 1


def test_arguments_may_be_given_by_position(tmp_path):
    config = CorRPOConfig(**settings(tmp_path, max_steps=1))
    model, tokenizer = lab()
    CorRPOTrainer(model, digits, config, sums(), None, tokenizer, [None]).train()


def test_without_a_verifier(tmp_path):
    config = CorRPOConfig(**settings(tmp_path), inversion_weight=1.0)
    trainer = trained(CorRPOTrainer, config, *lab(), None)
    assert logged(trainer, "reward") == pytest.approx(logged(trainer, "rewards/inversion/mean"))
    assert logged(trainer, "inversion/seconds")[0] > 0


@pytest.mark.slow
def test_the_reward_and_its_negation_move_rho_apart(tmp_path):
    """A short form of benchmarks/direction.py: the last rollouts of two runs on the same prompts."""

    def rho_at_the_end(control):
        config = CorRPOConfig(
            **settings(
                tmp_path,
                max_steps=14,
                per_device_train_batch_size=32,
                num_generations=8,
                max_completion_length=96,
                learning_rate=1e-4,
                gradient_checkpointing=False,
            ),
            inversion_weight=1.0,
            inversion_control=control,
        )
        trainer = trained(CorRPOTrainer, config, *lab(), None, train_dataset=sums(64))
        return np.mean(logged(trainer, "inversion/rho_mean")[-3:])

    assert rho_at_the_end("negate") - rho_at_the_end("none") > 0.03


def test_evaluation_logs_the_same_columns(tmp_path):
    config = CorRPOConfig(**settings(tmp_path), per_device_eval_batch_size=4, num_generations_eval=2)
    trainer = trained(CorRPOTrainer, config, *lab(), exact, eval_dataset=sums(2))
    metrics = trainer.evaluate()
    assert {"eval_rewards/inversion/mean", "eval_inversion/rho_mean"} <= set(
        metrics | trainer.state.log_history[-1]
    )


def test_a_gate_leaves_rollouts_outside_at_zero(tmp_path):
    def longer(completions, **_):
        return [float(i % 2) for i in range(len(completions))]

    config = CorRPOConfig(**settings(tmp_path, max_steps=1), inversion_gate="correct")
    trainer = trained(CorRPOTrainer, config, *lab(), longer)
    inversion = np.array(trainer._logs["rewards"]["inversion"])
    assert (inversion[::2] == 0).all()
    assert (inversion[1::2] != 0).all()


def test_a_rollout_that_no_verifier_could_score_stays_unscored(tmp_path):
    def some(completions, **_):
        return [None if i == 3 else float(i) for i in range(len(completions))]

    config = CorRPOConfig(**settings(tmp_path, max_steps=1))
    trainer = trained(CorRPOTrainer, config, *lab(), some)
    assert trainer._logs["advantages"][3] == 0
    assert math.isnan(trainer._logs["rewards"]["inversion"][3])


def test_what_a_tool_wrote_is_not_measured(lab_model):
    config = CorRPOConfig("out", use_cpu=True, bf16=False, inversion_fit_tokens=0)
    meter = RolloutMeter(lab_model, config)
    prompt, completion = [20, 21, 22], list(range(30, 60))
    written = [1] * 12 + [0] * 6 + [1] * 12
    all_of_it = meter(lab_model, [prompt], [completion])
    by_model = meter(lab_model, [prompt], [completion], written=[written])
    assert (all_of_it.tokens.item(), by_model.tokens.item()) == (30, 24)
    assert all_of_it.rho != by_model.rho
    nothing = meter(lab_model, [prompt, prompt], [completion, completion], written=[[0] * 30, written])
    assert nothing.rho.isnan().tolist() == [True, False]
    torch.testing.assert_close(nothing.rho[1], by_model.rho[0])


def test_without_a_prompt_the_first_token_is_predicted_by_nothing(lab_model):
    meter = RolloutMeter(lab_model, CorRPOConfig("out", use_cpu=True, bf16=False))
    assert meter(lab_model, [[]], [list(range(30, 60))]).tokens.item() == 29


def test_short_rollouts_have_no_rho_and_are_counted(tmp_path):
    config = CorRPOConfig(**settings(tmp_path, max_steps=1))
    config.max_completion_length = 7
    trainer = trained(CorRPOTrainer, config, *lab(), digits)
    assert logged(trainer, "inversion/without_rho") == [1.0]
    assert logged(trainer, "rewards/inversion/std") == [0.0]
    assert logged(trainer, "inversion/rho_mean") == [None]


def test_the_format_reward_and_trl_see_the_same_end_of_the_prompt(tmp_path):
    model, tokenizer = lab()
    tokenizer.chat_template = OPENS
    judged = format_after_template(tokenizer)
    seen = []

    def format_reward(prompts, completions, **_):
        opened = ["1</think><answer>2</answer>"] * len(prompts)
        seen.append((judged(opened, prompts), judged(["<think>" + text for text in opened], prompts)))
        return judged(completions, prompts)

    config = CorRPOConfig(**settings(tmp_path, max_steps=1))
    trainer = trained(CorRPOTrainer, config, model, tokenizer, format_reward)
    assert all(tokenizer.decode(ids).endswith("<think>\n") for ids in trainer._prompt_ids)
    assert seen == [([1.0] * 8, [0.0] * 8)]


def test_a_tokenizer_that_ends_every_text_is_no_harm_to_chats(tmp_path):
    config = CorRPOConfig(**settings(tmp_path, max_steps=1))
    tokenizer = ending_tokenizer()
    data = Dataset.from_list([{"prompt": QUESTION}] * 8)
    trainer = trained(CorRPOTrainer, config, lab()[0], tokenizer, digits, train_dataset=data)
    assert {tokenizer.decode(ids) for ids in trainer._prompt_ids} == {"<user>98 + 93?<assistant>"}


def test_rollouts_of_ones_own_with_tool_tokens_and_a_reward_on_extra_fields(tmp_path):
    def rollout(prompts, trainer):
        prompt_ids = trainer.processing_class.apply_chat_template(
            prompts, add_generation_prompt=True, return_dict=True
        )["input_ids"]
        drawn = torch.Generator().manual_seed(len(prompts))
        written = [torch.randint(20, 90, (20,), generator=drawn).tolist() for _ in prompts]
        masks = [[1] * 20 if i else [0] * 20 for i in range(len(prompts))]
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": written,
            "logprobs": [[0.0] * 20] * len(prompts),
            "env_mask": masks,
            "score": [float(i % 3) for i in range(len(prompts))],
        }

    def scored(completions, score, **_):
        return score

    config = CorRPOConfig(**settings(tmp_path, max_steps=1))
    trainer = trained(CorRPOTrainer, config, *lab(), scored, rollout_func=rollout)
    assert logged(trainer, "inversion/tokens_mean") == [20 * 7 / 8]
    assert logged(trainer, "inversion/without_rho") == [1 / 8]
    assert logged(trainer, "inversion/entropy_mean")[0] > 0
    assert math.isnan(trainer._logs["extra"]["inversion/rho"][0])


def test_batches_of_an_evaluation_are_shuffled_differently(tmp_path):
    config = CorRPOConfig(
        **settings(tmp_path, max_steps=1), per_device_eval_batch_size=4, inversion_control="shuffle"
    )
    trainer = trained(CorRPOTrainer, config, *lab(), exact, eval_dataset=sums(4))
    seeds, inner = [], trainer.inversion_state.batch_seed
    trainer.inversion_state.batch_seed = lambda seed: seeds.append(inner(seed)) or seeds[-1]
    trainer.evaluate()
    assert len(set(seeds)) == 4


def test_the_weight_follows_its_schedule(tmp_path):
    config = CorRPOConfig(
        **settings(tmp_path, max_steps=4), inversion_weight=1.0, inversion_schedule="linear"
    )
    trainer = trained(CorRPOTrainer, config, *lab(), digits)
    assert logged(trainer, "inversion/weight") == pytest.approx([1.0, 0.75, 0.5, 0.25])


@pytest.mark.parametrize(
    "control", ["none", *(pytest.param(control, marks=pytest.mark.slow) for control in ("shuffle", "clamp"))]
)
def test_a_resumed_run_ends_with_the_same_weights(control, tmp_path):
    def run(folder, steps, resume=None):
        config = CorRPOConfig(
            **settings(
                folder, max_steps=4, save_strategy="steps", save_steps=2, lr_scheduler_type="constant"
            ),
            inversion_control=control,
            inversion_weight=2.0,
        )
        trainer = CorRPOTrainer(
            lab()[0], digits, args=config, train_dataset=sums(), processing_class=lab()[1]
        )
        trainer.args.max_steps = steps
        trainer.train(resume_from_checkpoint=resume)
        return trainer

    uninterrupted = run(tmp_path / "whole", 4)
    run(tmp_path / "stopped", 2)
    resumed = run(tmp_path / "stopped", 4, str(tmp_path / "stopped" / "checkpoint-2"))
    state = json.loads((tmp_path / "whole" / "checkpoint-2" / "inversion_state.json").read_text())
    starts = [trainer.inversion_state.start_rho for trainer in (resumed, uninterrupted)]
    assert starts == [state["start_rho"]] * 2
    assert all(torch.equal(a, b) for a, b in zip(weights(uninterrupted), weights(resumed), strict=True))


def test_a_checkpoint_of_0_2_says_that_the_reward_changes(tmp_path, caplog):
    changing = settings(tmp_path, max_steps=1, save_strategy="steps", save_steps=1)
    trained(CorRPOTrainer, CorRPOConfig(**changing), *lab(), digits)
    checkpoint = tmp_path / "checkpoint-1"
    (checkpoint / "inversion_fit.safetensors").unlink()  # 0.2 fitted nothing
    for tokens, told in ((None, True), (0, False)):
        caplog.clear()
        config = CorRPOConfig(**settings(tmp_path, max_steps=1), inversion_fit_tokens=tokens)
        trainer = CorRPOTrainer(
            lab()[0], digits, args=config, train_dataset=sums(), processing_class=lab()[1]
        )
        trainer.train(resume_from_checkpoint=str(checkpoint))
        assert ("its reward changes here" in caplog.text) is told
