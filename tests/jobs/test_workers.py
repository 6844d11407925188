"""Work shared between workers: what comes back, and what goes wrong."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest
from tqdm import tqdm

from corrpo.errors import BadInputError, CorrpoError, NonFiniteError
from corrpo.jobs.process_count import check_processes
from corrpo.jobs.workers import RETRIES, Processes, in_order, local_workers, open_workers
from corrpo.models.load_options import LoadOptions

EXIT = "its process ended with exit code 9, perhaps for lack of memory"


def square(item: int) -> tuple[int, int]:
    if item == 3:
        raise NonFiniteError("not a number")
    if item == 4:
        os._exit(9)
    if item == 5:
        raise ZeroDivisionError("a mistake of the program")
    return item * item, os.getpid()


class Unpicklable(Exception):
    """What pickles, and cannot be read again."""

    def __init__(self, first: str, second: str):
        super().__init__(first + second)


def raise_unpicklable(item: int) -> None:
    raise Unpicklable("no ", "such")


def die_while_sending(item: int) -> bytes:
    def send(connection: Connection, message: bytes) -> None:
        connection._send(len(message).to_bytes(4, "big") + message[:1])  # pyright: ignore
        os._exit(9)

    Connection._send_bytes = send  # pyright: ignore
    return b"result"


def wait_long(item: int) -> int:
    if item:
        time.sleep(600)
    return os.getpid()


def die_at_first(folder: Path) -> int:
    """A task whose process dies until `folder` holds two files."""
    tries = len(list(folder.iterdir()))
    if tries < 2:
        (folder / str(tries)).touch()
        os._exit(1)
    return tries


def print_both_ways(item: int) -> int:
    """A task that prints, and whose library does so past Python."""
    print("printed")
    return os.write(1, b"written\n")


def draw_bar(item: int) -> int:
    return sum(tqdm([item]))


def test_one_process_works_here_and_in_order():
    with local_workers(1) as workers:
        results = list(workers.map(square, [2, 0, 1]))
    assert results == [(0, (4, os.getpid())), (1, (0, os.getpid())), (2, (1, os.getpid()))]


def test_two_processes_share_the_work_of_several_maps():
    with local_workers(2, "cpu") as workers:
        first = dict(workers.map(square, [2, 0, 1, 7, 8]))
        second = list(in_order(workers.map(square, [8, 0, 2, 1])))
    assert [first[number][0] for number in range(5)] == [4, 0, 1, 49, 64]
    assert [value for value, _ in second] == [64, 0, 4, 1]
    pids = {pid for _, pid in (*first.values(), *second)}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    assert not pids & set(psutil.pids())


@pytest.mark.slow
def test_a_process_that_dies_costs_its_own_task_which_is_done_again(tmp_path, caplog):
    with local_workers(2, "cpu") as workers:
        assert list(in_order(workers.map(die_at_first, [tmp_path] * 3))) == [2, 2, 2]
        assert workers.retried == 2
    assert "its process ended with exit code 1, perhaps for lack of memory; done again, 1 of 2 times" in (
        caplog.text
    )


@pytest.mark.slow
def test_a_task_whose_processes_die_each_time_is_told_and_the_others_are_done():
    with local_workers(2, "cpu") as workers:
        results = dict(workers.map(square, [4, 0, 4, 2, 1], lost=lambda item, why: (item, why)))
        assert workers.retried == 2 * RETRIES
    assert results[0] == results[2] == (4, f"{EXIT}, 3 times")
    assert [results[number][0] for number in (1, 3, 4)] == [0, 4, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (3, NonFiniteError, "^item 3: not a number"),
        (4, CorrpoError, f"^item 4: {EXIT}, 3 times; what is done is kept"),
        (5, ZeroDivisionError, "a mistake of the program"),
    ],
)
def test_what_goes_wrong_in_a_process_is_raised_here(item, error, message):
    with local_workers(2, "cpu") as workers, pytest.raises(error, match=message):
        list(workers.map(square, [0, item], name=lambda item: f"item {item}"))
    if item == 3:
        with local_workers(1) as workers, pytest.raises(error, match=message):
            list(workers.map(square, [item], name=lambda item: f"item {item}"))
        with local_workers(1) as workers, pytest.raises(error, match="^not a number"):
            list(workers.map(square, [item], name=None))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (raise_unpicklable, TypeError, "cannot be unpickled"),
        (die_while_sending, CorrpoError, f"^0: {EXIT}, 3"),
    ],
)
def test_a_result_that_cannot_be_read_or_is_cut_does_not_hang(task, error, message):
    with closing(Processes(1, "cpu")) as workers, pytest.raises(error, match=message):
        list(workers.map(task, [0]))


@pytest.mark.slow
def test_leaving_early_ends_the_processes():
    with local_workers(2, "cpu") as workers:
        results = workers.map(wait_long, [0, 1, 1])
        _, pid = next(results)
        assert pid in [child.pid for child in psutil.Process().children()]
        results.close()
        assert next(iter(workers.map(square, [2])))[1][0] == 4  # others are started in their places
    assert pid not in psutil.pids()


def test_what_tasks_print_is_not_among_the_results_on_standard_output(capfd):
    with closing(Processes(1, "cpu")) as workers:
        assert list(workers.map(print_both_ways, [0])) == [(0, 8)]
    out, err = capfd.readouterr()
    assert out == ""
    assert {"printed", "written"} <= set(err.split())


def test_a_bar_that_a_task_draws_leaves_no_semaphore_behind():
    task = "list(workers.map(test_workers.draw_bar, [1]))"
    program = f"import test_workers\nwith test_workers.local_workers(2) as workers: {task}"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert "1/1" in ended.stderr
    assert "semaphore" not in ended.stderr


def test_ctrl_c_while_a_process_is_started_is_not_lost(monkeypatch):
    class Interrupted(ProcessPoolExecutor):
        def submit(self, *arguments, **keywords):
            signal.raise_signal(signal.SIGINT)
            return super().submit(*arguments, **keywords)

    monkeypatch.setattr("corrpo.jobs.workers.ProcessPoolExecutor", Interrupted)
    with local_workers(2, "cpu") as workers, pytest.raises(KeyboardInterrupt):
        list(workers.map(square, [0, 1]))


def test_ctrl_c_does_not_wait_for_the_task_that_is_going_on():
    with local_workers(2, "cpu") as workers:
        results = workers.map(wait_long, [0, 1])
        next(results)
        threading.Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            next(results)


@pytest.mark.parametrize("cluster", [None, "auto"])
def test_fewer_than_one_worker_is_refused_wherever_they_are(cluster):
    with (
        pytest.raises(BadInputError, match="processes=0: expected 1 or more"),
        open_workers([], 0, cluster, LoadOptions()),
    ):
        pass


@pytest.mark.slow
def test_workers_that_cannot_start_are_an_error(monkeypatch):
    monkeypatch.setattr("corrpo.jobs.workers._begin", os._exit)
    with (
        local_workers(2, "cpu") as workers,
        pytest.raises(CorrpoError, match="3 workers died as they started: .*if __name__"),
    ):
        list(workers.map(square, [0, 1]))


def test_a_model_over_all_gpus_has_them_alone():
    check_processes(4, None)
    check_processes(None, "auto")
    check_processes(4, "auto", cluster="auto")
    with pytest.raises(BadInputError, match="device_map='auto' spreads one model.*there are 4 processes"):
        check_processes(4, "auto")
