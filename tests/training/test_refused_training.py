"""What CorRPOTrainer refuses before training: settings, columns, rewards, prompts; and NaN weights in it."""

import math

import pytest
import torch
from datasets import Dataset
from transformers import XLMConfig, XLMWithLMHeadModel
from trl import GRPOConfig

from chat_templates import ending_tokenizer
from corrpo import CorRPOConfig, CorrpoError, CorRPOTrainer
from corrpo.errors import BadInputError, UnsupportedModelError
from corrpo.rewards.task_rewards.exact_answer import exact_answer as exact
from corrpo.training.config import CorRRLOOConfig
from training.tiny import QUESTION, digits, lab, settings, sums, trained


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (
            [*QUESTION, {"role": "assistant", "content": "<think>"}],
            "the chat ends with the assistant, and TRL",
        ),
        ("98 + 93 =", "the tokenizer puts '<eos>' behind every text, .* \"add_eos_token\": false"),
    ],
)
def test_prompts_that_trl_would_end_are_refused(prompt, words, tmp_path):
    config = CorRPOConfig(**settings(tmp_path, max_steps=1))
    data = Dataset.from_list([{"prompt": prompt}] * 8)
    with pytest.raises(BadInputError, match=words):
        trained(CorRPOTrainer, config, lab()[0], ending_tokenizer(), digits, train_dataset=data)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"inversion_gate": "wrong"}, "inversion_gate='wrong' is unknown; expected one of all, correct"),
        ({"inversion_statistic": "kendall"}, "expected one of spearman, pearson, position_partial"),
        ({"inversion_control": "placebo"}, "expected one of none, shuffle, negate, clamp, constant"),
        ({"inversion_schedule": "step"}, "expected one of constant, linear, cosine, warmup"),
        ({"inversion_shape": "square"}, "expected one of identity, relu, fisher"),
        ({"inversion_weight": math.nan}, "inversion_weight=nan: expected a finite number"),
        ({"inversion_estimator": "owm"}, "estimator 'owm' is unknown"),
        ({"inversion_projections": ["q", "q"]}, "expected distinct names"),
        ({"max_completion_length": 7}, "no rollout could have a rho"),
        ({"inversion_min_tokens": 2}, "expected 3 or more"),
        ({"inversion_max_tokens": 5}, "expected at least inversion_min_tokens=8"),
    ],
)
def test_a_bad_setting_is_reported_when_the_config_is_made(changed, message, tmp_path):
    with pytest.raises(BadInputError, match=message.replace("(", r"\(")):
        CorRPOConfig(**settings(tmp_path, **changed))


def refused(error, message, tmp_path, model=None, rewards=exact, config=None, **options):
    tokenizer = lab()[1]
    options.setdefault("train_dataset", sums())
    with pytest.raises(error, match=message):
        CorRPOTrainer(
            model or lab()[0],
            rewards,
            args=config or CorRPOConfig(**settings(tmp_path)),
            processing_class=tokenizer,
            **options,
        )


def test_what_cannot_train_is_refused_before_training(tmp_path):
    without = sums().rename_column("answer", "solution")
    refused(
        BadInputError,
        "train_dataset has no column 'answer'.*prompt, solution",
        tmp_path,
        train_dataset=without,
    )
    refused(BadInputError, "eval_dataset has no column 'answer'", tmp_path, eval_dataset=without)
    refused(BadInputError, r"eval_dataset\['hard'\] has no", tmp_path, eval_dataset={"hard": without})
    gate = CorRPOConfig(**settings(tmp_path), inversion_gate="incorrect")
    refused(BadInputError, "there is no task reward", tmp_path, rewards=None, config=gate)
    weights = CorRPOConfig(**settings(tmp_path), reward_weights=[1.0, 0.5])
    refused(BadInputError, "2 weights for 1 reward functions", tmp_path, config=weights)
    refused(BadInputError, "needs a CorRPOConfig", tmp_path, config=GRPOConfig(**settings(tmp_path)))
    other = CorRRLOOConfig(**settings(tmp_path))
    refused(BadInputError, "needs a CorRPOConfig", tmp_path, config=other)
    layer = CorRPOConfig(**settings(tmp_path), inversion_layers=[9])
    refused(BadInputError, r"layers=\[9\]: expected indices in \[-4, 3\]", tmp_path, config=layer)

    def inversion(completions, **_):
        return [0.0] * len(completions)

    def takes_prompt(completions, prompt, **_):
        return [0.0] * len(completions)

    refused(BadInputError, "is called 'inversion'", tmp_path, rewards=inversion)
    refused(BadInputError, "it gives 'prompts'", tmp_path, rewards=takes_prompt)
    images = Dataset.from_list([{"prompt": "a", "answer": "1", "image": "x"}])
    refused(BadInputError, "holds images", tmp_path, train_dataset=images)
    xlm = XLMWithLMHeadModel(XLMConfig(vocab_size=105, emb_dim=16, n_layers=1, n_heads=2))
    refused(UnsupportedModelError, "no attention or other token mixer", tmp_path, model=xlm)


def test_nan_weights_stop_the_run_with_a_reason(tmp_path):
    model, tokenizer = lab()

    def poison(completions, **_):
        with torch.no_grad():
            model.model.layers[0].mlp.down_proj.weight.fill_(torch.nan)
        return [0.0] * len(completions)

    with pytest.raises(CorrpoError, match=r"rollout \d of this process's batch gives NaN or infinite"):
        trained(CorRPOTrainer, CorRPOConfig(**settings(tmp_path)), model, tokenizer, poison)
    assert model.config._attn_implementation == "sdpa"
    assert "forward" not in model.get_output_embeddings().__dict__
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(layer.self_attn.o_proj._forward_hooks for layer in model.model.layers)
