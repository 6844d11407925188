"""`measure` of a model that FSDP2 keeps in pieces: the fingerprint of the whole model."""

import json
from pathlib import Path

import corrpo
from corrpo.lab import checkpoint
from distributed.launching import files, torchrun
from distributed.sharded_worker import OPTIONS, SAMPLES, own_samples


def test_a_sharded_model_is_measured_as_a_whole_one(tmp_path):
    run = torchrun([str(Path(__file__).with_name("sharded_worker.py")), str(tmp_path)])
    assert run.returncode == 0, run.stderr[-3000:]
    model, tokenizer = corrpo.load_model(str(checkpoint("qwen2", "base")), device="cpu")
    corrpo.measure(model, tokenizer, SAMPLES, name="m", output=tmp_path / "whole", batch_size=2, **OPTIONS)
    assert files(tmp_path / "shared") == files(tmp_path / "whole")
    for rank in range(2):
        told = json.loads((tmp_path / f"{rank}.json").read_text())
        assert told == {"sharded": True, "team": 2}
        corrpo.measure(model, tokenizer, name="m", **own_samples(rank), **OPTIONS).save(tmp_path / "alone")
        assert files(tmp_path / f"own-{rank}") == files(tmp_path / "alone")
