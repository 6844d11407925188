"""Folders such as training leaves: checkpoints of a lab model with a little noise, and half-written ones."""

import json
import shutil
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from corrpo.lab import checkpoint

LAB = checkpoint("qwen2", "reasoning")
RESPONSES = ("8 + 9 = 17", "5 - 3 = 2", "40 + 2 = 42")


def placeholder(folder: Path) -> Path:
    """A folder with all the files of a saved model, of a kind that cannot be loaded."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "placeholder", "dtype": "bfloat16"}')
    (folder / "tokenizer.json").write_text("{}")
    save_file({"weight": torch.zeros(64)}, folder / "model.safetensors")
    return folder


def lab_copy(folder: Path) -> Path:
    """The lab's reasoning model in `folder`, in a file of its own that may be changed."""
    return Path(shutil.copytree(LAB, folder))


def noisy_run(folder: Path, steps: range, noise: float = 0.002) -> Path:
    """A run folder with a checkpoint at each of `steps`, each with a little more noise in its weights."""
    model = AutoModelForCausalLM.from_pretrained(LAB)
    tokenizer = AutoTokenizer.from_pretrained(LAB)
    generator = torch.Generator().manual_seed(0)
    for step in steps:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(noise * torch.randn(parameter.shape, generator=generator))
        model.save_pretrained(folder / f"checkpoint-{step}")
        tokenizer.save_pretrained(folder / f"checkpoint-{step}")
    (folder / "recipe.json").write_text(json.dumps({"stage": "sft", "settings": {"max_steps": steps[-1]}}))
    return folder


def samples_file(path: Path, responses: tuple[str, ...] = RESPONSES) -> Path:
    """A samples file with short responses given, so that nothing is generated."""
    lines = [{"id": str(i), "prompt": "What is it?", "response": text} for i, text in enumerate(responses)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


QUICK = {"estimator": "own", "resamples": 50, "permutations": 0}
"""Options of a measurement that takes a moment."""
