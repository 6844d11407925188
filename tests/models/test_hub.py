"""Names on the hub where the hub cannot be reached."""

import time

import huggingface_hub
import pytest

from corrpo.errors import BadInputError
from corrpo.models.hub import check_reachable
from corrpo.models.loading import load_model, load_skeleton


@pytest.fixture
def unreachable(monkeypatch):
    """A hub at a port at which nothing listens."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    )


@pytest.mark.parametrize("load", [load_model, load_skeleton])
def test_a_name_that_is_not_in_the_cache_is_refused_at_once(load, unreachable, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it tries again"))
    with pytest.raises(BadInputError, match="Qwen/none is no folder here .* cannot be reached"):
        load("Qwen/none")


def test_offline_the_hub_is_not_asked(unreachable, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    check_reachable("Qwen/none", None)


def test_a_name_in_the_cache_needs_no_hub(unreachable, monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: "config.json")
    check_reachable("Qwen/none", "main")
