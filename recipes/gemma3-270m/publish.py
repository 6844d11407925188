"""Copy what `curves.sh` and the experiment found into the documentation: figures, their Parquet, and tables.

    python recipes/gemma3-270m/publish.py OUT docs/real

OUT is the folder of `bash recipes/gemma3-270m/curves.sh OUT`, whose reports must be there. The folder gets
curves.md, and below curves/ the SVG and Parquet of all figures for each set of samples, the trajectories
(fixed-RUN.parquet, own-RUN.parquet) and evaluations (evaluated-RUN.parquet) of each run, and table.parquet
with the rows of the first table of curves.md. Where OUT/experiment is finished, its plan, tables, figures,
verdict and report go below experiment/. No text of a sample and no weights are copied, and paths in Parquet
files are those below OUT. Files of an earlier call are replaced; an experiment by another alone.
"""

import re
import shutil
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from corrpo.errors import BadInputError, CorrpoError
from corrpo.evaluation.results import EVALUATIONS, Evaluation, load_evaluations
from corrpo.experiments.preregistration import PREREGISTRATION
from corrpo.experiments.result_tables import RESULTS, RUNS
from corrpo.experiments.run_experiment import VERDICT
from corrpo.experiments.training_cost import COSTS
from corrpo.jobs.files import read_parquet, write_parquet, write_text
from corrpo.measurement.comparison import fingerprint_difference
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.stage_changes import stage_changes
from corrpo.measurement.track_folder import TABLE
from corrpo.measurement.trajectory import Point, Trajectory
from corrpo.report.formatting import bracketed, count, decimal, markdown_table, percent, with_interval
from corrpo.report.pages.experiment import MARKDOWN
from corrpo.training.cost_file import read_costs

REPORTS = {"fixed": "report-fixed", "own": "report"}
"""The folder of the report on each set of samples."""
TRAJECTORIES = ("sft-then-grpo", "grpo", "corrpo", "pure-grpo")
FIGURES = {
    "figure3": "Rho over training, published curves dashed.",
    "figure5": "GRPO and CorR-PO from the end of SFT.",
    "figure5-2": "SFT with GRPO after it, and GRPO alone, from the base model.",
    "figure4": "Accuracy against rho.",
}
EXPERIMENT = (PREREGISTRATION, RESULTS, RUNS, COSTS, VERDICT, MARKDOWN)
SCHEMA: dict[str, Any] = {
    "run": pl.String,
    "stage": pl.String,
    "step": pl.Int64,
    **{f"rho_{which}{end}": pl.Float64 for which in REPORTS for end in ("", "_low", "_high")},
    **{f"accuracy{end}": pl.Float64 for end in ("", "_low", "_high")},
    "correct": pl.Int64,
    "cut": pl.Int64,
    "abstained": pl.Int64,
    "generations": pl.Int64,
    "seconds": pl.Float64,
    "tokens": pl.Int64,
}
"""Of table.parquet: rho by either set, accuracy, how the responses ended (`abstained`: without an answer,
though not cut), and the training up to there."""
HEAD = ("run", "stage", "step", "rho, fixed", "rho, own", "accuracy, %", "cut", "abstained", "of")
HEAD += ("seconds", "tokens")


def rows_of(out: Path, run: str) -> list[dict[str, Any]]:
    """A row for each checkpoint of a run that has an accuracy; the columns of `SCHEMA`."""
    points = {which: _points(out, which, run) for which in REPORTS}
    evaluations = load_evaluations(out / "evaluated" / "gemma3-270m" / run)
    return [_row(out, run, evaluation, points) for evaluation in evaluations]


def _trajectory(out: Path, which: str, run: str) -> Trajectory:
    return Trajectory.load(out / which / "gemma3-270m" / run)


