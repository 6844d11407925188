"""The viewer's server answers this machine alone, and only what it has."""

import socket

import pytest
from starlette.testclient import TestClient

from corrpo.errors import BadInputError
from corrpo.viewer.fingerprint_view import viewed_fingerprints
from corrpo.viewer.server import application, listening
from viewer.results import HOSTILE, made


@pytest.fixture
def client(tmp_path):
    made(3, 24, texts=HOSTILE).save(tmp_path / "run")
    return TestClient(
        application(viewed_fingerprints(tmp_path, "exact"), 8000), base_url="http://127.0.0.1:8000"
    )


def test_the_page_and_its_two_files_come_with_a_strict_policy(client):
    for path in ("/", "/view.js", "/view.css"):
        reply = client.get(path)
        assert reply.status_code == 200
        assert "default-src 'none'" in reply.headers["content-security-policy"]
        assert "unsafe" not in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"


def test_results_samples_and_tokens_go_by_number(client):
    assert client.get("/api").json() == ["run"]
    assert len(client.get("/api/0").json()["samples"]) == 3
    assert len(client.get("/api/0/2").json()["token"]) == 24
    assert client.get("/api/0/2/1").json()["layers"] == [0, 1]


@pytest.mark.parametrize(
    "path",
    ["/api/1", "/api/0/3", "/api/0/0/24", "/api/-1", "/api/0/x", "/api/0/..%2f..", "/etc/passwd", "/../x"],
)
def test_what_is_not_there_is_not_found(client, path):
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1", "127.0.0.1:8001", "localhost.evil.example:8000", ""],
)
def test_other_hosts_are_refused(client, host):
    reply = client.get("/api", headers={"host": host})
    assert reply.status_code == 400
    assert "run" not in reply.text
    assert "default-src 'none'" in reply.headers["content-security-policy"]


def test_localhost_is_this_machine_too(client):
    assert client.get("/api", headers={"host": "localhost:8000"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
def test_nothing_but_get_is_answered(client, method):
    reply = client.request(method, "/api")
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET")


def test_a_result_that_breaks_while_it_is_read_is_reported(client, tmp_path):
    (tmp_path / "run" / "tokens.parquet").write_bytes(b"")
    reply = client.get("/api/0")
    assert reply.status_code == 500
    assert "cannot read" in reply.json()["error"]


def test_a_port_that_is_taken_is_reported():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BadInputError, match="cannot be used .*give another"):
            listening(taken.getsockname()[1])
    for port in (99999, -1):
        with pytest.raises(BadInputError, match=f"port {port}"):
            listening(port)


def test_the_socket_is_of_this_machine_and_listens_at_once():
    with listening(0) as opened:
        host, port = opened.getsockname()
        assert host == "127.0.0.1"
        with socket.create_connection((host, port), timeout=5) as connected:
            assert connected.getpeername() == (host, port)
