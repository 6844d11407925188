"""The final model of a run, saved whole or not at all; adapters are merged into their base model."""

import shutil
from pathlib import Path
from typing import Any

from corrpo.models.training_run import FINAL


def save_final(trainer: Any, folder: Path, *, peft: bool) -> Path:
    """Save the trained model as `folder/final`: beside it first, then moved there in one step.

    Every process calls this. An adapter (`peft`) is merged into its base model.
    """
    partial, final = folder / f".{FINAL}", folder / FINAL
    if trainer.is_world_process_zero() and partial.exists():
        shutil.rmtree(partial)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(partial))
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        if peft:
            partial = merge_adapter(partial, folder / f".{FINAL}-merged", trainer.processing_class)
        if final.exists():
            shutil.rmtree(final)
        partial.replace(final)
    trainer.accelerator.wait_for_everyone()
    return final


def merge_adapter(adapter: Path, target: Path, tokenizer: Any) -> Path:
    """The base model with the adapter's update in its weights, as a plain model in `target`."""
    from peft import AutoPeftModelForCausalLM

    model: Any = AutoPeftModelForCausalLM.from_pretrained(adapter)
    model.merge_and_unload().save_pretrained(target)
    tokenizer.save_pretrained(target)
    shutil.rmtree(adapter)
    return target
