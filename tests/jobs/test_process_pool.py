"""Work shared between processes: what comes back, and what goes wrong."""

import os
import time

import psutil
import pytest

from corrpo.errors import CorrpoError, NonFiniteError
from corrpo.jobs.process_pool import parallel, parallel_in_order


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


def why(item: int, reason: str) -> tuple[int, str, int]:
    return item, reason, 0


@pytest.mark.slow
def test_a_process_that_dies_is_replaced_and_its_item_told():
    results = list(parallel(square, [4, 0, 4, 2, 1], processes=2, device="cpu", died=why))
    assert sorted(value for value, *_ in results) == [0, 1, 4, 4, 4]
    reasons = [reason for _, reason, pid in results if not pid]
    assert [reason.partition(",")[0] for reason in reasons] == ["4: its process ended with exit code 9"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_results_in_the_order_of_the_items(processes):
    results = parallel_in_order(square, [8, 0, 2, 1], processes=processes, device="cpu")
    assert [value for value, *_ in results] == [64, 0, 4, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (3, NonFiniteError, "item 3: not a number"),
        (4, CorrpoError, "item 4: its process ended with exit code 9"),
        (5, ZeroDivisionError, "a mistake of the program"),
    ],
)
def test_what_goes_wrong_in_a_process_is_raised_here(item, error, message):
    with pytest.raises(error, match=message):
        list(parallel(square, [item], processes=2, device="cpu", name=lambda item: f"item {item}"))
    if item == 3:
        with pytest.raises(error, match=message):
            list(parallel(square, [item], processes=1, device="cpu", name=lambda item: f"item {item}"))


@pytest.mark.slow
def test_leaving_early_ends_the_processes():
    results = parallel(wait_long, [0, 1, 1], processes=2, device="cpu")
    pid = next(results)
    children = psutil.Process().children()
    assert pid in [child.pid for child in children]
    results.close()
    assert pid not in psutil.pids()
