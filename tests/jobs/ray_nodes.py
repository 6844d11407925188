"""A Ray cluster of three nodes on this machine, two of which can be killed at chosen moments."""

import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corrpo.errors import NonFiniteError

NODE = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}


def fail(item: int) -> int:
    """A task that raises, or ends its process."""
    if item == 1:
        raise NonFiniteError("not a number")
    if item == 2:
        os._exit(3)
    return item


def wait_for(folder: Path, begun: int) -> None:
    """Until so many tasks have begun with the folder."""
    while len(list(folder.iterdir())) < begun:
        time.sleep(0.05)


def visible_gpus(item: tuple[Path, int]) -> list[str]:
    """A task that waits until others have begun too; the GPUs that its process sees."""
    folder, begun = item
    (folder / str(os.getpid())).touch()
    wait_for(folder, begun)
    return os.environ["CUDA_VISIBLE_DEVICES"].split(",")


class Nodes:
    """A head, which the test is on, and two nodes that may be killed."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args=NODE)
        self.others = [self.cluster.add_node(**NODE) for _ in range(2)]
        self.address = self.cluster.address

    def kill_one(self, draw: random.Random) -> None:
        """End a node at once, and let another join."""
        node = self.others.pop(draw.randrange(len(self.others)))
        self.cluster.remove_node(node, allow_graceful=False)
        self.others.append(self.cluster.add_node(**NODE, wait=False))

    @contextmanager
    def joined(self, **resources: int) -> Iterator[None]:
        """Another node belongs to the cluster, and is killed at the end, which the others then know."""
        node = self.cluster.add_node(**NODE | resources)
        try:
            yield
        finally:
            self.cluster.remove_node(node, allow_graceful=False)
            while node.node_id in {
                row["NodeID"] for row in self.cluster.global_state.node_table() if row["Alive"]
            }:
                time.sleep(0.1)

    @contextmanager
    def killed_after(self, results: list[int], draw: random.Random) -> Iterator[list[int]]:
        """A node is killed whenever so many results have come back; yields tasks done again, by map."""
        from corrpo.jobs.cluster import Cluster

        came, retried, real = [], [], Cluster.map

        def killing(workers, *arguments, **keywords):
            before = workers.retried
            for result in real(workers, *arguments, **keywords):
                came.append(result)
                if len(came) in results:
                    self.kill_one(draw)
                yield result
            retried.append(workers.retried - before)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Cluster, "map", killing)
            yield retried
        assert len(came) >= max(results)


@contextmanager
def started_nodes() -> Iterator[Nodes]:
    """The cluster, whose nodes find what this process imports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_worker_niceness", "0")  # not 15, which starves on a machine with other work
        nodes = Nodes()
        try:
            yield nodes
        finally:
            nodes.cluster.shutdown()
