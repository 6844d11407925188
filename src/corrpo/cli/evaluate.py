"""`corrpo evaluate WORD... --suite NAME... --output DIR`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from corrpo.cli.printing import Output, Printed, UnfinishedError, refuse_json
from corrpo.errors import BadInputError, visible
from corrpo.evaluation.options import EvaluateOptions
from corrpo.evaluation.suites.benchmark import BENCHMARKS
from corrpo.models.keywords import narrow
from corrpo.models.load_options import CheckpointOptions, LoadOptions

if TYPE_CHECKING:
    from rich.table import Table

    from corrpo.evaluation.results import Evaluation
    from corrpo.evaluation.suites.suite import Suite

SUITES = (
    f"One or more of {', '.join(BENCHMARKS)}; rg:TASK for any task of reasoning-gym; lab:TASK for a task of "
    "the lab (lab:sums), lab:training-TASK for problems that training reads, to make data of; the path of a "
    "JSONL file with a problem and an answer a line."
)


@dataclass(frozen=True, kw_only=True)
class Evaluate(EvaluateOptions, CheckpointOptions, Printed):
    """Evaluate models, or the checkpoints of a run, on reasoning benchmarks, with intervals.

    corrpo evaluate base=Qwen/Qwen2.5-7B r1=deepseek-ai/DeepSeek-R1-Distill-Qwen-7B \\
        --suite math500 aime24 --output out/evaluated --backend vllm

    Writes OUTPUT/MODEL/SUITE/generations.parquet (every generation with its verdict) and evaluation.json, and
    OUTPUT/evaluations.parquet. Ctrl-C keeps what is done; the same command goes on from there.
    """

    words: Annotated[
        Positional[tuple[str, ...]], arg(metavar="[NAME=]MODEL ...", help_behavior_hint="(one or more)")
    ]
    """MODEL is a folder, a .gguf file, a name on the hub as NAME or NAME@REVISION, lab:FAMILY/KIND, or the
    folder of a run, whose checkpoints are evaluated; [STAGE[:STEP]=]SOURCE as in corrpo track."""
    suite: Annotated[tuple[str, ...], arg(help=SUITES)]
    output: Output
    """Folder of the results, new or of the same settings; the same command goes on where it stopped."""
    data: tuple[str, ...] = ()
    """SUITE=FILE.jsonl: a local copy of a benchmark, in place of fetching it."""
    dry_run: bool = False
    """Tell what would be done, and what time and memory it would take here, from a few tokens; write
    nothing."""


def run(options: Evaluate) -> dict[str, Any] | None:
    """Load the suites, evaluate, and print the table; or print what that would take.

    Returns:
        What each evaluation.json holds; None where nothing is evaluated.

    Raises:
        UnfinishedError: some checkpoints could not be evaluated, after all others were.
    """
    from corrpo.evaluation.evaluate import evaluate
    from corrpo.evaluation.results import EVALUATIONS
    from corrpo.evaluation.suites.load_suite import load_suite
    from corrpo.jobs.console import Console

    copies = _copies(options.data, options.suite)
    suites = [
        load_suite(name, data=copies.get(name), problems=options.problems, seed=options.seed)
        for name in options.suite
    ]
    if options.dry_run:
        refuse_json(options, "--dry-run does")
        _dry_run(options, suites)
        return None
    evaluated = evaluate(
        options.words,
        suites,
        **vars(narrow(options, EvaluateOptions)),
        **vars(narrow(options, CheckpointOptions)),
        progress=True,
    )
    console = Console()
    if not console.is_terminal:
        console = Console(width=110)
    console.print(_table(evaluated.evaluations))
    for line in _failures(evaluated.evaluations):
        console.print(visible(line), highlight=False, markup=False, soft_wrap=True)
    print(options.output / EVALUATIONS)
    results = {
        "evaluations": [one.as_dict() for one in evaluated.evaluations],
        "output": str(options.output),
    }
    if evaluated.failed:
        raise UnfinishedError(
            f"{len(evaluated.failed)} checkpoints could not be evaluated; the same command tries them again: "
            f"{'; '.join(map(str, evaluated.failed))}",
            results,
        )
    return results


def _dry_run(options: Evaluate, suites: Sequence["Suite"]) -> None:
    from corrpo.cli.dry_run import announce, planned_checkpoints, print_costs
    from corrpo.evaluation.checkpoint_evaluation import Job
    from corrpo.evaluation.dry_run import dry_run

    checkpoints, count, lines = planned_checkpoints(options.words, options)
    loading, evaluation = narrow(options, LoadOptions), narrow(options, EvaluateOptions)
    announce()
    plan = dry_run(Job(checkpoints[0], options.output, tuple(suites), loading, evaluation))
    lines.append(f"generations   {plan.generations:,} a checkpoint, of at most {plan.tokens:,} tokens in all")
    costs = {"generation": plan.generation}
    print_costs(lines, costs, plan.weight_bytes, plan.free_bytes, len(checkpoints), count)


def _copies(words: Sequence[str], suites: Sequence[str]) -> dict[str, Path]:
    copies = {}
    for word in words:
        name, _, path = word.partition("=")
        if not path or name not in suites:
            raise BadInputError(
                f"--data {word}: expected SUITE=FILE.jsonl, SUITE being one of {list(suites)}"
            )
        copies[name] = Path(path)
    return copies


def _table(evaluations: Sequence["Evaluation"]) -> "Table":
    """A row per model or checkpoint, a column per suite and measure, in per cent."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    columns = list(
        dict.fromkeys(
            (evaluation.suite["name"], measure)
            for evaluation in evaluations
            for measure in evaluation.estimates
        )
    )
    table = Table("model", *(f"{suite}\n{measure}" for suite, measure in columns), box=box.SIMPLE_HEAD)
    rows: dict[str, dict[tuple[str, str], str]] = {}
    for evaluation in evaluations:
        step = evaluation.checkpoint["step"]
        name = evaluation.checkpoint["stage"] + ("" if step is None else f" step {step:,}")
        for measure, estimate in evaluation.estimates.items():
            rows.setdefault(name, {})[evaluation.suite["name"], measure] = str(estimate).partition(" (")[0]
    for name, cells in rows.items():
        table.add_row(Text(visible(name)), *(Text(cells.get(column, "")) for column in columns))
    return table


def _failures(evaluations: Sequence["Evaluation"]) -> list[str]:
    """A line for each evaluation in which generations did not end, were not read, or could not be checked."""
    meanings = (
        ("unfinished", "did not end"),
        ("unparsed", "have no answer that can be read"),
        ("unreadable", "stand against an answer that is no mathematics, with another text"),
        ("verifier_timeouts", "timed out in the verifier"),
        ("verifier_errors", "failed in the verifier"),
    )
    lines = []
    for evaluation in evaluations:
        counts = evaluation.counts
        failures = [f"{counts[name]:,} {meaning}" for name, meaning in meanings if counts[name]]
        if failures:
            lines.append(
                f"{evaluation.checkpoint['key']}, {evaluation.suite['name']}: of {counts['generations']:,} "
                f"generations {', '.join(failures)}; all count as wrong"
            )
    return lines
