"""`corrpo report`: what it finds in folders, what it refuses, and that every number has its source."""

import json
import re
import shutil
from xml.etree import ElementTree

import polars as pl
import pytest

from corrpo.cli.main import main
from corrpo.errors import BadInputError
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.report import write_report
from corrpo.report.collection import collect
from report.fingerprints import make_fingerprint
from report.runs import write_evaluations, write_track

R1 = [("sft", [0, 10, 20, 30]), ("grpo", [5, 10])]
RL = [("rl", [0, 5, 10])]


@pytest.fixture
def results(tmp_path):
    """Two models of a family, an R1 pipeline, and GRPO beside CorR-PO from the end of its SFT."""
    out = tmp_path / "out"
    for kind, slope in (("base", -0.2), ("reasoning", -0.6)):
        make_fingerprint(slope, model=kind).save(out / "models" / "qwen2" / kind / "reasoning")
    r1 = write_track(out / "track" / "qwen2" / "sft-then-grpo", R1)
    write_evaluations(out / "evaluated" / "qwen2" / "sft-then-grpo", R1, track=r1)
    end = f"{r1}-sft/step-000030"
    for name in ("grpo", "corrpo"):
        track = write_track(out / "track" / "qwen2" / name, RL, start=end)
        write_evaluations(out / "evaluated" / "qwen2" / name, RL, start=end, track=track)
    return out


@pytest.mark.slow
def test_one_command_reports_everything_in_a_folder(results, tmp_path, capsys):
    assert main(["report", str(results), "--output", str(tmp_path / "report"), "--resamples", "50"]) == 0
    page = (tmp_path / "report" / "report.html").read_text()
    for text in ("3 trajectories, 12 evaluations", "qwen2/sft-then-grpo: over sft, ρ went from", "lab:sums"):
        assert text in page
    assert 'id="figure5"' in page
    assert "https:" not in re.sub(r'xmlns(:\w+)?="[^"]+"|<!DOCTYPE[^>]+>', "", page)
    names = {path.name for path in (tmp_path / "report" / "figures").iterdir()}
    drawn = {"figure1-qwen2", "figure2", "figure3", "figure4", "figure5"}
    assert names == {f"{name}.{kind}" for name in drawn for kind in ("svg", "pdf", "parquet")}
    assert str(tmp_path / "report" / "report.html") in capsys.readouterr().out
    for svg in (tmp_path / "report" / "figures").glob("*.svg"):
        ElementTree.parse(svg)


def test_every_number_of_figure_3_is_that_of_a_fingerprint(results, tmp_path):
    write_report(collect([str(results)]), tmp_path / "report", resamples=50, formats=())
    rows = pl.read_parquet(tmp_path / "report" / "figures" / "figure3.parquet").to_dicts()
    assert {row["series"] for row in rows} == {"sft-then-grpo"}, "runs that go on are in figure 5"
    assert [row["step"] for row in rows] == [0, 10, 20, 30, 5, 10]
    for row in rows:
        spearman = Fingerprint.load(row["source"]).spearman
        assert (row["value"], row["low"], row["high"]) == (spearman.value, spearman.low, spearman.high)


def test_figure_5_has_rho_and_accuracy_of_runs_from_one_start(results, tmp_path):
    write_report(collect([str(results)]), tmp_path / "report", resamples=50, formats=())
    rows = pl.read_parquet(tmp_path / "report" / "figures" / "figure5.parquet")
    assert rows.group_by("quantity", "series").len().sort("quantity", "series")["len"].to_list() == [3] * 4
    assert set(rows["series"]) == {"grpo", "corrpo"}
    evaluated = pl.read_parquet(results / "evaluated" / "qwen2" / "grpo" / "evaluations.parquet")
    expected = evaluated.filter(pl.col("measure") == "pass@1")["value"] * 100
    shown = rows.filter((pl.col("quantity") == "accuracy") & (pl.col("series") == "grpo"))["value"]
    assert shown.to_list() == pytest.approx(expected.to_list())


def test_labels_are_given_or_the_last_two_names(results):
    bare = collect([str(results)])
    assert [trajectory.label for trajectory in bare.trajectories] == [
        "qwen2/corrpo",
        "qwen2/grpo",
        "qwen2/sft-then-grpo",
    ]
    assert [fingerprint.label for fingerprint in bare.fingerprints] == ["qwen2/base", "qwen2/reasoning"]
    given = collect([f"llama/mine={results / 'track' / 'qwen2' / 'grpo'}"])
    assert [trajectory.label for trajectory in given.trajectories] == ["llama/mine"]


def test_the_intervals_of_each_table_are_called_by_its_own_confidence(tmp_path):
    for kind in ("base", "reasoning"):
        settings = {"confidence": 0.9}
        make_fingerprint(model=kind, settings=settings).save(tmp_path / "models" / kind / "reasoning")
    write_track(tmp_path / "track" / "grpo", RL)
    models, track = str(tmp_path / "models"), str(tmp_path / "track")
    for words, names in (([models], ["90", "95"]), ([models, track], ["90", "95", "95", "95", "95"])):
        write_report(collect(words), tmp_path / "report", resamples=0, formats=())
        heads = re.findall(r"<th>(\d+) % interval</th>", (tmp_path / "report" / "report.html").read_text())
        assert heads == names, "rho of types and their difference; rho of a run, twice, and its change"


@pytest.mark.slow
def test_unfinished_runs_are_left_out_and_named(results, tmp_path, capsys):
    begun = results / "models" / "qwen2" / "safety"
    begun.mkdir()
    (begun / "settings.json").write_text("{}")
    assert main(["report", str(results), "--output", str(tmp_path / "r"), "--resamples", "0"]) == 0
    assert "safety" in capsys.readouterr().err
    assert "is unfinished" in (tmp_path / "r" / "report.html").read_text()


