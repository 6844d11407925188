"""`measure` of a model that FSDP2 keeps in pieces: the fingerprint of the whole model.

Its hooks stand between the blocks, so that `exact` takes the whole graph at once: another order of sums.
"""

import json
from pathlib import Path

import pytest
import torch

import corrpo
from corrpo import Fingerprint
from corrpo.lab import checkpoint
from jobs.launching import torchrun
from jobs.sharded_worker import OPTIONS, SAMPLES, own_samples

pytestmark = pytest.mark.slow


def assert_alike(shared: Fingerprint, expected: Fingerprint) -> None:
    assert shared.model == expected.model
    assert shared.responses.equals(expected.responses)
    for ours, theirs in (
        (shared.tokens, expected.tokens),
        (shared.untrained_tokens, expected.untrained_tokens),
    ):
        assert ours.drop("norms", "strength").equals(theirs.drop("norms", "strength"))
        measured = [
            torch.tensor([norm for norm in table["norms"].to_list() if norm is not None])
            for table in (ours, theirs)
        ]
        assert measured[0].numel() > 0
        torch.testing.assert_close(*measured, rtol=1e-5, atol=0)


def test_a_sharded_model_is_measured_as_a_whole_one(tmp_path):
    run = torchrun([str(Path(__file__).with_name("sharded_worker.py")), str(tmp_path)])
    assert run.returncode == 0, run.stderr[-3000:]
    model, tokenizer = corrpo.load_model(str(checkpoint("qwen2", "base")), device="cpu")
    full = corrpo.measure(model, tokenizer, SAMPLES, name="m", batch_size=2, **OPTIONS)
    for rank in range(2):
        report = json.loads((tmp_path / f"{rank}.json").read_text())
        assert report == {"sharded": True}
        assert_alike(Fingerprint.load(tmp_path / f"all-{rank}"), full)
        alone = corrpo.measure(model, tokenizer, name="m", **own_samples(rank), **OPTIONS)
        assert_alike(Fingerprint.load(tmp_path / f"own-{rank}"), alone)
