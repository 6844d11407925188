"""A Ray cluster of three nodes on this machine: the results of one process, whatever dies.

One test does all of a kind, as starting workers is what takes time.
"""

import logging
import random
import re
import signal
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from corrpo.cli.main import main
from corrpo.errors import BadInputError, CorrpoError, NonFiniteError
from corrpo.jobs.cluster import Cluster, check_node, connected
from corrpo.jobs.process_count import Need
from corrpo.jobs.versions import library_versions
from jobs.launching import ended_when, files
from jobs.ray_nodes import fail, visible_gpus, wait_for
from jobs.test_commands_in_processes import EVALUATE, QUICK, measure, samples_file

KILLS = 10


def commands(folder: Path) -> dict[str, list[str]]:
    """What is done on the cluster and by one process, each without its output."""
    samples = samples_file(folder / "samples.jsonl")
    track = ["track", "sft:1=lab:qwen2/base", "sft:3=lab:qwen2/reasoning", "--samples", str(samples), *QUICK]
    here = ["--device", "cpu"]
    return {"measure": [*measure(samples), *here], "track": [*track, *here], "evaluate": [*EVALUATE, *here]}


@pytest.mark.slow
def test_the_files_of_one_process_although_ten_nodes_are_killed(ray_nodes, tmp_path, caplog):
    words, draw = commands(tmp_path), random.Random(0)
    for name, command in words.items():
        assert main([*command, "--processes", "1", "--output", str(tmp_path / "one" / name)]) == 0
    moments = draw.sample(range(1, 17), KILLS)  # of 17 tasks
    with caplog.at_level(logging.WARNING), ray_nodes.killed_after(moments, draw) as retried:
        for name, command in words.items():
            output = tmp_path / "ray" / name
            assert main([*command, "--cluster", ray_nodes.address, "--output", str(output)]) == 0
            assert files(output) == files(tmp_path / "one" / name)
    told = [record.getMessage() for record in caplog.records if "done again" in record.getMessage()]
    assert sum(retried) == len(told) >= 1
    assert all(re.search(r"its worker was lost .*; done again, [12] of 2 times$", line) for line in told)


@pytest.mark.slow
def test_a_driver_that_is_killed_or_interrupted_is_gone_on_with(ray_nodes, tmp_path):
    command = commands(tmp_path)["measure"]
    assert main([*command, "--processes", "1", "--output", str(tmp_path / "one")]) == 0
    there = ["--cluster", ray_nodes.address, "--output"]
    for how, status in ((signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)):
        output = tmp_path / how.name
        reached = lambda output=output: bool(list(output.glob("parts/*.parquet")))  # noqa: E731
        ended, said = ended_when([*command, *there, str(output)], reached, how)
        assert ended == status
        assert "Traceback" not in said, said
        assert "received" not in said, said
        assert list(output.glob("parts/*.parquet"))
        assert main([*command, "--processes", "1", "--output", str(output)]) == 0
        assert files(output) == files(tmp_path / "one")


@pytest.mark.slow
def test_errors_of_tasks_and_tasks_that_end_their_workers_each_time(ray_nodes):
    need = Need(device="cpu")
    with connected(ray_nodes.address, 2, need, []) as workers:
        results = dict(workers.map(fail, [0, 2, 3], lost=lambda item, why: why))
        assert (results[0], results[2]) == (0, 3)
        assert re.fullmatch(r"its worker was lost \(.*\), 3 times", results[1])
        with pytest.raises(NonFiniteError, match="^1: not a number$") as raised:
            list(workers.map(fail, [1]))
        assert type(raised.value) is NonFiniteError
        with pytest.raises(CorrpoError, match="^2: its worker was lost .* 3 times; what is done is kept"):
            list(workers.map(fail, [2]))


@pytest.mark.slow
def test_a_full_disk_ends_with_a_line_and_is_gone_on_with_when_there_is_room(
    ray_nodes, tmp_path, capsys, monkeypatch
):
    real = Path.write_bytes
    words = commands(tmp_path)
    for name in ("measure", "evaluate"):
        written = []

        def filling(self, content, written=written):
            written.append(self)
            return real(self if len(written) != 4 else Path("/dev/full"), content)

        here, there = [*words[name], "--output"], ["--cluster", ray_nodes.address]
        assert main([*here, str(tmp_path / "one" / name), "--processes", "1"]) == 0
        capsys.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", filling)
            assert main([*here, str(tmp_path / name), *there]) == 1
        *_, said = capsys.readouterr().err.splitlines()
        assert re.fullmatch(rf"corrpo {name}: no room on the disk to write .*: free some room .*", said)
        assert main([*here, str(tmp_path / name), *there]) == 0
        assert files(tmp_path / name) == files(tmp_path / "one" / name)


