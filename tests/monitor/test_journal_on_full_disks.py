"""A journal on a disk that fills up, or whose folder is removed, as a limit on the size of files shows."""

import json
import resource
import shutil

import pytest

from corrpo.errors import OutputFolderError
from corrpo.monitor.journal import Journal


def write_two(path, room):
    """Lines 1 and 2 into a journal, which may grow by `room` bytes after the first, also while it closes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with Journal(path, {"a": 1}) as journal:
            journal.add({"line": 1})
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, limits[1]))
            journal.add({"line": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_line_that_a_full_disk_took_in_part(tmp_path):
    with pytest.raises(OutputFolderError, match=r"cannot write .*journal: .*what is done is kept"):
        write_two(tmp_path / "journal", room=10)
    with Journal(tmp_path / "journal", {"a": 1}) as journal:
        assert list(journal.done) == [1]


def test_a_folder_that_is_removed_meanwhile_loses_no_line(tmp_path):
    folder = tmp_path / "out"
    with Journal(folder / "journal", {"a": 1}) as journal:
        journal.add({"line": 1})
        shutil.rmtree(folder)
        journal.add({"line": 2})
        journal.become(folder / "judged.jsonl")
    lines = (folder / "judged.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == [1, 2]
