"""What the trainer's tests share: lab models, a few sums, a verifier, and configs of a few quick steps."""

from typing import Any

from datasets import Dataset

from corrpo.lab.problems import training_problems
from corrpo.lab.tokenizer import chat_prompt
from shared_models import lab_copies

QUESTION = [{"role": "user", "content": "98 + 93?"}]


def lab(family: str = "qwen2", kind: str = "reasoning") -> tuple[Any, Any]:
    """A lab model and its tokenizer."""
    return lab_copies(family, kind)


def sums(count: int = 16) -> Dataset:
    """Prompts and answers."""
    problems = training_problems(count, seed=3)
    return Dataset.from_list([{"prompt": chat_prompt(p.question), "answer": p.answer} for p in problems])


def settings(folder: Any, **changed: Any) -> dict[str, Any]:
    """Arguments of a TRL config: two prompts of four rollouts a step, on the CPU."""
    return {
        "output_dir": str(folder),
        "use_cpu": True,
        "bf16": False,
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 24,
        "max_steps": 2,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        **changed,
    }


def digits(completions: list, **_: Any) -> list[float]:
    """A task reward that differs between rollouts: the part of their characters that are digits."""
    texts = [completion[0]["content"] for completion in completions]
    return [sum(c.isdigit() for c in text) / max(1, len(text)) for text in texts]


def trained(trainer_class, config, model, tokenizer, rewards, **options):
    """A trainer that has trained; its data are the sums unless given."""
    options.setdefault("train_dataset", sums())
    trainer = trainer_class(model, rewards, args=config, processing_class=tokenizer, **options)
    trainer.train()
    return trainer
