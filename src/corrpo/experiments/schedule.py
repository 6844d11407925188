"""Run an experiment: the plan first, then models x arms x seeds on the processes and GPUs there are.

OUTPUT/preregistration.json is the plan; OUTPUT/runs/MODEL/ARM/seed-S a run (see `run`), and
OUTPUT/runs/MODEL/before the model that they all started from. When all are finished, results.parquet,
runs.parquet and verdict.json follow. No verdict is given on a part of the runs: to look and then go on would
undo the rates of error that the rules state. The same call goes on where it stopped.
"""

import os
import shlex
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console

from corrpo.errors import BadInputError, CorrpoError
from corrpo.evaluation.suites import Suite, load_suite
from corrpo.experiments.preregistration import plan_of, register
from corrpo.experiments.recipe import ExperimentRecipe
from corrpo.experiments.results import RESULTS, RESULTS_SCHEMA, RUNS, RUNS_SCHEMA, table_of
from corrpo.experiments.run import Done, Run, do_run, read_run
from corrpo.experiments.summary import Experiment, summarise
from corrpo.jobs.files import write_json, write_parquet
from corrpo.jobs.folder_lock import locked_folder
from corrpo.jobs.process_count import processes_for
from corrpo.jobs.process_pool import parallel
from corrpo.jobs.progress_bar import progress_bar
from corrpo.lab import model_location
from corrpo.models.checkpoints import find_checkpoints

VERDICT = "verdict.json"


@dataclass(frozen=True)
class Plan:
    """The runs of an experiment, in the order in which they are begun, and the SHA-256 of the plan."""

    runs: tuple[Run, ...]
    preregistration: str


def experiment(
    recipe: ExperimentRecipe,
    output: Path | str,
    *,
    processes: int | None = None,
    device: str = "auto",
    launcher: Sequence[str] = (),
    progress: bool = False,
) -> Experiment:
    """Do all runs that are not finished, and reach the verdict.

    Args:
        recipe: see `read_experiment`.
        output: a folder, new or of the same recipe.
        processes: runs at once; by GPUs or cores and free memory if not given.
        device: as in `corrpo.load_model`.
        launcher: words of a command that trains a run in several processes, one run after another, as
            `torchrun --nproc-per-node 8`; part of the plan, as the batch grows with the processes.
        progress: show a bar, and a line for each run, on standard error.

    Returns:
        The results, with the verdict; also written into `output`.

    Raises:
        BadInputError: models, problems or settings that cannot be used, before the first run; several
            processes were started together, as by torchrun; or a launcher and several processes.
        OutputFolderError: `output` holds another experiment, or another process works on it.
        CorrpoError: runs that failed, after all others were done; names each.
    """
    refuse_ranks()
    if launcher and processes not in (None, 1):
        raise BadInputError(
            f"processes={processes} with a launcher: it has all devices for one run at a time; leave one out"
        )
    output = Path(output)
    suite = _suite(recipe)
    with locked_folder(output):
        plan = _planned(recipe, suite, output, tuple(launcher))
        _do(plan.runs, 1 if launcher else processes, device, progress=progress)
        results, runs = _tables(plan)
        found = summarise(results, runs, recipe, plan.preregistration)
        write_parquet(output / RESULTS, results)
        write_parquet(output / RUNS, runs)
        write_json(output / VERDICT, found.as_dict())
    return found


def refuse_ranks() -> None:
    """Raise `BadInputError` if this is one of several processes that were started together."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise BadInputError(
            "an experiment starts its own processes: run it without torchrun, with --processes for how many "
            "runs at once, or --launcher for several processes a run"
        )


def _suite(recipe: ExperimentRecipe) -> Suite:
    options = recipe.evaluation
    suite = load_suite(recipe.suite, problems=options.problems, seed=options.seed)
    if len(suite.problems) < recipe.prompts:
        raise BadInputError(
            f"fingerprint.prompts={recipe.prompts}, and {suite.name} has {len(suite.problems)} problems: "
            "give fewer prompts or more problems"
        )
    return suite


def _planned(recipe: ExperimentRecipe, suite: Suite, output: Path, launcher: tuple[str, ...]) -> Plan:
    """Write or compare the plan. Seeds come before arms, so that part of the runs is a replication."""
    for model in recipe.models.values():
        find_checkpoints([model_location(model)])
    digest = register(
        output, plan_of(recipe, suite) | ({"launcher": shlex.join(launcher)} if launcher else {})
    )
    keys: list[tuple[str, Any, int | None, Path]] = [
        (model, None, None, Path(model, "before")) for model in recipe.models
    ]
    keys += [
        (model, arm, seed, Path(model, arm.name, f"seed-{seed}"))
        for seed in recipe.seeds
        for model in recipe.models
        for arm in recipe.arms
    ]
    runs = [
        Run(model, recipe.models[model], arm, seed, output / "runs" / place, recipe, suite, digest, launcher)
        for model, arm, seed, place in keys
    ]
    return Plan(tuple(runs), digest)


def _do(runs: Sequence[Run], processes: int | None, device: str, *, progress: bool) -> None:
    left = [run for run in runs if not run.finished]
    if not left:
        return
    started_from = [find_checkpoints([model_location(run.source)])[0][0] for run in left]
    count = processes_for(started_from, processes, device=device)
    console = Console(stderr=True, quiet=not progress, soft_wrap=True, highlight=False, markup=False)
    failed: list[Done] = []
    with (
        progress_bar(shown=progress and console.is_terminal, console=console) as bar,
        closing(parallel(do_run, left, processes=count, device=device)) as outcomes,
    ):
        task = bar.add_task("runs", total=len(runs), completed=len(runs) - len(left))
        for done in outcomes:
            bar.advance(task)
            console.print(f"{done.run}: {done.reason or 'finished'}")
            if done.reason is not None:
                failed.append(done)
    if failed:
        told = "; ".join(f"{each.run}: {each.reason}" for each in failed)
        raise CorrpoError(
            f"{len(failed)} of {len(runs)} runs failed, and there is no verdict without them; the same "
            f"command tries them again: {told}"
        )


def _tables(plan: Plan) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The two tables of `results`."""
    rows: list[dict[str, Any]] = []
    summaries: list[dict[str, Any]] = []
    before: dict[str, Any] = {}
    for run in plan.runs:
        counted, fingerprint = read_run(run)
        of_run = {"model": run.model, "arm": run.arm_name, "seed": run.seed}
        of_run["preregistration"] = plan.preregistration
        rows += [of_run | row for row in counted.drop("mean_tokens").iter_rows(named=True)]
        rho = fingerprint.spearman
        before.setdefault(run.model, rho)  # the runs of models before training come first
        first = before[run.model]
        summaries.append(
            of_run
            | {"rho_before": first.value, "rho_before_low": first.low, "rho_before_high": first.high}
            | {"rho": rho.value, "rho_low": rho.low, "rho_high": rho.high}
            | {"mean_tokens": counted["mean_tokens"][0]}
        )
    return table_of(rows, RESULTS_SCHEMA), table_of(summaries, RUNS_SCHEMA)
