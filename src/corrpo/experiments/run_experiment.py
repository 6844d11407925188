"""Run all of an experiment: its plan first, then models x arms x seeds on the processes and GPUs there are.

OUTPUT/preregistration.json is the plan; OUTPUT/runs/MODEL/ARM/seed-S a run (see `one_run`), and
OUTPUT/runs/MODEL/before the model that they all started from. When all are finished, results.parquet,
runs.parquet, costs.parquet and verdict.json follow. No verdict is given on a part of the runs: to look and
then go on would undo the rates of error that the rules state. The same call goes on where it stopped.
"""

import os
import shlex
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch

from corrpo.errors import BadInputError, CorrpoError, in_one_line
from corrpo.evaluation.suites.load_suite import load_suite
from corrpo.evaluation.suites.suite import Suite
from corrpo.experiments.experiment_result import ExperimentResult, experiment_result
from corrpo.experiments.launched_training import processes_on_one_node
from corrpo.experiments.one_run import RUN, Run, finish_run, read_run
from corrpo.experiments.preregistration import PREREGISTRATION, register, registered_plan
from corrpo.experiments.recipe import ExperimentRecipe
from corrpo.experiments.recipe_reader import training_arguments
from corrpo.experiments.result_tables import RESULTS, RESULTS_SCHEMA, RUNS, RUNS_SCHEMA, table_of
from corrpo.experiments.run_progress import shown_progress
from corrpo.experiments.training_cost import COSTS, COSTS_SCHEMA
from corrpo.jobs.console import Console
from corrpo.jobs.files import write_json, write_parquet
from corrpo.jobs.folder_lock import locked_folder
from corrpo.jobs.folder_tasks import fill_folders
from corrpo.jobs.outcome import Outcome
from corrpo.jobs.process_count import check_processes, visible_device
from corrpo.jobs.run_folder import is_whole
from corrpo.jobs.workers import open_workers
from corrpo.models.checkpoints import find_checkpoints
from corrpo.models.load_options import LoadOptions
from corrpo.models.model_names import model_location
from corrpo.statistics import Correlation
from corrpo.training.cost_file import read_costs
from corrpo.training.run_stage import check_run

VERDICT = "verdict.json"


@dataclass(frozen=True)
class Plan:
    """The runs of an experiment, in the order in which they are begun, and the SHA-256 of the plan."""

    runs: tuple[Run, ...]
    preregistration: str


def run_experiment(
    recipe: ExperimentRecipe,
    output: Path | str,
    *,
    processes: int | None = None,
    cluster: str | None = None,
    device: str = "auto",
    launcher: Sequence[str] = (),
    progress: bool = False,
) -> ExperimentResult:
    """Do all runs that are not finished, and reach the verdict.

    Args:
        recipe: see `corrpo.experiments.recipe_reader.read_experiment`.
        output: a folder, new or of the same recipe.
        processes: runs at once; by GPUs or cores and free memory if not given.
        cluster: the address of a Ray cluster that does the runs, each on one node and brought back when it is
            finished; see `corrpo.jobs.cluster.connected`.
        device: as in `corrpo.load_model`; a numbered GPU hides the others from this process.
        launcher: words of a command that trains a run in several processes, one run after another, as
            `torchrun --nproc-per-node 8`; part of the plan, as the batch grows with the processes. On a
            cluster a run has a GPU, or else a core, for each process, or all of the largest node if the
            command states no number.
        progress: show runs and steps, and a line for each run, on standard error.

    Returns:
        The results, with the verdict; also written into `output`.

    Raises:
        BadInputError: models, problems or settings that cannot be used, before the first run; several
            processes were started together, as by torchrun; a launcher and several processes, or several
            nodes of a cluster.
        OutputFolderError: `output` holds another experiment, or another process works on it.
        CorrpoError: runs that failed, after all others were done; names each.
    """
    refuse_several_processes()
    check_processes(processes, None)
    if launcher and cluster is None and processes not in (None, 1):
        raise BadInputError(
            f"processes={processes} with a launcher: it has all devices for one run at a time; leave one out"
        )
    devices = 1 if not launcher else None if cluster is None else processes_on_one_node(launcher)
    output = Path(output)
    suite = _suite(recipe)
    with locked_folder(output):
        plan = _planned(recipe, suite, output, tuple(launcher), _only_device(device))
        _finish_runs(plan.runs, processes, cluster, devices, progress=progress)
        results, runs = _tables(plan)
        costs = _costs(plan)
        result = experiment_result(results, runs, recipe, plan.preregistration, costs)
        write_parquet(output / RESULTS, results)
        write_parquet(output / RUNS, runs)
        write_parquet(output / COSTS, costs)
        write_json(output / VERDICT, result.as_dict())
    return result