def test_a_measure_that_was_not_evaluated_is_told_with_those_there_are(tmp_path, capsys):
    write_track(tmp_path / "track" / "grpo", RL)
    write_evaluations(tmp_path / "evaluated" / "grpo", RL, track=tmp_path / "track" / "grpo")
    folders = [str(tmp_path / "track"), str(tmp_path / "evaluated")]
    words = ["report", *folders, "--output", str(tmp_path / "r"), "--resamples", "0", "--formats", "svg"]
    assert main([*words, "--measure", "pass@4"]) == 0
    told = "of grpo: its evaluations hold no pass@4; give --measure pass@1 or pass@2 or average@2"
    assert told in capsys.readouterr().err


def test_a_trajectory_without_a_checkpoint_yet_is_unfinished(tmp_path):
    tracks = tmp_path / "track"
    write_track(tracks / "grpo", RL)
    begun = shutil.copytree(tracks / "grpo", tracks / "corrpo")
    record = json.loads((begun / "track.json").read_text())
    (begun / "track.json").write_text(json.dumps(record | {"points": []}))
    found = collect([str(tracks)])
    assert [run.label for run in found.trajectories] == ["grpo"]
    assert found.unfinished == (begun,)
    with pytest.raises(BadInputError, match="corrpo holds no finished result; 1 runs in it are unfinished"):
        collect([str(tracks), str(begun)])


def test_a_missing_figure_of_accuracy_beside_rho_is_told_with_the_reason(tmp_path, capsys):
    out = tmp_path / "out"
    write_track(out / "track" / "qwen2" / "grpo", RL)
    write_evaluations(out / "evaluated" / "qwen2" / "grpo-run", RL)
    words = ["report", str(out), "--output", str(tmp_path / "r"), "--resamples", "0", "--formats", "svg"]
    assert main(words) == 0
    why = (
        "accuracy beside rho (figure 4) needs one label for both: only tracked are qwen2/grpo, only "
        "evaluated qwen2/grpo-run; where these are the same run, give both folders its label, as in "
        "qwen2/grpo=DIR"
    )
    assert why in capsys.readouterr().err
    page = (tmp_path / "r" / "report.html").read_text()
    assert why in page
    assert "1 trajectory, 3 evaluations" in page


def test_what_cannot_stand_in_one_figure_is_refused_with_the_difference(results, tmp_path):
    write_track(results / "track" / "qwen2" / "other", RL, estimator="own")
    with pytest.raises(BadInputError, match=r"estimator 'exact' and 'own'|estimator 'own' and 'exact'"):
        write_report(collect([str(results)]), tmp_path / "report")


def test_other_samples_are_refused_with_the_difference(results, tmp_path):
    write_track(results / "track" / "qwen2" / "other", RL, name="another")
    with pytest.raises(BadInputError, match="samples 'reasoning'.* and 'another'|samples 'another'"):
        write_report(collect([str(results)]), tmp_path / "report")


def test_other_settings_of_an_evaluation_are_refused(results, tmp_path):
    write_evaluations(results / "evaluated" / "qwen2" / "hot", RL, temperature=2.0)
    with pytest.raises(BadInputError, match=r"temperature .*Evaluate both with the same settings"):
        write_report(collect([str(results)]), tmp_path / "report")


def test_other_weights_than_those_evaluated_are_refused(results, tmp_path):
    write_evaluations(results / "evaluated" / "qwen2" / "grpo", RL, start="else", track="else")
    with pytest.raises(BadInputError, match="are not those that were evaluated"):
        write_report(collect([str(results)]), tmp_path / "report")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "nothing to report"),
        (["nowhere"], "is neither DIR nor LABEL=DIR|is not a folder"),
        (["a/=out"], "neither DIR nor LABEL=DIR"),
        (["x=nowhere"], "nowhere is not a folder"),
    ],
)
def test_bad_words_are_reported(words, message):
    with pytest.raises(BadInputError, match=message):
        collect(words)


def test_a_folder_without_results_and_a_label_twice_are_reported(results, tmp_path):
    (tmp_path / "void").mkdir()
    with pytest.raises(BadInputError, match="holds no finished result"):
        collect([str(tmp_path / "void")])
    with pytest.raises(BadInputError, match="two trajectories are called 'qwen2/grpo'"):
        collect([str(results), f"qwen2/grpo={results / 'track' / 'qwen2' / 'corrpo'}"])


def test_published_curves_lie_over_those_of_their_family(results, tmp_path):
    write_report(
        collect([str(results / "track")]), tmp_path / "r", axis="fraction", published=True, resamples=0
    )
    rows = pl.read_parquet(tmp_path / "r" / "figures" / "figure3.parquet").filter("published")
    assert {row.split(",")[0] for row in rows["series"]} == {"published: qwen"}
    assert set(rows["source"]) == {'the first author\'s post "The Entropy-Gradient Inversion", February 2026'}
    assert rows["x"].max() == 2.0
    assert "figures of the first author" in (tmp_path / "r" / "report.html").read_text()


def test_hostile_names_stay_text(tmp_path):
    name = "<script>alert(1)</script>"
    write_track(tmp_path / "t", RL)
    collection = (
        collect([f"{name}={tmp_path / 't'}"]) if "/" not in name else collect([f"<b>={tmp_path / 't'}"])
    )
    write_report(collection, tmp_path / "r", resamples=0)
    assert "<b>:" not in (tmp_path / "r" / "report.html").read_text()
    assert "&lt;b&gt;" in (tmp_path / "r" / "report.html").read_text()