@pytest.mark.slow
def test_workers_of_two_gpus_share_a_node_and_ask_for_another_when_it_is_lost(ray_nodes, tmp_path):
    from ray.util import placement_group_table

    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir()
    again.mkdir()
    with ExitStack() as stack, ThreadPoolExecutor() as beside, ExitStack() as node:
        node.enter_context(ray_nodes.joined(num_cpus=8, num_gpus=8))
        workers = stack.enter_context(connected(ray_nodes.address, None, Need(devices=2), []))
        assert workers.count == 4
        with connected(ray_nodes.address, None, Need(devices=None), []) as all_of_the_largest:
            assert all_of_the_largest.count == 1
        (_, one), (_, other) = workers.map(visible_gpus, [(first, 2)] * 2)
        assert len({*one, *other}) == len(one) + len(other) == 4
        stack.enter_context(ray_nodes.joined(num_cpus=4, num_gpus=4))
        beside.submit(lambda: [wait_for(again, 2), node.close()])
        assert [len(gpus) for _, gpus in workers.map(visible_gpus, [(again, 4)] * 2)] == [2, 2]
        assert workers.retried == 2
        groups = placement_group_table().values()
        states = Counter(group["state"] for group in groups if group["bundles"][0].get("GPU") == 2)
        assert states == {"CREATED": 2, "REMOVED": 2}
        workers.close()
        assert {group["state"] for group in placement_group_table().values()} == {"REMOVED"}


@pytest.mark.slow
def test_what_a_cluster_has_not_is_told_at_once(ray_nodes, tmp_path, monkeypatch):
    with (
        pytest.raises(BadInputError, match="no node .* has room: a worker needs 1 CPU, 1 GPU"),
        connected(ray_nodes.address, None, Need("cuda"), []),
    ):
        pass
    with (
        pytest.raises(BadInputError, match="device 'cuda:1': on a cluster Ray chooses the GPU"),
        connected(ray_nodes.address, None, Need("cuda:1"), []),
    ):
        pass
    monkeypatch.setattr("corrpo.jobs.cluster.library_versions", lambda: library_versions() | {"torch": "1.0"})
    with (
        connected(ray_nodes.address, 1, Need("cpu"), [tmp_path]) as workers,
        pytest.raises(BadInputError, match="of the cluster has torch .*, and this process 1.0: install one"),
    ):
        list(workers.map(fail, [0]))


def test_workers_that_die_by_a_token_that_the_cluster_does_not_know_are_told_what_to_set(monkeypatch):
    workers = Cluster.__new__(Cluster)
    workers._wanted = {"CPU": 1, "memory": 1 << 30}
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert workers.advice() == ("a worker needs 1 CPU, 1.0 GiB of memory; `ray status` shows what there is")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert workers.advice().endswith("; where `ray start` asked for no token, set RAY_AUTH_MODE=disabled")


def test_a_node_without_corrpo_with_another_version_or_without_the_model_is_named():
    here = dict(library_versions())
    check_node(("n1", here, []))
    check_node(("n1", here | {"torch": here["torch"].partition("+")[0] + "+cu130"}, []))
    for versions, missing, message in (
        (
            here | {"corrpo": None},
            [],
            "node n1 of the cluster has no corrpo in the Python of its Ray: install",
        ),
        (here | {"corrpo": "0.0.1"}, [], "has corrpo 0.0.1, and this process"),
        (here, ["/models/mine"], "/models/mine is on this machine, and not on node n1 .*same path"),
    ):
        with pytest.raises(BadInputError, match=message):
            check_node(("n1", versions, missing))


def test_no_ray_and_no_cluster_at_the_address(tmp_path, capsys, monkeypatch):
    command = [*commands(tmp_path)["measure"], "--output", str(tmp_path / "out"), "--cluster"]
    assert main([*command, "127.0.0.1:1"]) == 1
    assert "no Ray cluster at '127.0.0.1:1': start one by `ray start --head`" in capsys.readouterr().err
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert main([*command, "auto"]) == 1
    assert "no Ray cluster at RAY_ADDRESS='127.0.0.1:1'" in capsys.readouterr().err
    for address in ("", "127.0.0.1", "ray://127.0.0.1:10001", "127.0.0.1:six"):
        assert main([*command, address]) == 1
        assert f"cluster {address!r}: expected auto, or HOST:PORT as" in capsys.readouterr().err
    monkeypatch.setattr("corrpo.errors.find_spec", lambda name: None)
    assert main([*command, "auto"]) == 1
    assert "--cluster needs ray, which is not installed: pip install" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_cluster_that_lets_nobody_in_may_ask_for_a_token(tmp_path, capsys, monkeypatch):
    def init(**_):
        raise ConnectionError("Failed to connect")

    monkeypatch.setattr("ray.init", init)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        command = [*commands(tmp_path)["measure"], "--output", str(tmp_path / "out"), "--cluster", address]
        assert main(command) == 1
        assert (
            "(Failed to connect; where `ray start` told that it asks for a token, set RAY_AUTH_MODE=token)"
            in (capsys.readouterr().err)
        )
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        assert main(command) == 1
        assert "(Failed to connect)" in capsys.readouterr().err
