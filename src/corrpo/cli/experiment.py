"""`corrpo experiment RECIPE --output DIR`."""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from corrpo.cli.printing import Output, Printed
from corrpo.cli.train import NEEDED
from corrpo.errors import require_packages
from corrpo.models.load_options import WorkerOptions


@dataclass(frozen=True, kw_only=True)
class Experiment(WorkerOptions, Printed):
    """Train every arm of a recipe with every seed, and say whether the inversion is what helps.

    corrpo experiment recipes/lab/experiment_small.yaml --output out/experiment

    Writes OUTPUT/preregistration.json before the first run, a folder for each run in OUTPUT/runs, and when
    all are finished OUTPUT/results.parquet, OUTPUT/runs.parquet, OUTPUT/costs.parquet, OUTPUT/verdict.json,
    OUTPUT/report.html and OUTPUT/report.md.
    Ctrl-C keeps what is done, and the same command goes on from there.
    """

    recipe: Annotated[Positional[Path], arg(metavar="RECIPE")]
    """YAML of models, seeds, arms, training, evaluation, fingerprint and analysis."""
    output: Output
    """Folder of the results, new or of the same recipe."""
    processes: int | None = None
    """Runs at once; by GPUs or cores and free memory if not given."""
    launcher: str | None = None
    """Command that trains each run on several devices, one run at a time, as "torchrun --nproc-per-node 8" or
    "accelerate launch --config_file recipes/accelerate/fsdp2.yaml". On a cluster a run has as many GPUs of a
    node as the command states processes, or all of the largest node."""
    device: str = "auto"
    """Every GPU if there is one (auto), or cpu, cuda:1, ..."""


def run(options: Experiment) -> dict[str, Any]:
    """Run, write, and print the verdict; what verdict.json holds.

    Raises:
        CorrpoError: see `corrpo.experiments.run_experiment.run_experiment`.
    """
    require_packages("an experiment", *NEEDED, extra="train")
    from corrpo.training.silence_libraries import silence_libraries

    silence_libraries()
    from corrpo.experiments.recipe_reader import read_experiment
    from corrpo.experiments.result_tables import RESULTS, RUNS
    from corrpo.experiments.run_experiment import VERDICT, refuse_several_processes, run_experiment
    from corrpo.experiments.training_cost import COSTS
    from corrpo.report.pages.experiment import write_experiment_report

    refuse_several_processes()
    result = run_experiment(
        read_experiment(options.recipe),
        options.output,
        processes=options.processes,
        cluster=options.cluster,
        device=options.device,
        launcher=shlex.split(options.launcher or ""),
        progress=True,
    )
    written = write_experiment_report(result, options.output)
    print(result.verdict.sentence)
    for path in (*(options.output / name for name in (RESULTS, RUNS, COSTS, VERDICT)), *written):
        print(path)
    return result.as_dict()
