"""Folders of fingerprints that are not as `save` wrote them: one error, which says what to do."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from corrpo import Fingerprint
from corrpo.errors import BadInputError

KEPT = Path(__file__).parents[1] / "data" / "folders_of_0_2_0" / "fingerprint"


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(KEPT, tmp_path / "measured")


def changed(path, **entries):
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "responses.jsonl").unlink(),
        lambda folder: (folder / "responses.jsonl").write_text("{}\n"),
        lambda folder: (folder / "responses.jsonl").write_text("[" * 100_000),
        lambda folder: (folder / "responses.jsonl").write_bytes(b"\xff\n"),
        lambda folder: changed(folder / "fingerprint.json", statistics={}),
        lambda folder: changed(folder / "fingerprint.json", statistics={"spearman": {}}),
        lambda folder: changed(folder / "fingerprint.json", untrained={}),
        lambda folder: (folder / "fingerprint.json").write_text("[" * 100_000),
        lambda folder: (folder / "fingerprint.json").write_text('{"schema_version": 1}'),
        lambda folder: (folder / "tokens.parquet").unlink(),
        lambda folder: (folder / "tokens.parquet").write_bytes(b"PAR1"),
        lambda folder: pl.DataFrame({"x": [1]}).write_parquet(folder / "tokens.parquet"),
    ],
)
def test_whatever_is_broken(folder, spoil):
    spoil(folder)
    with pytest.raises(BadInputError, match="measure again|remove it|not valid JSON|measured again"):
        Fingerprint.load(folder)
