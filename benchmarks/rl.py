"""What a step of CorR-PO costs beside one of GRPO.

A step is one of TRL's: generation, rewards, forward, backward and update, with TRL's defaults. The trainers
take their steps in turn in one process, with a learning rate of 0 and the same seeds, so that step i of one
has the very rollouts of step i of the other, a moment later.
"""

import resource
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import nn
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from common import benchmark_model, heading, table
from corrpo import CorRPOConfig, CorRPOTrainer
from corrpo.lab import checkpoint
from corrpo.lab.problems import validation_problems
from corrpo.lab.tokenizer import build_tokenizer, chat_prompt
from corrpo.rewards.task_rewards.exact_answer import exact_answer

STEPS, GROUP = 9, 8


@dataclass(frozen=True)
class Case:
    """One model and batch that a step is timed on.

    Attributes:
        name: for the table.
        model: makes the model.
        rollouts: in a step, in groups of 8.
        tokens: most new tokens of a rollout.
        exactly: every rollout has them all.
    """

    name: str
    model: Callable[[], nn.Module]
    rollouts: int
    tokens: int = 128
    exactly: bool = False


def lab_model() -> nn.Module:
    """The reasoning model of the lab."""
    return AutoModelForCausalLM.from_pretrained(checkpoint("qwen2", "reasoning"))


def gpu_model() -> nn.Module:
    """The shape of Qwen2.5-1.5B with random weights, bfloat16."""
    config = Qwen2Config(
        vocab_size=151_936,
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    )
    with torch.device("cuda"):
        return Qwen2ForCausalLM(config).bfloat16()


CASES = [
    Case("lab qwen2, 8 rollouts", lab_model, 8),
    Case("lab qwen2, 64 rollouts", lab_model, 64),
    Case("d = 512, 8 rollouts of 128 tokens", benchmark_model, 8, exactly=True),
]
GPU_CASES = [Case("Qwen2.5-1.5B shape, 32 rollouts of 512 tokens", gpu_model, 32, tokens=512, exactly=True)]


def trainer(case: Case, ours: bool, **inversion: Any) -> GRPOTrainer:
    """A trainer of either kind whose steps change nothing."""
    problems = validation_problems(64)
    rows = [{"prompt": chat_prompt(p.question), "answer": p.answer} for p in problems]
    cuda = torch.cuda.is_available()
    config = (CorRPOConfig if ours else GRPOConfig)(
        output_dir=tempfile.mkdtemp(),
        use_cpu=not cuda,
        bf16=cuda,
        per_device_train_batch_size=case.rollouts,
        num_generations=GROUP,
        max_completion_length=case.tokens,
        generation_kwargs={"min_new_tokens": case.tokens} if case.exactly else None,
        max_steps=STEPS,
        learning_rate=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **inversion,
    )
    return (CorRPOTrainer if ours else GRPOTrainer)(
        case.model(),
        exact_answer,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=build_tokenizer(),
    )


class Turns(TrainerCallback):
    """Lets trainers in threads of their own take their steps in turn, each step from the same seed."""

    def __init__(self, number: int, turn: list[int], of: int, passed: Condition):
        self.number, self.turn, self.of, self.passed = number, turn, of, passed

    def on_step_begin(self, args, state, control, **kwargs) -> None:
        """Wait for the turn."""
        with self.passed:
            self.passed.wait_for(lambda: self.turn[0] % self.of == self.number)
        torch.manual_seed(state.global_step)

    def on_step_end(self, args, state, control, **kwargs) -> None:
        """Pass the turn on."""
        with self.passed:
            self.turn[0] += 1
            self.passed.notify_all()


def step_ratio(case: Case, threads: int) -> list[str]:
    """Cells of a row: seconds of a GRPO step, then what CorR-PO steps of the same rollouts take beside it.

    The median over steps of their ratio, by default and with own-position parts as they are; and of the part
    of a default step that is not measuring, by its own clock. The first step of each is left out.
    """
    runs = [trainer(case, False), trainer(case, True), trainer(case, True, inversion_fit_tokens=0)]
    turn, passed = [0], Condition()

    def train(number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        torch.set_num_threads(threads)
        runs[number].add_callback(Turns(number, turn, len(runs), passed))
        runs[number].train()
        entries = [entry for entry in runs[number].state.log_history if "step_time" in entry][1:]
        times = [[entry["step_time"], entry.get("inversion/seconds", 0.0)] for entry in entries]
        return tuple(np.array(times).T)

    with ThreadPoolExecutor(len(runs)) as pool:
        (grpo, _), (default, measuring), (own, _) = pool.map(train, range(len(runs)))
    ratios = [default / grpo, default / (default - measuring), own / grpo]
    return [f"{np.median(grpo):.2f} s", *(f"{np.median(ratio):.3f}" for ratio in ratios)]


def peak(case_number: int, ours: bool) -> float:
    """Peak memory of a process that does nothing but such a run, in MiB (of the GPU where there is one)."""
    command = [sys.executable, __file__, str(case_number), "corrpo" if ours else "grpo"]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1])


def peak_of_a_run(case_number: int, ours: bool) -> float:
    """Run, and give the most memory this process had, in MiB."""
    trainer(_cases()[case_number], ours).train()
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _cases() -> list[Case]:
    return CASES + (GPU_CASES if torch.cuda.is_available() else [])


def step_table() -> None:
    """CorR-PO over GRPO: time of a step and peak memory of the process."""
    rows = []
    for number, case in enumerate(_cases()):
        times = step_ratio(case, 1 if case.model is lab_model else torch.get_num_threads())
        base, ours = peak(number, ours=False), peak(number, ours=True)
        rows.append([case.name, *times, f"{base:.0f} MiB", f"{ours / base:.3f}"])
    header = [
        "model",
        "GRPO step",
        "CorR-PO / GRPO",
        "by its own clock",
        "own alone / GRPO",
        "GRPO peak memory",
        "CorR-PO / GRPO",
    ]
    with heading("A CorR-PO step over a GRPO step"):
        table(header, rows)
        print("\nGoal: at most 1.25 by default, where decoding takes its usual share.")
        print(
            "'By its own clock': a CorR-PO step over the part of it that is not measurement, "
            "which is free of the noise between steps."
        )
        print("Memory: the largest resident size of a process that does such a run alone.")


def main() -> None:
    """Print the table."""
    warnings.filterwarnings("ignore")
    step_table()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(peak_of_a_run(int(sys.argv[1]), sys.argv[2] == "corrpo"))
    else:
        main()
