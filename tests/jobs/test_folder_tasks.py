"""Tasks that fill a folder where their workers do not see the folders of this process."""

import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from corrpo.errors import OutputFolderError
from corrpo.jobs.folder_lock import locked_folder
from corrpo.jobs.folder_tasks import fill_folders
from corrpo.jobs.outcome import Outcome
from corrpo.jobs.workers import ThisProcess


@dataclass(frozen=True)
class Job:
    """A folder, and the name of a file that the task writes there."""

    folder: Path
    written: str


class Elsewhere(ThisProcess):
    """Workers that do not see the folders of this process, as those of other machines."""

    share_folders = False

    def map(self, task, items, *, pack, **keywords):
        return super().map(task, [pack(item) for item in items], name=keywords.get("name", str))


def fill(job: Job) -> Outcome[str]:
    names = tuple(sorted(path.name for path in job.folder.iterdir()))
    (job.folder / job.written).touch()
    return Outcome(str(names))


def test_what_a_killed_worker_left_is_removed_and_what_a_living_one_has_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    names = ("corrpo-worker-1", "corrpo-worker-2", "corrpo-runs")
    killed, living, mine = (tmp_path / "temporary" / name for name in names)
    for folder in (killed, living, mine):
        (folder / "checkpoint").mkdir(parents=True)
    output = tmp_path / "output"
    output.mkdir()
    (output / "begun").touch()
    results = fill_folders(Elsewhere(), fill, [Job(output, "done")], lost=Outcome)
    with locked_folder(living), closing(results):
        assert [outcome.item for _, outcome in results] == ["('begun',)"]
        assert sorted(path.name for path in output.iterdir()) == ["begun", "done"]
        assert sorted(path.name for path in killed.parent.iterdir()) == ["corrpo-runs", "corrpo-worker-2"]


def test_no_room_for_temporary_folders_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    results = fill_folders(Elsewhere(), fill, [Job(tmp_path / "output", "done")], lost=Outcome)
    with pytest.raises(OutputFolderError, match="cannot write .*gone/.corrpo-worker-.*: No such file"):
        next(results)