def _points(out: Path, which: str, run: str) -> dict[str, Point]:
    return {point.checkpoint.key: point for point in _trajectory(out, which, run).points}


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
        | {name: counts[name] for name in ("correct", "generations")}
        | {"cut": counts["unfinished"], "abstained": _abstained(evaluation)}
        | _cost(out / "train" / training, step)
    )


def _abstained(evaluation: Evaluation) -> int:
    return evaluation.generations.filter("finished", pl.col("answer").is_null()).height


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


def page(out: Path, table: pl.DataFrame) -> str:
    """curves.md: a row for each checkpoint, the changes of rho, and the figures."""
    changes = [row for which in REPORTS for row in _changes(out, which)]
    parts = [
        "# Curves of Gemma 3 270M",
        "Rho with its interval on held-out traces that are the same for all checkpoints (fixed) and on what "
        "each writes itself (own); accuracy on held-out problems; responses that were cut at the limit, and "
        "those that abstained: ended, but without an answer; seconds of training in its stage up to there, "
        "with what else the machine did then, and tokens it generated. One seed each. [What they "
        "say](index.md#through-training). `recipes/gemma3-270m/curves.sh` makes the results, `publish.py` "
        "beside it this page.",
        _settings(out),
        markdown_table(HEAD, [_cells(row) for row in table.iter_rows(named=True)], text_columns=2),
        "## Changes of rho",
        "Paired over the samples that both were measured on; intervals are about the samples, not about "
        "another seed of training.",
        markdown_table(("samples", "run", "from", "to", "rho", "then", "change"), changes, text_columns=4),
    ]
    for which in REPORTS:
        parts.append(f"## Figures, {which} samples")
        for name, caption in FIGURES.items():
            parts += [f"![{caption}](curves/{which}-{name}.svg)", caption]
    return "\n\n".join(parts) + "\n"


def _settings(out: Path) -> str:
    """What was measured, from the settings of the last run."""
    run = TRAJECTORIES[-1]
    rho = _trajectory(out, "own", run)
    measured, responses = rho.settings, rho.points[-1].spearman.n_samples
    asked = load_evaluations(out / "evaluated" / "gemma3-270m" / run)[-1].settings
    return (
        f"Rho is Spearman's, by `{measured['estimator']}` and the {measured['norm']} norm over "
        f"{', '.join(measured['projections']).upper()} of all layers, at {measured['max_tokens']} tokens of "
        f"each of {responses} responses; own ones are of {measured['max_new_tokens']} tokens at most, at "
        f"temperature {measured['temperature']:g}. Accuracy is of {asked['n']} response to each of "
        f"{asked['problems']} problems, at temperature {asked['temperature']:g} and "
        f"{asked['max_new_tokens']} tokens at most. Intervals are of {measured['confidence']:.0%}."
    )


def _changes(out: Path, which: str) -> Iterator[tuple[str, ...]]:
    """A row for each stage of each run, and one for CorR-PO less GRPO at their ends."""
    runs = {run: _trajectory(out, which, run) for run in TRAJECTORIES}
    for run, trajectory in runs.items():
        for change in stage_changes(trajectory):
            ends = (change.first, change.last)
            yield which, run, *map(_place, ends), *_rhos(ends), with_interval(change.difference)
    ends = (runs["grpo"].points[-1], runs["corrpo"].points[-1])
    difference = fingerprint_difference(
        *(Fingerprint.load(point.folder) for point in ends),
        names=("grpo", "corrpo"),
        method="spearman",
        by="position",
        resamples=1000,
        seed=0,
        confidence=float(runs["grpo"].settings["confidence"]),
    )
    names = (f"{name}, {_place(end)}" for name, end in zip(("grpo", "corrpo"), ends, strict=True))
    yield which, "corrpo less grpo", *names, *_rhos(ends), with_interval(difference)


def _place(point: Point) -> str:
    return f"{point.checkpoint.stage} {point.checkpoint.step}"


