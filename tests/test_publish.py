"""recipes/gemma3-270m/publish.py: results of the curves become a page with its tables and figures."""

import json
import runpy
from pathlib import Path

import polars as pl
import pytest

from corrpo.cli.main import main
from corrpo.errors import BadInputError
from corrpo.measurement.track_folder import TABLE
from corrpo.measurement.trajectory import Trajectory
from report.runs import write_evaluations, write_track

ROOT = Path(__file__).parents[1]
RUNS = {
    "sft-then-grpo": ([("sft", (0, 100, 200)), ("rl", (30, 60))], "base"),
    "grpo": ([("rl", (0, 30, 60))], "sft"),
    "corrpo": ([("rl", (0, 30, 60))], "sft"),
    "pure-grpo": ([("rl", (0, 30, 60))], "base"),
}
STEPS = {"sft": (100, 200), "grpo": (30, 60), "corrpo": (30, 60), "pure-grpo": (30, 60)}


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "recipes" / "gemma3-270m" / "publish.py"))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A folder as curves.sh leaves it."""
    out = tmp_path_factory.mktemp("curves")
    for run, (stages, start) in RUNS.items():
        for which in ("fixed", "own"):
            folder = write_track(out / which / "gemma3-270m" / run, stages, start=start, weights=run)
            Trajectory.load(folder).table().write_parquet(folder / TABLE)
        write_evaluations(out / "evaluated" / "gemma3-270m" / run, stages, start=start, track=run)
    for training, steps in STEPS.items():
        lines = [{"step": step, "seconds": 10.0 * step, "generated_tokens": 100 * step} for step in steps]
        path = out / "train" / training / "cost.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    for which, report in (("fixed", "report-fixed"), ("own", "report")):
        words = ["report", out / which, out / "evaluated", "--output", out / report, "--published"]
        main([*map(str, words), "--axis", "stretched"])
    return out


def test_every_checkpoint_has_a_row_and_every_number_a_file(script, out, tmp_path):
    page = script["publish"](out, tmp_path / "real").read_text()
    table = pl.read_parquet(tmp_path / "real" / "curves" / "table.parquet")
    assert table["run"].value_counts(sort=True).rows() == [
        ("sft-then-grpo", 5),
        *((run, 3) for run in list(RUNS)[1:]),
    ]
    last = table.filter(run="corrpo", step=60).row(0, named=True)
    assert (last["seconds"], last["tokens"], last["generations"], last["cut"]) == (600, 6000, 60, 0)
    assert last["rho_own_low"] < last["rho_own"] < last["rho_own_high"]
    assert "corrpo less grpo" in page
    assert "Rho is Spearman's, by `exact`" in page
    for name in (
        "fixed-figure3.svg",
        "own-figure5.parquet",
        "evaluated-grpo.parquet",
        "own-pure-grpo.parquet",
    ):
        assert (tmp_path / "real" / "curves" / name).exists()
    texts = [cell for file in tmp_path.rglob("*.parquet") for cell in pl.read_parquet(file).to_dicts()]
    assert str(out) not in str(texts)


def test_an_experiment_is_replaced_by_another_alone(script, out, tmp_path):
    kept = tmp_path / "real" / "experiment" / "verdict.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    script["publish"](out, tmp_path / "real")
    assert kept.exists()


def test_a_report_that_is_older_than_its_results_is_refused(script, out, tmp_path):
    stages, start = RUNS["corrpo"]
    write_evaluations(out / "evaluated" / "gemma3-270m" / "corrpo", stages, start=start, track="corrpo")
    with pytest.raises(BadInputError, match="is older than"):
        script["publish"](out, tmp_path)
