"""Bits flipped in every kind of file of results: what is read is the same, or the file at fault is named."""

import io
import json
import shutil

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corrpo import Fingerprint
from corrpo.errors import BadInputError, CorrpoError, DamagedFileError
from corrpo.evaluation.results import load_evaluations
from corrpo.jobs.files import read_json, read_parquet, write_json, write_parquet
from corrpo.jobs.run_folder import Part, RunFolder
from corrpo.measurement.trajectory import Trajectory
from corrpo.monitor.calibration import Calibration
from corrpo.monitor.journal import Journal
from corrpo.viewer.fingerprint_files import read_responses, token_table
from report.fingerprints import make_fingerprint
from report.runs import write_evaluations, write_track

FLIPS = st.lists(st.integers(0, 1 << 40), min_size=1, max_size=3)
TABLE = pl.DataFrame(
    {"name": ["a", "b", None], "norms": [[[0.5, 2.0]], None, []], "kind": [1, 2, 3]},
    schema_overrides={"norms": pl.List(pl.List(pl.Float64)), "kind": pl.Int8},
)
quickly = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def flip(path, places):
    content = bytearray(path.read_bytes())
    for place in places:
        content[place // 8 % len(content)] ^= 1 << place % 8
    path.write_bytes(content)


def outcome(read):
    """What is read, or the error that says why it cannot be."""
    try:
        return read()
    except CorrpoError as error:
        return error


def same_or_named(path, places, read):
    """Flip bits of a file, read, and put it back."""
    whole, expected = path.read_bytes(), read()
    flip(path, places)
    found = outcome(read)
    path.write_bytes(whole)
    if isinstance(found, CorrpoError):
        assert path.name in str(found)
        assert "\n" not in str(found).strip()
    else:
        assert found == expected


@given(places=FLIPS)
@quickly
def test_a_parquet_file(tmp_path, places):
    path = tmp_path / "x.parquet"
    write_parquet(path, TABLE)
    same_or_named(path, places, lambda: read_parquet(path).rows())


@given(places=FLIPS, columns=st.sampled_from([["name"], ["norms", "kind"]]))
@quickly
def test_columns_of_a_parquet_file(tmp_path, places, columns):
    path = tmp_path / "x.parquet"
    write_parquet(path, TABLE)
    same_or_named(path, places, lambda: read_parquet(path, columns).rows())


@given(places=FLIPS)
@quickly
def test_a_json_record(tmp_path, places):
    path = tmp_path / "x.json"
    record = {"rho": -0.25, "name": "π \ud800", "list": [1, None, {"a": 1e-300}], "checked": True}
    write_json(path, record)
    assert read_json(path) == record
    same_or_named(path, places, lambda: read_json(path))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A fingerprint, a trajectory and evaluations, as the commands leave them."""
    folder = tmp_path_factory.mktemp("results")
    make_fingerprint(untrained=True, name="sums").save(folder / "fingerprint")
    write_track(folder / "track", [("sft", [10, 20])])
    write_evaluations(folder / "evaluation", [("sft", [10, 20])])
    return folder


def evaluated(folder):
    return [(repr(evaluation), evaluation.generations.rows()) for evaluation in load_evaluations(folder)]


def viewed(folder):
    token_table.cache_clear()
    return [token_table(folder).rows(), read_responses(folder)]


READERS = {
    "fingerprint": ("fingerprint", Fingerprint.load),
    "track": ("track", lambda folder: Trajectory.load(folder).table().rows()),
    "evaluation": ("evaluation", evaluated),
    "viewer": ("fingerprint", viewed),
}


@given(data=st.data(), places=FLIPS)
@pytest.mark.parametrize("reader", READERS)
@quickly
def test_folders_of_results(folders, reader, data, places):
    name, read = READERS[reader]
    folder = folders / name
    unread = ("evaluations.parquet", "track.json")
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in unread)
    path = data.draw(st.sampled_from(paths))
    same_or_named(path, places, lambda: read(folder))


@given(places=FLIPS, which=st.integers(0, 2))
@quickly
def test_a_damaged_part_is_made_again_on_a_resume_and_no_other(tmp_path, caplog, places, which):
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    caplog.clear()
    made = []

    def part(number):
        return Part(f"p{number}", lambda: made.append(number) or TABLE.with_columns(part=number), 1)

    def run():
        with RunFolder(folder, {"a": 1}).claimed() as claimed:
            claimed.make([part(i) for i in range(3)], lambda size: None)
            return [table.rows() for table in claimed.read([part(i) for i in range(3)])]

    full = run()
    flip(folder / "parts" / f"p{which}.parquet", places)
    assert run() == full
    assert made in ([0, 1, 2], [0, 1, 2, which])
    assert len(caplog.records) == len(made) - 3
    for record in caplog.records:
        assert f"p{which}.parquet" in record.getMessage()
        assert "it is made again" in record.getMessage()


@given(places=FLIPS)
@quickly
def test_damaged_settings_of_a_run(tmp_path, places):
    folder = tmp_path / "run"

    def run():
        with RunFolder(folder, {"a": 1, "b": [0.5]}).claimed():
            return read_json(folder / "settings.json")

    run()
    same_or_named(folder / "settings.json", places, run)


@given(places=FLIPS)
@quickly
def test_a_damaged_line_of_the_monitors_journal_is_done_again(tmp_path, places):
    path, output = tmp_path / "x.partial", tmp_path / "x.jsonl"
    path.unlink(missing_ok=True)
    records = {line: {"line": line, "text": f"tab\t{line}", "rho": line / 7} for line in range(1, 5)}
    with Journal(path, {"digest": "d", "bytes": 3}) as journal:
        for record in records.values():
            journal.add(record)
    flip(path, places)

    def go_on():
        with Journal(path, {"digest": "d", "bytes": 3}) as journal:
            assert all(records[line] == record for line, record in journal.done.items())
            for line in records.keys() - journal.done.keys():
                journal.add(records[line])
            journal.become(output)
        return [json.loads(line) for line in output.read_text().splitlines()]

    found = outcome(go_on)
    assert path.name in str(found) if isinstance(found, CorrpoError) else found == list(records.values())


@given(places=FLIPS)
@quickly
def test_a_calibration(tmp_path, places):
    path = tmp_path / "calibration.json"
    calibration = Calibration("high", 0.05, None, 0.25, 0.5, {"name": "m", "digest": "d"}, {"a": 1})
    calibration.save(path)
    same_or_named(path, places, lambda: Calibration.load(path))


def test_files_without_a_checksum_are_read_as_they_are(tmp_path):
    TABLE.write_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert read_parquet(tmp_path / "x.parquet").equals(TABLE)
    assert read_json(tmp_path / "x.json") == {"a": 1}


def test_what_was_changed_by_hand_is_used_without_its_checksum(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"name": "a"})
    path.write_text(path.read_text().replace('"a"', '"b"'))
    with pytest.raises(DamagedFileError, match="take out its 'checksum' if you changed it yourself"):
        read_json(path)
    record = json.loads(path.read_text())
    del record["checksum"]
    path.write_text(json.dumps(record))
    assert read_json(path) == {"name": "b"}


def test_a_missing_file_is_no_damage(tmp_path):
    with pytest.raises(BadInputError, match="No such file") as error:
        read_parquet(tmp_path / "none.parquet")
    assert not isinstance(error.value, DamagedFileError)


def test_other_programs_read_a_sealed_file(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    write_parquet(tmp_path / "x.parquet", TABLE)
    table = parquet.read_table(io.BytesIO((tmp_path / "x.parquet").read_bytes()))
    assert table.column("kind").to_pylist() == [1, 2, 3]
