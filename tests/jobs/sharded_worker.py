"""One of the processes that torchrun starts with a model under FSDP2, which each has a part of.

    torchrun --nproc_per_node 2 sharded_worker.py FOLDER

Writes FOLDER/all-RANK, the fingerprint of all samples, and FOLDER/own-RANK, of another number of samples and
batches on each process.
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

import corrpo
from corrpo.lab import checkpoint

SAMPLES = [{"id": str(i), "prompt": text} for i, text in enumerate(("The dog ", "A cat ", "Anna ", "Later "))]
OPTIONS = {
    "estimator": "exact",
    "max_tokens": 4,
    "max_new_tokens": 8,
    "resamples": 0,
    "permutations": 0,
    "untrained": True,
}


def own_samples(rank: int) -> dict:
    return {"samples": SAMPLES[: 3 - 2 * rank], "batch_size": 1}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model, tokenizer = corrpo.load_model(str(checkpoint("qwen2", "base")), device="cpu")
    mesh = dist.device_mesh.init_device_mesh("cpu", (2,))
    for layer in model.model.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    output = folder / f"all-{rank}"
    corrpo.measure(model, tokenizer, SAMPLES, name="m", output=output, batch_size=2, **OPTIONS)
    corrpo.measure(model, tokenizer, name="m", **own_samples(rank), **OPTIONS).save(folder / f"own-{rank}")
    sharded = all(isinstance(parameter, DTensor) for parameter in model.parameters())
    (folder / f"{rank}.json").write_text(json.dumps({"sharded": sharded}))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
