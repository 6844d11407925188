"""`corrpo track WORD... --samples FILE --output DIR`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from corrpo.cli.printing import Output, Printed, UnfinishedError, refuse_json
from corrpo.errors import visible
from corrpo.lab import sample_location
from corrpo.measurement.options import MeasureOptions
from corrpo.models.keywords import narrow
from corrpo.models.load_options import CheckpointOptions, LoadOptions
from corrpo.samples import SampleOptions

if TYPE_CHECKING:
    from rich.table import Table

    from corrpo.measurement.trajectory import Trajectory


@dataclass(frozen=True, kw_only=True)
class Track(MeasureOptions, SampleOptions, CheckpointOptions, Printed):
    """Measure every checkpoint of a training on the same samples: rho over steps.

    corrpo track sft=out/sft grpo=out/grpo --start Qwen/Qwen2.5-7B --samples prompts.jsonl --output out/track

    Writes a fingerprint folder for each checkpoint, OUTPUT/sft/step-000200 and so on, OUTPUT/track.json,
    OUTPUT/trajectory.parquet, and OUTPUT/report.html with the figure. Ctrl-C keeps what is done; the same
    command goes on from there, and measures the checkpoints that a running job has written since.
    """

    words: Annotated[
        Positional[tuple[str, ...]],
        arg(metavar="[STAGE[:STEP]=]SOURCE ...", help_behavior_hint="(one or more)"),
    ]
    """SOURCE is the folder of a run (its checkpoint-N folders and final), the folder of a model, a .gguf
    file, a name on the hub as NAME or NAME@REVISION, or lab:FAMILY/KIND. Stages follow one another in the
    order given. STAGE is the run's own or the source's short name if not given; STEP is for names that do not
    tell it."""
    samples: Path
    """Prompts as in corrpo measure, or lab:reasoning, lab:safety, lab:base."""
    output: Output
    """Folder of the results, new or of the same settings; the same command goes on where it stopped."""
    dry_run: bool = False
    """Tell what would be done, and what time and memory it would take here, from a few tokens; write
    nothing."""


def run(options: Track) -> dict[str, Any] | None:
    """Measure, write, and print the trajectory; or print what that would take.

    Returns:
        What track.json holds, with the rows of trajectory.parquet; None where nothing is measured.

    Raises:
        UnfinishedError: some checkpoints could not be measured, after all others were.
    """
    if not options.dry_run:
        return _track(options)
    refuse_json(options, "--dry-run does")
    return _dry_run(options)


def _dry_run(options: Track) -> None:
    from corrpo.cli.dry_run import announce, planned_checkpoints, print_dry_run
    from corrpo.measurement.dry_run import dry_run
    from corrpo.models.loading import load_checkpoint
    from corrpo.samples import load_samples

    samples = load_samples(sample_location(options.samples), narrow(options, SampleOptions))
    checkpoints, count, lines = planned_checkpoints(options.words, options)
    model, tokenizer = load_checkpoint(checkpoints[0], narrow(options, LoadOptions), options.device)
    announce()
    plan = dry_run(model, tokenizer, samples, narrow(options, MeasureOptions))
    print_dry_run(plan, lines, len(checkpoints), count)


def _track(options: Track) -> dict[str, Any]:
    from corrpo.jobs.console import Console
    from corrpo.jobs.files import read_json
    from corrpo.measurement.track import track
    from corrpo.measurement.track_folder import TABLE
    from corrpo.measurement.trajectory import TRACK
    from corrpo.report import write_report
    from corrpo.report.collection import Collection
    from corrpo.report.explanations import warnings

    tracked = track(
        options.words,
        sample_location(options.samples),
        **vars(narrow(options, CheckpointOptions)),
        **vars(narrow(options, SampleOptions)),
        progress=True,
        **vars(narrow(options, MeasureOptions)),
    )
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    console.print(_table(tracked.trajectory))
    last, settings = tracked.trajectory.points[-1], tracked.trajectory.settings
    for line in warnings(last.spearman, settings, tracked.trajectory.largest_cut, largest=True):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    trajectory = replace(tracked.trajectory, label=options.output.resolve().name)
    written = write_report(Collection(trajectories=(trajectory,)), options.output, formats=("svg", "pdf"))
    for path in (options.output / TRACK, options.output / TABLE, *written):
        print(path)
    results = {
        **read_json(options.output / TRACK),
        "rows": trajectory.table().to_dicts(),
        "output": str(options.output),
    }
    if tracked.failed:
        total = len(tracked.failed) + len(tracked.trajectory.points)
        raise UnfinishedError(
            f"{len(tracked.failed)} of {total} checkpoints could not be measured; the same command tries "
            f"them again: {'; '.join(map(str, tracked.failed))}",
            results,
        )
    return results


def _table(trajectory: "Trajectory") -> "Table":
    """A row per checkpoint."""
    from rich.table import Table
    from rich.text import Text

    from corrpo.report.formatting import bracketed, decimal, percent

    names = ("stage", "step", "rho", "interval", "position held", "by token", "baseline", "length", "cut %")
    table = Table(*names, box=None, pad_edge=False)
    for name, column in zip(names, table.columns, strict=True):
        column.justify = "left" if name == "stage" else "right"
    for point in trajectory.points:
        step = point.checkpoint.step
        cells = (
            point.checkpoint.stage,
            "" if step is None else f"{step:,}",
            decimal(point.spearman.value),
            bracketed(point.spearman.low, point.spearman.high),
            decimal(point.statistics["position_partial"].value),
            decimal(point.statistics["spearman_by_token"].value),
            decimal(point.baseline and point.baseline.value),
            decimal(point.mean_response_tokens, 1),
            percent(point.cut, 0),
        )
        table.add_row(*(Text(visible(cell)) for cell in cells))
    return table
