"""One run of an experiment: train a model, evaluate it, measure its rho; each goes on where it stopped.

Training is done in this process, or in as many as a launcher starts (`torchrun`, `accelerate launch`).

The folder of a run holds `training` (as `corrpo train` leaves it), `evaluation`, `fingerprint`, and run.json,
written last: a run that has it is finished and is not loaded again. Checkpoints go when it is there; the
final model stays. The run of an untrained model, "before", has no training.
"""

import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import polars as pl

from corrpo.errors import CorrpoError, OutputFolderError
from corrpo.evaluation.evaluate import evaluate
from corrpo.evaluation.results import load_evaluations
from corrpo.evaluation.scored_generations import problem_sample
from corrpo.evaluation.suites.suite import Suite
from corrpo.experiments.arms import Arm
from corrpo.experiments.launched_training import train_by_launcher
from corrpo.experiments.recipe import ExperimentRecipe
from corrpo.experiments.recipe_reader import training_arguments
from corrpo.experiments.result_tables import BEFORE
from corrpo.jobs.console import Console
from corrpo.jobs.files import read_versioned, write_json
from corrpo.jobs.folder_lock import TIME_TO_END, locked_folder
from corrpo.jobs.outcome import Outcome, outcome_of
from corrpo.measurement.fingerprint import Fingerprint
from corrpo.measurement.pipeline import measure
from corrpo.models.loading import load_model, quiet_loading
from corrpo.models.training_run import FINAL, HALF_WRITTEN_PREFIX, trainer_checkpoints
from corrpo.training.cost_file import read_costs
from corrpo.training.run_stage import train
from corrpo.training.silence_libraries import silence_libraries
from corrpo.training.training_progress import ProgressLine

RUN, SCHEMA_VERSION = "run.json", 1


@dataclass(frozen=True)
class Run:
    """A run, and all that a process needs for it; arm and seed are None for a model before training."""

    model: str
    source: str
    arm: Arm | None
    seed: int | None
    folder: Path
    recipe: ExperimentRecipe
    suite: Suite
    preregistration: str
    launcher: tuple[str, ...] = ()
    device: str = "auto"

    @property
    def arm_name(self) -> str:
        """That of the arm, or "before"."""
        return BEFORE if self.arm is None else self.arm.name

    @property
    def is_finished(self) -> bool:
        """Whether run.json is there."""
        return (self.folder / RUN).exists()

    def remove_checkpoints(self) -> None:
        """Remove what only going on with the training would need; the final model stays."""
        training = self.folder / "training"
        for path in (*trainer_checkpoints(training), *training.glob(f"{HALF_WRITTEN_PREFIX}*")):
            shutil.rmtree(path)

    def __str__(self) -> str:
        return f"{self.model} {self.arm_name}" + ("" if self.seed is None else f" seed {self.seed}")


def finish_run(run: Run) -> Outcome[Run]:
    """Bring a run to its end in this process; what is finished of it is not done again."""
    with (
        outcome_of(run, out_of_memory="try fewer --processes") as outcome,
        locked_folder(run.folder, TIME_TO_END) as lock,
        quiet_loading(),
    ):
        if not run.is_finished:
            _train_evaluate_measure(run, lock)
        run.remove_checkpoints()
    return outcome


def read_run(run: Run) -> tuple[pl.DataFrame, Fingerprint, dict[str, Any]]:
    """A finished run: how many generations of each problem (problem, generations, correct) are right, its
    fingerprint, and other columns of `RUNS_SCHEMA`; an error where its files were made under another plan.
    """
    record = read_versioned(run.folder / RUN, SCHEMA_VERSION, "remove its folder, to run it again")
    if record["preregistration"] != run.preregistration:
        raise OutputFolderError(
            f"{run.folder} was run under plan {record['preregistration'][:12]}, not "
            f"{run.preregistration[:12]}; remove it to run it again"
        )
    (evaluation,) = load_evaluations(run.folder / "evaluation")
    counted = evaluation.generations.group_by("problem", maintain_order=True).agg(
        generations=pl.len().cast(pl.Int64), correct=pl.col("correct").sum().cast(pl.Int64)
    )
    finished, lengths = (evaluation.generations[name].to_numpy() for name in ("finished", "n_tokens"))
    abstained = finished & evaluation.generations["answer"].is_null().to_numpy()
    cost = read_costs(run.folder / "training")[-1:] or [{}]
    facts = {
        "mean_tokens": float(lengths.mean()),
        "abstained": float(abstained.mean()),
        "cut": float(1 - finished.mean()),
        **{name: cost[0].get(name) for name in ("generated_tokens", "seconds")},
    }
    return counted, Fingerprint.load(run.folder / "fingerprint"), facts


def _train_evaluate_measure(run: Run, lock: IO[str]) -> None:
    began = time.monotonic()
    model = run.source if run.arm is None else str(_train(run, run.arm, lock))
    _evaluate(run, model)
    _measure(run, model)
    write_json(
        run.folder / RUN,
        {
            "schema_version": SCHEMA_VERSION,
            "preregistration": run.preregistration,
            "model": run.model,
            "arm": run.arm_name,
            "seed": run.seed,
            "seconds_since_resumed": round(time.monotonic() - began, 1),
        },
    )


def _train(run: Run, arm: Arm, lock: IO[str]) -> Path:
    """The final model, from where training stopped."""
    folder, seed = run.folder / "training", run.seed or 0
    if (folder / FINAL).exists():
        return folder / FINAL
    if run.launcher:
        settings = arm.settings_of_run(run.source, seed, folder)
        train_by_launcher(run.launcher, arm.stage, settings, run.folder, lock)
        return folder / FINAL
    silence_libraries()
    recipe, config = training_arguments(arm, run.source, seed, folder, str(run))
    config._n_gpu = min(1, config.n_gpu)  # several GPUs are for several runs
    recipe.resume = folder.exists()
    return train(arm.stage, recipe, config, progress=ProgressLine(str(run), Console(quiet=True)))


def _evaluate(run: Run, model: str) -> None:
    options = replace(run.recipe.evaluation, seed=run.recipe.evaluation.seed + (run.seed or 0))
    evaluated = evaluate(
        [f"run={model}"],
        [run.suite],
        output=run.folder / "evaluation",
        device=run.device,
        **vars(options),
    )
    if evaluated.failed:
        raise CorrpoError(evaluated.failed[0].reason)


def _measure(run: Run, model: str) -> None:
    """rho over the model's own responses to the first problems of the suite."""
    prompt = run.recipe.evaluation.prompt or run.suite.prompt
    samples = [
        problem_sample(problem, run.suite, prompt) for problem in run.suite.problems[: run.recipe.prompts]
    ]
    loaded, tokenizer = load_model(model, device=run.device)
    settings = asdict(run.recipe.fingerprint)
    settings["seed"] += run.seed or 0
    measure(loaded, tokenizer, samples, output=run.folder / "fingerprint", name=str(run), **settings)
