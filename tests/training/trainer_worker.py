"""One process of a CorR-PO run on rollouts that are decided beforehand; writes what it scored.

python trainer_worker.py OUTPUT.json TRAINER ROLLOUTS_PER_PROCESS CONTROL
"""

import json
import os
import sys
from pathlib import Path

import torch

from corrpo.training.config import CorRPOConfig, CorRRLOOConfig
from corrpo.training.trainer import CorRPOTrainer, CorRRLOOTrainer
from training.tiny import digits, lab, settings, sums

KINDS = {"corrpo": (CorRPOTrainer, CorRPOConfig), "rloo": (CorRRLOOTrainer, CorRRLOOConfig)}


def main(output: str, kind: str, rollouts: str, control: str) -> None:
    """Train two steps of 16 rollouts over all processes."""
    torch.set_num_threads(1)
    trainer_class, config_class = KINDS[kind]

    class Given(trainer_class):
        """Rollouts decided by their number among those of all processes, of unequal lengths."""

        def _generate_single_turn(self, prompt_ids, *rest):
            first = self.accelerator.process_index * len(prompt_ids)
            completions = []
            for number in range(first, first + len(prompt_ids)):
                drawn = torch.Generator().manual_seed(number + 100 * self.state.global_step)
                length = 6 + 2 * number
                completions.append(torch.randint(10, 100, (length,), generator=drawn).tolist())
            return completions if kind == "rloo" else (completions, None)

    config = config_class(
        **settings(Path(output).parent / "run", per_device_train_batch_size=int(rollouts), max_steps=2),
        inversion_weight=1.0,
        inversion_control=control,
        inversion_max_tokens=24,
        ddp_find_unused_parameters=False,
    )
    model, tokenizer = lab()
    trainer = Given(model, digits, args=config, train_dataset=sums(), processing_class=tokenizer)
    trainer.train()
    if trainer.accelerator.is_main_process:
        results = {
            "rewards": {name: list(values) for name, values in trainer._logs["rewards"].items()},
            "rho": list(trainer._logs["extra"]["inversion/rho"]),
            "advantages": list(trainer._logs["advantages"]),
            "processes": trainer.accelerator.num_processes,
        }
        Path(output).write_text(json.dumps(results))
        torch.save(trainer.accelerator.unwrap_model(trainer.model).state_dict(), f"{output}.pt")
    if torch.distributed.is_initialized():
        torch.distributed.barrier()  # none leaves while another still writes


if __name__ == "__main__":
    main(*sys.argv[1:])
    # All is written. Taking the interpreter down has aborted ("terminate called without an active exception",
    # a thread of a library) once in some hundred runs, which says nothing about what is tested.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