def _rhos(points: tuple[Point, Point]) -> Iterator[str]:
    return (with_interval(point.spearman) for point in points)


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["run"],
        row["stage"],
        count(row["step"]),
        *(_interval(row, f"rho_{which}", decimal) for which in REPORTS),
        _interval(row, "accuracy", percent),
        *(count(row[name]) for name in ("cut", "abstained", "generations")),
        *("" if row[name] is None else f"{row[name]:,.0f}" for name in ("seconds", "tokens")),
    ]


def _interval(row: dict[str, Any], name: str, show: Any) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return f"{show(value)} {bracketed(low, high, show)}".rstrip()


def publish(out: Path, folder: Path) -> Path:
    """Write curves.md, the files below curves/ and those of a finished experiment; the path of the page."""
    figures = [
        (out / report / "figures" / f"{figure}.{ending}", f"{which}-{figure}.{ending}")
        for which, report in REPORTS.items()
        for figure in FIGURES
        for ending in ("svg", "parquet")
    ]
    tables = [
        (out / results / "gemma3-270m" / run / name, f"{results}-{run}.parquet")
        for results, name in (("fixed", TABLE), ("own", TABLE), ("evaluated", EVALUATIONS))
        for run in TRAJECTORIES
    ]
    curves_command = f"bash recipes/gemma3-270m/curves.sh {out}"
    _check_complete(out, [path for path, _ in [*figures, *tables]], curves_command)
    _check_newer([path for path, _ in figures], [path for path, _ in tables], curves_command)
    experiment = out / "experiment"
    if (experiment / VERDICT).exists():
        wanted = [experiment / name for name in EXPERIMENT]
        _check_complete(out, wanted, "corrpo experiment recipes/gemma3-270m/experiment.yaml")
    table = pl.DataFrame([row for run in TRAJECTORIES for row in rows_of(out, run)], schema=SCHEMA)
    text = page(out, table)
    curves = folder / "curves"
    shutil.rmtree(curves, ignore_errors=True)
    curves.mkdir(parents=True)
    for source, name in [*figures, *tables]:
        _copy(source, curves / name, out)
    write_parquet(curves / "table.parquet", table)
    write_text(folder / "curves.md", text)
    if (experiment / VERDICT).exists():
        _publish_experiment(out, folder / "experiment")
    return folder / "curves.md"


def _check_complete(out: Path, wanted: Sequence[Path], command: str) -> None:
    missing = [str(path) for path in wanted if not path.exists()]
    if missing:
        raise BadInputError(f"{out} lacks {', '.join(missing)}; let `{command}` come to its end")


def _check_newer(figures: Sequence[Path], tables: Sequence[Path], command: str) -> None:
    oldest, newest = min(figures, key=_changed), max(tables, key=_changed)
    if _changed(oldest) < _changed(newest):
        raise BadInputError(f"{oldest} is older than {newest}; let `{command}` come to its end")


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _publish_experiment(out: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "figures").mkdir(parents=True)
    experiment = out / "experiment"
    for path in [*(experiment / name for name in EXPERIMENT), *experiment.glob("figures/*")]:
        if path.suffix != ".pdf":
            _copy(path, folder / path.relative_to(experiment), out)


def _copy(source: Path, target: Path, out: Path) -> None:
    """A file as it is; of paths in a table, what stands below `out`, or else the last name."""
    if source.suffix != ".parquet":
        shutil.copyfile(source, target)
        return
    root = "|".join(re.escape(str(path)) for path in dict.fromkeys((out, out.resolve())))
    shown = pl.col(pl.String).str.replace(f"^(?:\\./)?(?:{root})/", "").str.replace(r"^/(?:\S*/)?", "")
    write_parquet(target, read_parquet(source).with_columns(shown))


if __name__ == "__main__":
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder of curves.sh")
    parser.add_argument("folder", type=Path, help="of the page, such as docs/real")
    given = parser.parse_args()
    try:
        print(publish(given.out, given.folder))
    except CorrpoError as error:
        raise SystemExit(f"publish.py: {error}") from None
