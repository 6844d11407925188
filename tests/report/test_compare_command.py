"""`corrpo compare` from folders to tables and files."""

import json
from xml.etree import ElementTree

import pytest
import tyro

from corrpo.cli.compare import Compare, run
from corrpo.cli.diagnose import Diagnose
from corrpo.cli.diagnose import run as run_diagnose
from corrpo.errors import BadInputError
from corrpo.report.options import ReportOptions
from report.fingerprints import make_fingerprint

SMALL = {"samples": 5, "length": 12}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for family in ("qwen2", "llama"):
        for kind, slope in (("base", 0.4), ("reasoning", -0.5)):
            for sample_set in ("maths", "chat"):
                constant = (family, kind, sample_set) == ("llama", "base", "chat")
                fingerprint = make_fingerprint(
                    slope, name=sample_set, model=f"{family}-{kind}", constant=constant, **SMALL
                )
                fingerprint.save(folder / f"{family}-{kind}" / sample_set)
    return folder


def labels(runs):
    return tuple(f"{f}/{k}={runs}/{f}-{k}" for f in ("qwen2", "llama") for k in ("base", "reasoning"))


def test_tables_are_printed_within_a_hundred_columns(runs, capsys):
    run(Compare(labels(runs), resamples=20))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert "rho [interval]" in out
    assert "reasoning − base" in out
    assert "llama/base on chat: entropy is constant over the 60 tokens" in out
    rho = json.loads((runs / "qwen2-base" / "maths" / "fingerprint.json").read_text())["statistics"][
        "spearman"
    ]
    assert f"{rho['value']:.2f} [{rho['low']:.2f}, {rho['high']:.2f}]".replace("-", "−") in out


def test_everything_is_written_and_the_paths_are_printed(runs, tmp_path, capsys):
    output = tmp_path / "made" / "out"
    run(Compare(labels(runs), output=output, resamples=20))
    figures = {
        f"{name}.{end}" for name in ("types", "scatter-qwen2", "scatter-llama") for end in ("svg", "pdf")
    }
    written = {"comparison.json", "comparison.html"} | figures
    assert {path.name for path in output.iterdir()} == written
    printed = capsys.readouterr().out.splitlines()
    assert {str(output / name) for name in written} <= set(printed)
    for path in output.glob("*.svg"):
        ElementTree.fromstring(path.read_text())
    plain = json.loads((output / "comparison.json").read_text())
    assert len(plain["rows"]) == 8
    assert len(plain["differences"]) == 4
    assert plain["paired"]["resamples"] == 20
    assert [row["spearman"]["value"] for row in plain["rows"]].count(None) == 1


def test_without_an_output_nothing_is_written(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(Compare((labels(runs)[0],)))
    assert list(tmp_path.iterdir()) == []


def test_hostile_labels_do_not_reach_the_terminal(runs, capsys):
    run(Compare((f"[red]\x1b[31m/base={runs}/qwen2-base",)))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[red]" in out.replace("\n", "")


def test_the_command_line_reads_labels_and_options():
    read = tyro.cli(Compare, args=["base=a", "qwen2/safety=b", "--output", "out", "--seed", "3"])
    assert read.labels == ("base=a", "qwen2/safety=b")
    assert str(read.output) == "out"
    assert read.seed == 3


def test_an_unknown_folder_is_named(tmp_path):
    with pytest.raises(BadInputError, match="nowhere"):
        run(Compare((f"base={tmp_path}/nowhere",)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, "seed=-1: expected a whole number from 0"),
        ({"seed": 2**32}, "seed=4294967296: expected a whole number"),
        ({"resamples": -1}, "resamples must be a whole number from 2, or 0"),
    ],
)
def test_numbers_out_of_range_are_told(runs, tmp_path, options, words):
    folders = (f"{runs}/qwen2-base", f"{runs}/qwen2-reasoning")
    with pytest.raises(BadInputError, match=words):
        run(Compare(folders, **options))
    with pytest.raises(BadInputError, match=words):
        run_diagnose(Diagnose(labels=(f"qwen2/base={folders[0]}",), output=tmp_path / "d", **options))


def test_halves_of_a_report_are_a_whole_number():
    with pytest.raises(BadInputError, match="resamples must be a whole number from 2, or 0 for none, not -1"):
        ReportOptions(resamples=-1)
