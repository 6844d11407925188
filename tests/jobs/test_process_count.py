"""How many processes share the work: by the work, cores, GPUs and memory."""

from pathlib import Path

import pytest

from corrpo.errors import BadInputError
from corrpo.jobs import process_count as module
from corrpo.jobs.process_count import devices_for, processes_for, visible_device
from corrpo.models.checkpoints import Checkpoint
from measurement.runs import placeholder

GIB = 1 << 30


def checkpoints(folder: Path, count: int) -> list[Checkpoint]:
    return [Checkpoint("sft", i, i, str(placeholder(folder / f"checkpoint-{i}"))) for i in range(count)]


def test_the_number_goes_by_work_cores_and_memory(tmp_path, monkeypatch):
    named = checkpoints(tmp_path, 5)
    monkeypatch.setattr(module, "usable_cores", lambda: 4)
    monkeypatch.setattr(module, "free_memory", lambda: 100 * GIB)
    assert processes_for(named, device="cpu") == 4
    assert processes_for(named[:2], device="cpu") == 2
    assert processes_for(named, 3, device="cpu") == 3
    assert processes_for(named, 50, device="cpu") == 5
    assert processes_for([], device="cpu") == 1
    monkeypatch.setattr(module, "free_memory", lambda: 2 * GIB + 10_000)
    assert processes_for(named, device="cpu") == 2
    monkeypatch.setattr(module, "free_memory", lambda: 0)
    assert processes_for(named, device="cpu") == 1
    with pytest.raises(BadInputError, match="processes=0: expected 1 or more"):
        processes_for(named, 0)


@pytest.mark.parametrize(
    ("device", "listed", "message"),
    [
        ("cuda:x", None, r"device 'cuda:x': expected cuda:N with the number of a GPU$"),
        ("cuda:", "0,1", "expected cuda:N .*CUDA_VISIBLE_DEVICES lists 2"),
        ("cuda:3", "0,1", "device 'cuda:3': .*CUDA_VISIBLE_DEVICES lists 2"),
    ],
)
def test_a_gpu_that_there_is_not_is_named(device, listed, message):
    with pytest.raises(BadInputError, match=message):
        visible_device(device, listed)


def test_memory_counts_weights_as_they_are_loaded_and_hub_names_are_not_guessed(tmp_path, monkeypatch):
    named = checkpoints(tmp_path, 2)
    size = (tmp_path / "checkpoint-0/model.safetensors").stat().st_size
    monkeypatch.setattr(module, "usable_cores", lambda: 8)
    monkeypatch.setattr(module, "free_memory", lambda: 2 * (GIB + 2 * size))
    assert processes_for(named, device="cpu") == 2
    assert processes_for(named, device="cpu", dtype="bfloat16") == 2
    assert processes_for(named, device="cpu", dtype="float32") == 1
    assert processes_for([*named, Checkpoint("hub", None, None, "org/model")], device="cpu") == 1


def test_a_process_for_each_gpu(tmp_path, monkeypatch):
    named = checkpoints(tmp_path, 9)
    monkeypatch.setattr(module.torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(module, "free_memory", lambda: 100 * GIB)
    assert devices_for("auto") == devices_for("cuda") == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices_for("cuda:1") == ["cuda:1"]
    assert processes_for(named) == 3
    assert processes_for(named, device="cuda:1") == 1
    monkeypatch.setattr(module.torch.cuda, "device_count", lambda: 0)
    assert devices_for("auto") == ["cpu"]
