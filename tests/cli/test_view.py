"""`corrpo view` as a user meets it."""

import json
import socket
import urllib.request

import pytest

from corrpo.cli.main import main
from viewer.browser import viewing
from viewer.results import made


@pytest.fixture
def folder(tmp_path):
    for name in ("step-1", "step-2"):
        made(3, 9).save(tmp_path / name)
    return tmp_path


def read(address):
    with urllib.request.urlopen(address, timeout=10) as reply:
        return json.load(reply)


@pytest.mark.slow
def test_it_serves_every_result_below_the_folder_until_ctrl_c(folder):
    with viewing(folder, "--check", "none") as address:
        assert read(f"{address}api") == ["step-1", "step-2"]
        assert read(f"{address}api/1")["unknown"] == {"answers are not checked": 3}


@pytest.mark.slow
def test_a_port_can_be_chosen(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with viewing(folder / "step-1", "--port", str(port)) as address:
        assert address == f"http://127.0.0.1:{port}/"
        assert read(f"{address}api") == ["step-1"]


def test_a_port_that_is_taken_is_reported(folder, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["view", str(folder), "--no-browser", "--port", str(port)]) == 1
    stderr = capsys.readouterr().err
    assert f"port {port} cannot be used" in stderr
    assert "give another" in stderr


def test_a_folder_without_results_is_reported(tmp_path, capsys):
    assert main(["view", str(tmp_path), "--no-browser"]) == 1
    assert "holds no fingerprint.json" in capsys.readouterr().err


def test_a_broken_result_is_reported_before_anything_is_served(folder, capsys):
    (folder / "step-2" / "tokens.parquet").write_bytes(b"PAR1 cut")
    assert main(["view", str(folder), "--no-browser"]) == 1
    shown = capsys.readouterr()
    assert "step-2/tokens.parquet" in shown.err
    assert shown.out == ""


def test_help_names_how_answers_are_checked(run_corrpo):
    assert "<answer>...</answer>" in run_corrpo("view", "--help").out
