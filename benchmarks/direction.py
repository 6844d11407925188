"""Does the inversion reward move rho? CorR-PO without a verifier on the lab, with its placebos, three seeds.

    PYTHONPATH=tests OMP_NUM_THREADS=1 python benchmarks/direction.py        (about 20 minutes on two cores)

Every run trains the qwen2 reasoning model on the inversion reward alone. Then the model before and the models
after write four fresh rollouts to each of 64 sums that no run has seen, from the same seeds. A difference is
taken per sum, averaged over seeds; its interval is Student's t over the sums and says nothing of other seeds,
for which there is one over the three seeds beside it. Rollouts are measured by the estimator of the reward
and, the first rollout of each sum, by `exact` over all layers and projections.
"""

import os
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from scipy.stats import spearmanr, t
from transformers import AutoModelForCausalLM, AutoTokenizer

from common import heading, table
from corrpo import CorRPOConfig, CorRPOTrainer
from corrpo.answers.verdict import is_correct
from corrpo.lab import checkpoint
from corrpo.lab.problems import training_problems, validation_problems
from corrpo.lab.tokenizer import chat_prompt
from corrpo.models.generation.backends.transformers import generate
from corrpo.rewards.rollouts import RolloutMeter
from corrpo.samples import Sample, encode_prompt
from corrpo.strength.entropy import token_entropy
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.training.silence_libraries import silence_libraries

ARMS, SEEDS = ("none", "negate", "shuffle"), (0, 1, 2)
STEPS, SUMS, ROLLOUTS = 100, 64, 4


@dataclass(frozen=True)
class Fresh:
    """Fresh rollouts of one model, a mean per sum: float [sums] each.

    Attributes:
        own: rho by the estimator of the reward.
        exact: rho of the first rollout by `exact`.
        tokens: length.
        solved: share solved.
    """

    own: NDArray[np.float64]
    exact: NDArray[np.float64]
    tokens: NDArray[np.float64]
    solved: NDArray[np.float64]


def settings(control: str, seed: int) -> CorRPOConfig:
    """Eight prompts of eight rollouts a step, the inversion reward at full strength, no task reward."""
    return CorRPOConfig(
        output_dir=tempfile.mkdtemp(),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=64,
        num_generations=8,
        max_completion_length=128,
        max_steps=STEPS,
        learning_rate=3e-5,
        lr_scheduler_type="constant",
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=50,
        seed=seed,
        inversion_weight=1.0,
        inversion_fit_tokens=0,
        inversion_control=control,
    )


def fresh_rollouts(model: Any, tokenizer: Any, seed: int) -> Fresh:
    """Write and measure; see the module."""
    problems = [p for p in validation_problems(SUMS) for _ in range(ROLLOUTS)]
    prompts = [encode_prompt(Sample("", chat_prompt(p.question)), tokenizer) for p in problems]
    answers = [
        response.ids for response in generate(model, tokenizer, prompts, max_new_tokens=128, seed=seed)
    ]
    signals = RolloutMeter(model, settings("none", 0))(model, prompts, answers)
    texts = tokenizer.batch_decode(answers)
    solved = [is_correct(text, p.answer, "exact") for text, p in zip(texts, problems, strict=True)]
    exact = []
    for prompt, answer in list(zip(prompts, answers, strict=True))[::ROLLOUTS]:
        ids, where = torch.tensor(prompt + answer), range(len(prompt), len(prompt) + len(answer))
        with torch.no_grad():
            entropy = token_entropy(model(input_ids=ids[None]).logits[0])[len(prompt) - 1 : -1]
        exact.append(spearmanr(entropy, logit_gradient_norms(model, ids, where).mean((1, 2))).statistic)

    def per_sum(values: Any) -> NDArray[np.float64]:
        return np.nanmean(np.asarray(values, dtype=float).reshape(SUMS, ROLLOUTS), axis=1)

    return Fresh(per_sum(signals.rho), np.array(exact), per_sum(signals.tokens), per_sum(solved))


def run(arm: str, seed: int) -> Fresh:
    """Train one arm (or none, for "before") and look at the model after."""
    torch.set_num_threads(1)
    silence_libraries()
    warnings.filterwarnings("ignore")
    folder = checkpoint("qwen2", "reasoning")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    if arm != "before":
        rows = [{"prompt": chat_prompt(p.question)} for p in training_problems(1000, 1, validation=SUMS)]
        data = Dataset.from_list(rows)
        config = settings(arm, seed)
        CorRPOTrainer(model, None, args=config, train_dataset=data, processing_class=tokenizer).train()
    return fresh_rollouts(model, tokenizer, 1000 + seed)


def with_interval(differences: NDArray[np.float64]) -> str:
    """Mean over sums, or over seeds, and its 95 % interval."""
    kept = differences[~np.isnan(differences)]
    half = t.ppf(0.975, len(kept) - 1) * kept.std(ddof=1) / np.sqrt(len(kept))
    return f"{kept.mean():+.3f} [{kept.mean() - half:+.3f}, {kept.mean() + half:+.3f}]"


def main() -> None:
    """A row per arm: the change of rho by both measures, over seeds too, and accuracy and length after."""
    jobs = list(product(("before", *ARMS), SEEDS))
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        results = dict(zip(jobs, pool.map(run, *zip(*jobs, strict=True)), strict=True))
    rows = []
    for arm in ("before", *ARMS):
        after = [results[arm, seed] for seed in SEEDS]
        before = [results["before", seed] for seed in SEEDS]
        changes = {
            name: [getattr(a, name) - getattr(b, name) for a, b in zip(after, before, strict=True)]
            for name in ("own", "exact")
        }
        rows.append(
            [
                arm,
                f"{np.mean([np.nanmean(run.own) for run in after]):+.3f}",
                with_interval(np.nanmean(changes["own"], axis=0)) if arm != "before" else "",
                with_interval(np.nanmean(changes["own"], axis=1)) if arm != "before" else "",
                with_interval(np.nanmean(changes["exact"], axis=0)) if arm != "before" else "",
                f"{np.mean([run.tokens.mean() for run in after]):.1f}",
                f"{100 * np.mean([run.solved.mean() for run in after]):.1f} %",
            ]
        )
    header = ["control", "rho", "change [95 %]", "over seeds", "change, exact", "tokens", "solved"]
    with heading(f"The inversion reward alone, {STEPS} steps, lab qwen2 reasoning, seeds {SEEDS}"):
        table(header, rows)


if __name__ == "__main__":
    main()
