"""Copy what `curves.sh` found into the documentation: figures 3 and 4, their Parquet, and a table.

    python recipes/gemma3-270m/publish.py OUT docs/real

OUT is the folder of `bash recipes/gemma3-270m/curves.sh OUT`, whose reports must be there. The folder gets
curves.md, and below curves/ the SVG and Parquet of both figures for each set of samples, trajectory.parquet
and evaluations.parquet of each run, and table.parquet with the rows of curves.md. No text of a sample and no
weights are copied. Files of an earlier call are replaced.
"""

import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import polars as pl

from corrpo.errors import BadInputError, CorrpoError
from corrpo.evaluation.results import EVALUATIONS, Evaluation, load_evaluations
from corrpo.jobs.files import write_parquet, write_text
from corrpo.measurement.track_folder import TABLE
from corrpo.measurement.trajectory import Point, Trajectory
from corrpo.training.cost_file import read_costs

REPORTS = {"fixed": "report-fixed", "own": "report"}
"""The folder of the report on each set of samples."""
RUNS = ("sft-then-grpo", "grpo", "corrpo", "pure-grpo")
SCHEMA: dict[str, Any] = {
    "run": pl.String,
    "stage": pl.String,
    "step": pl.Int64,
    **{f"rho_{which}{end}": pl.Float64 for which in REPORTS for end in ("", "_low", "_high")},
    **{f"accuracy{end}": pl.Float64 for end in ("", "_low", "_high")},
    "correct": pl.Int64,
    "cut": pl.Int64,
    "unparsed": pl.Int64,
    "generations": pl.Int64,
    "seconds": pl.Float64,
    "tokens": pl.Int64,
}
"""Of table.parquet: rho by either set, accuracy, how the responses ended, and the training up to there."""
HEADER = ["run", "stage", "step", "rho, fixed", "rho, own", "accuracy, %", "cut", "no answer", "of"]
HEADER += ["seconds", "tokens"]


def rows_of(out: Path, run: str) -> list[dict[str, Any]]:
    """A row for each checkpoint of a run that has an accuracy; the columns of `SCHEMA`."""
    points = {which: _points(out / which / "gemma3-270m" / run) for which in REPORTS}
    evaluations = load_evaluations(out / "evaluated" / "gemma3-270m" / run)
    return [_row(out, run, evaluation, points) for evaluation in evaluations]


def _points(folder: Path) -> dict[str, Point]:
    return {point.checkpoint.key: point for point in Trajectory.load(folder).points}


def _row(out: Path, run: str, evaluation: Evaluation, points: dict[str, dict[str, Point]]) -> dict[str, Any]:
    stage, step, key = (evaluation.checkpoint[name] for name in ("stage", "step", "key"))
    row: dict[str, Any] = {"run": run, "stage": stage, "step": step}
    for which in REPORTS:
        rho = points[which][key].spearman if key in points[which] else None
        row |= _with_interval(f"rho_{which}", rho)
    counts = evaluation.counts
    training = "sft" if stage == "sft" else "grpo" if run == "sft-then-grpo" else run
    return (
        row
        | _with_interval("accuracy", evaluation.estimates["pass@1"])
        | {name: counts[name] for name in ("correct", "unparsed", "generations")}
        | {"cut": counts["unfinished"]}
        | _cost(out / "train" / training, step)
    )


def _with_interval(name: str, result: Any) -> dict[str, float | None]:
    ends = {"": "value", "_low": "low", "_high": "high"}
    return {f"{name}{end}": getattr(result, field, None) for end, field in ends.items()}


def _cost(training: Path, step: int) -> dict[str, Any]:
    """Seconds of a stage of training and tokens that it generated, from its start to a step."""
    if step == 0:
        return {"seconds": 0.0, "tokens": 0}
    line = next((line for line in read_costs(training) if line["step"] == step), None)
    return {
        "seconds": None if line is None else line["seconds"],
        "tokens": None if line is None else line["generated_tokens"],
    }


def page(table: pl.DataFrame) -> str:
    """curves.md: a row for each checkpoint, and the figures."""
    lines = [
        "# Curves of Gemma 3 270M",
        "",
        "Rho with its interval on held-out traces that are the same for all checkpoints (fixed) and on what",
        "each writes itself (own); accuracy on held-out problems; responses that were cut at the limit, and",
        "those without an answer; seconds of training in its stage up to there, and tokens it generated.",
        "One seed each. `recipes/gemma3-270m/curves.sh` makes the results, `publish.py` beside it this page.",
        "",
        f"| {' | '.join(HEADER)} |",
        f"|{'---|' * len(HEADER)}",
        *(_line(row) for row in table.iter_rows(named=True)),
        "",
    ]
    for which in REPORTS:
        for figure in ("figure3", "figure4"):
            lines += [f"![{figure}, {which} samples](curves/{which}-{figure}.svg)", ""]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    cells = [
        row["run"],
        row["stage"],
        row["step"],
        *(_interval(row, f"rho_{which}", 1, "+.2f") for which in REPORTS),
        _interval(row, "accuracy", 100, ".1f"),
        *(row[name] for name in ("cut", "unparsed", "generations")),
        *("" if row[name] is None else f"{row[name]:,.0f}" for name in ("seconds", "tokens")),
    ]
    return f"| {' | '.join(map(str, cells))} |"


def _interval(row: dict[str, Any], name: str, scale: float, how: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return "undefined"
    shown = f"{scale * value:{how}}"
    return shown if low is None else f"{shown} [{scale * low:{how}}, {scale * high:{how}}]"


def publish(out: Path, folder: Path) -> Path:
    """Write curves.md and the files below curves/; the path of the page."""
    figures = [
        (out / report / "figures" / f"{figure}.{ending}", f"{which}-{figure}.{ending}")
        for which, report in REPORTS.items()
        for figure in ("figure3", "figure4")
        for ending in ("svg", "parquet")
    ]
    tables = [
        (out / results / "gemma3-270m" / run / name, f"{results}-{run}.parquet")
        for results, name in (("fixed", TABLE), ("own", TABLE), ("evaluated", EVALUATIONS))
        for run in RUNS
    ]
    missing = [str(path) for path, _ in [*figures, *tables] if not path.exists()]
    if missing:
        raise BadInputError(
            f"{out} lacks {', '.join(missing)}; let"
            f" `bash recipes/gemma3-270m/curves.sh {out}` come to its end"
        )
    table = pl.DataFrame([row for run in RUNS for row in rows_of(out, run)], schema=SCHEMA)
    curves = folder / "curves"
    shutil.rmtree(curves, ignore_errors=True)
    curves.mkdir(parents=True)
    for source, name in [*figures, *tables]:
        shutil.copyfile(source, curves / name)
    write_parquet(curves / "table.parquet", table)
    write_text(folder / "curves.md", page(table))
    return folder / "curves.md"


if __name__ == "__main__":
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of curves.sh")
    parser.add_argument("folder", type=Path, help="of the page, such as docs/real")
    given = parser.parse_args()
    try:
        print(publish(given.out, given.folder))
    except CorrpoError as error:
        raise SystemExit(f"publish.py: {error}") from None
