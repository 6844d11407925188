"""A folder is held by one process; who comes after a killed one waits for its end."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from corrpo.errors import OutputFolderError
from corrpo.jobs.folder_lock import LOCK, locked_folder


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    with (
        locked_folder(tmp_path),
        pytest.raises(OutputFolderError, match="another process is writing there; wait for it"),
        locked_folder(tmp_path),
    ):
        pass
    with locked_folder(tmp_path):
        assert (tmp_path / LOCK).exists()


def test_a_folder_that_nothing_was_written_into_is_gone_again(tmp_path):
    with locked_folder(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()
    with locked_folder(tmp_path / "new"):
        (tmp_path / "new" / "result.json").write_text("{}")
    assert (tmp_path / "new" / "result.json").exists()
    (tmp_path / "empty").mkdir()
    with locked_folder(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").exists()


@pytest.mark.parametrize("written", [True, False])
def test_who_is_patient_gets_the_folder_when_it_is_free(tmp_path, written):
    begun, ended = Event(), Event()

    def holding():
        with locked_folder(tmp_path / "run"):
            if written:
                (tmp_path / "run" / "part").touch()
            begun.set()
            assert ended.wait(20)

    def coming_after():
        with locked_folder(tmp_path / "run", patience=20):
            (tmp_path / "run" / "part").write_text("of the second")
            with pytest.raises(OutputFolderError), locked_folder(tmp_path / "run"):
                pass

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(holding)
        assert begun.wait(20)
        second = threads.submit(coming_after)
        time.sleep(0.3)
        assert not second.done()
        ended.set()
        first.result()
        second.result()
    assert (tmp_path / "run" / "part").read_text() == "of the second"
