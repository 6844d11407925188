"""Shape checks on every call of corrpo, and a quiet, offline, deterministic environment."""

import os
from dataclasses import dataclass

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("MPLBACKEND", "Agg")

import shape_checks

shape_checks.install()

import signal

import pytest
import torch
from hypothesis import settings

signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background finds it ignored
settings.register_profile("corrpo", deadline=None)  # a busy machine is no failure
settings.load_profile("corrpo")


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny tensors are quickest on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def no_shape_checks():
    """What a user meets without the test suite's shape checks: the function beneath the decorators."""

    def unwrapped(function):
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        return function

    return unwrapped


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: its exit status.
        out: what it wrote to standard output.
        err: what it wrote to standard error.
    """

    status: int
    out: str
    err: str


@pytest.fixture
def run_corrpo(capsys):
    """`run_corrpo("measure", model, "--samples", path)`: a command in this process, to its end."""
    from corrpo.cli.main import main

    def run(*words) -> Ended:
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as ended:  # --help, and a command line that cannot be read
            status = ended.code
        return Ended(status, *capsys.readouterr())

    return run


@pytest.fixture
def lab_tokenizer():
    """The lab's character tokenizer, fresh for each test."""
    from shared_models import lab_copies

    return lab_copies()[1]


@pytest.fixture
def lab_model():
    """A small trained model: the lab's Qwen2 base."""
    from shared_models import lab_copies

    return lab_copies()[0]


@pytest.fixture(scope="session")
def ray_nodes():
    """A Ray cluster of three nodes on this machine."""
    from jobs.ray_nodes import started_nodes

    with started_nodes() as nodes:
        yield nodes
