"""Work shared between processes: how many, what comes back, and what goes wrong."""

import os
import time
from pathlib import Path

import psutil
import pytest

from corrpo.errors import BadInputError, CorrpoError, NonFiniteError
from corrpo.jobs import process_pool as module
from corrpo.jobs.process_pool import devices_for, parallel, processes_for
from corrpo.models.checkpoints import Checkpoint
from measurement.runs import placeholder

GIB = 1 << 30


def square(item: int, device: str) -> tuple[int, str, int]:
    if item == 3:
        raise NonFiniteError("not a number")
    if item == 4:
        os._exit(9)
    if item == 5:
        raise ZeroDivisionError("a mistake of the program")
    return item * item, device, os.getpid()


def wait_long(item: int, device: str) -> int:
    if item:
        time.sleep(600)
    return os.getpid()


def test_one_process_works_here_and_in_order():
    results = list(parallel(square, [2, 0, 1], processes=1, device="cpu"))
    assert results == [(4, "cpu", os.getpid()), (0, "cpu", os.getpid()), (1, "cpu", os.getpid())]


def test_two_processes_share_the_work():
    results = list(parallel(square, [2, 0, 1, 7, 8], processes=2, device="cpu"))
    assert sorted(value for value, *_ in results) == [0, 1, 4, 49, 64]
    pids = {pid for *_, pid in results}
    assert os.getpid() not in pids
    assert len(pids) <= 2


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (3, NonFiniteError, "item 3: not a number"),
        (4, CorrpoError, "item 4: its process ended with exit code 9"),
        (5, ZeroDivisionError, "a mistake of the program"),
    ],
)
def test_what_goes_wrong_in_a_process_is_told_here(item, error, message):
    with pytest.raises(error, match=message):
        list(parallel(square, [item], processes=2, device="cpu", name=lambda item: f"item {item}"))
    if item == 3:
        with pytest.raises(error, match=message):
            list(parallel(square, [item], processes=1, device="cpu", name=lambda item: f"item {item}"))


def test_leaving_early_ends_the_processes():
    results = parallel(wait_long, [0, 1, 1], processes=2, device="cpu")
    pid = next(results)
    children = psutil.Process().children()
    assert pid in [child.pid for child in children]
    results.close()
    assert pid not in psutil.pids()


def checkpoints(folder: Path, count: int) -> list[Checkpoint]:
    return [Checkpoint("sft", i, i, str(placeholder(folder / f"checkpoint-{i}"))) for i in range(count)]


def test_the_number_goes_by_work_cores_and_memory(tmp_path, monkeypatch):
    named = checkpoints(tmp_path, 5)
    monkeypatch.setattr(module, "_cores", lambda: 4)
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


def test_memory_counts_weights_as_they_are_loaded_and_hub_names_are_not_guessed(tmp_path, monkeypatch):
    named = checkpoints(tmp_path, 2)
    size = (tmp_path / "checkpoint-0/model.safetensors").stat().st_size
    monkeypatch.setattr(module, "_cores", lambda: 8)
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