def refuse_several_processes() -> None:
    """Raise `BadInputError` if this is one of several processes that were started together."""
    if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):
        raise BadInputError(
            "an experiment starts its own processes: run it without torchrun, with --processes for how many "
            "runs at once, --launcher for several processes a run, or --cluster for several machines"
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


def _only_device(device: str) -> str:
    """The device of all runs; training would spread one over all GPUs that this process sees."""
    visible = visible_device(device, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if visible is None:
        return device
    if not torch.cuda.is_initialized():
        os.environ["CUDA_VISIBLE_DEVICES"] = visible
    return "cuda"


def _planned(
    recipe: ExperimentRecipe, suite: Suite, output: Path, launcher: tuple[str, ...], device: str
) -> Plan:
    """Write or compare the plan. Seeds come before arms, so that part of the runs is a replication."""
    for model in recipe.models.values():
        find_checkpoints([model_location(model)])
    if not (output / PREREGISTRATION).exists():
        _check_runs(recipe)
    digest = register(
        output, registered_plan(recipe, suite) | ({"launcher": shlex.join(launcher)} if launcher else {})
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
        Run(
            model,
            recipe.models[model],
            arm,
            seed,
            output / "runs" / place,
            recipe,
            suite,
            digest,
            launcher,
            device,
        )
        for model, arm, seed, place in keys
    ]
    return Plan(tuple(runs), digest)


def _check_runs(recipe: ExperimentRecipe) -> None:
    """Refuse tokenizers and data that a run could not be trained with, before the plan is fixed."""
    first, *others = recipe.models.values()
    for model, arm in [
        *((first, arm) for arm in recipe.arms),
        *((model, recipe.arms[0]) for model in others),
    ]:
        place = f"arm {arm.name} on {model}"
        arguments, config = training_arguments(arm, model, recipe.seeds[0], Path("unused"), place)
        try:
            check_run(arm.stage, arguments, config)
        except CorrpoError as error:
            raise BadInputError(f"{place}: {error}") from error


def _finish_runs(
    runs: Sequence[Run], processes: int | None, cluster: str | None, devices: int | None, *, progress: bool
) -> None:
    left = [
        run for run in runs if not run.is_finished or not is_whole(partial(read_run, run), run.folder / RUN)
    ]
    for run in runs:
        if run.is_finished:  # it may have been killed after its end, before it had removed them
            run.remove_checkpoints()
    if not left:
        return
    initial_models = [find_checkpoints([model_location(run.source)])[0][0] for run in left]
    console = Console(stderr=True, quiet=not progress, soft_wrap=True, highlight=False, markup=False)
    failures: list[Outcome[Run]] = []
    loading = LoadOptions(device=left[0].device)
    steps_of = {run.folder / "training": run.arm.settings.get("max_steps") for run in runs if run.arm}
    finished = len(runs) - len(left)
    with (
        open_workers(initial_models, processes, cluster, loading, devices=devices) as workers,
        shown_progress(len(runs), finished, steps_of, shown=progress, console=console) as advance,
        closing(fill_folders(workers, finish_run, left, lost=Outcome)) as outcomes,
    ):
        for _, outcome in outcomes:
            advance()
            console.print(in_one_line(f"{outcome.item}: {outcome.reason or 'finished'}"))
            if outcome.reason is not None:
                failures.append(outcome)
    if failures:
        reasons = "; ".join(f"{failure.item}: {failure.reason}" for failure in failures)
        raise CorrpoError(
            f"{len(failures)} of {len(runs)} runs failed, and there is no verdict without them; the same "
            f"command tries them again: {reasons}"
        )


def _tables(plan: Plan) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tables of `result_tables`: of runs and problems, and of runs."""
    problem_rows: list[dict[str, Any]] = []
    run_rows: list[dict[str, Any]] = []
    rho_before: dict[str, Correlation] = {}
    for run in plan.runs:
        counted, fingerprint, facts = read_run(run)
        of_run = _columns_of_run(run)
        problem_rows += [of_run | row for row in counted.iter_rows(named=True)]
        rho = fingerprint.spearman
        rho_before.setdefault(run.model, rho)  # the runs of models before training come first
        before = rho_before[run.model]
        run_rows.append(
            of_run
            | {"rho_before": before.value, "rho_before_low": before.low, "rho_before_high": before.high}
            | {"rho": rho.value, "rho_low": rho.low, "rho_high": rho.high}
            | facts
        )
    return table_of(problem_rows, RESULTS_SCHEMA), table_of(run_rows, RUNS_SCHEMA)


def _columns_of_run(run: Run) -> dict[str, Any]:
    """What every table tells of a run."""
    return {
        "model": run.model,
        "arm": run.arm_name,
        "seed": run.seed,
        "preregistration": run.preregistration,
    }


def _costs(plan: Plan) -> pl.DataFrame:
    """The table of `training_cost`, of all runs."""
    rows = [
        _columns_of_run(run) | {name: value for name, value in row.items() if name in COSTS_SCHEMA}
        for run in plan.runs
        for row in read_costs(run.folder / "training")
    ]
    return table_of(rows, COSTS_SCHEMA)
