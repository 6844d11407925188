"""An output folder that cannot be used, that vanishes meanwhile, or that holds parts of another form."""

import shutil

import polars as pl
import pytest

from corrpo.errors import OutputFolderError
from corrpo.jobs.outcome import outcome_of
from corrpo.jobs.run_folder import Part, RunFolder, check_output

SETTINGS = {"seed": 0, "model": "a"}


def parts(*, at_second=lambda: None):
    def second():
        at_second()
        return pl.DataFrame({"x": [2]})

    return [Part("x-0", lambda: pl.DataFrame({"x": [1]}), 1), Part("x-1", second, 1)]


def test_a_folder_that_is_removed_meanwhile_is_completed(tmp_path):
    folder = tmp_path / "out"
    with RunFolder(folder, SETTINGS).claimed() as run:
        work = parts(at_second=lambda: shutil.rmtree(folder))
        run.make(work, lambda size: None)
        assert pl.concat(run.read(work))["x"].to_list() == [1, 2]
    with RunFolder(folder, SETTINGS).claimed() as run:  # what is left can be gone on with
        run.make(parts(), lambda size: None)
    with (
        pytest.raises(OutputFolderError, match="seed was 0, now 1"),
        RunFolder(folder, {"seed": 1}).claimed(),
    ):
        pass


def test_parts_of_an_earlier_call_that_are_removed_meanwhile(tmp_path):
    with RunFolder(tmp_path, SETTINGS).claimed() as run:
        run.make(parts(), lambda size: None)
    with RunFolder(tmp_path, SETTINGS).claimed() as run:
        run.make(parts(), lambda size: None)
        shutil.rmtree(tmp_path / "parts")
        with pytest.raises(OutputFolderError, match=r"lost 2 files .*first: x-0.*run the same command again"):
            run.read(parts())


def test_parts_of_another_form(tmp_path):
    with RunFolder(tmp_path, SETTINGS).claimed() as run:
        run.make(parts(), lambda size: None)
    with (
        pytest.raises(OutputFolderError, match="parts of another form .*remove it, and run the same command"),
        RunFolder(tmp_path, SETTINGS).claimed() as run,
    ):
        pl.concat([pl.DataFrame(schema={"y": pl.String}), *run.read(parts())])


def test_output_folders_are_refused_before_anything_is_loaded(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputFolderError, match="file is a file; give a new or an empty folder"):
            check_output(path, SETTINGS)
    with pytest.raises(OutputFolderError, match=r"files that are not of this run \(file\)"):
        check_output(tmp_path, SETTINGS)
    check_output(tmp_path / "new" / "below", SETTINGS)
    assert not (tmp_path / "new").exists()
    with RunFolder(tmp_path / "run", SETTINGS).claimed():
        pass
    check_output(tmp_path / "run", {"seed": 0})
    with pytest.raises(OutputFolderError, match="seed was 0, now 3"):
        check_output(tmp_path / "run", {"seed": 3})


def test_an_error_that_nobody_foresaw_does_not_end_the_others():
    with outcome_of("one", out_of_memory="take fewer") as outcome:
        raise ZeroDivisionError("by the program")
    assert outcome.reason is not None
    assert outcome.reason.startswith("ZeroDivisionError: by the program (test_run_folder.py, line ")
