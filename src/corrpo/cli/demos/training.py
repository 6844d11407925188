"""The demonstration of training: GRPO beside CorR-PO from the lab's reasoning model, and both measured.

One process a run. Each run is short, from one seed: it shows the tool, and proves nothing of the method.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich import box
from rich.table import Table

from corrpo.cli.demos.measuring import OPTIONS
from corrpo.jobs.console import Console
from corrpo.jobs.process_count import usable_cores
from corrpo.jobs.workers import in_order, local_workers
from corrpo.lab import checkpoint, sample_set
from corrpo.lab.build.solve_rates import Rate, solve_rate
from corrpo.lab.problems import held_out_problems
from corrpo.measurement.pipeline import measure
from corrpo.models.loading import load_model
from corrpo.models.training_run import FINAL, trainer_checkpoints
from corrpo.report import write_measure_report
from corrpo.report.formatting import with_interval
from corrpo.statistics import Correlation
from corrpo.training.recipe import RecipeArguments
from corrpo.training.run_stage import train
from corrpo.training.silence_libraries import silence_libraries
from corrpo.training.stages import config_class
from corrpo.training.training_progress import ProgressLine

MODEL = "lab:qwen2/reasoning"
STEPS, PROBLEMS = 40, 500
RUNS = {"grpo": {}, "corrpo": {"inversion_weight": 0.5, "inversion_fit_tokens": 0}}
"""The stages that are run, and what their settings differ in."""


@dataclass(frozen=True)
class DemoModel:
    """One model of the demonstration.

    Attributes:
        name: "before", "grpo" or "corrpo".
        folder: its fingerprint on the lab's reasoning samples.
        solved: held-out sums solved by sampling at temperature 1, with the lengths of the responses.
        rho: its Spearman correlation on the lab's reasoning samples, estimator exact.
    """

    name: str
    folder: Path
    solved: Rate
    rho: Correlation


def train_lab(output: Path, steps: int = STEPS, problems: int = PROBLEMS) -> Iterator[DemoModel]:
    """Train, in OUTPUT/grpo and OUTPUT/corrpo, and measure the model before and after, a process a core.

    What is already trained or measured is not done again; a run that was stopped goes on from its last
    checkpoint. Gives "before", which is asked `problems` held-out sums like the others, then the model of
    each run.
    """
    names = ["before", *RUNS]
    with local_workers(min(len(names), usable_cores())) as workers:
        yield from in_order(workers.map(partial(_train_and_measure, output, steps, problems), names))


def models_table(models: Sequence[DemoModel]) -> Table:
    """Accuracy, rho and length of each model, with 95 % intervals."""
    table = Table(title="The lab's qwen2 reasoning model, before and after", box=box.SIMPLE_HEAD)
    table.title_justify = "left"
    table.add_column("model")
    for name in ("held-out sums solved", "rho on the reasoning samples", "mean length"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in models:
        mean = sum(model.solved.lengths) / len(model.solved.lengths)
        table.add_row(model.name, str(model.solved), with_interval(model.rho), f"{mean:.0f} tokens")
    return table


def _train_and_measure(output: Path, steps: int, problems: int, name: str) -> DemoModel:
    """One of the models: trained, unless it is the one before, and measured."""
    folder = checkpoint("qwen2", "reasoning")
    if name in RUNS:
        _train(name, output / name, steps)
        folder = output / name / FINAL
    return _measured(name, folder, output / "measured" / name, problems)


def _train(stage: str, folder: Path, steps: int) -> None:
    """One run, eight prompts with eight rollouts each a step."""
    if (folder / FINAL).exists():
        return
    silence_libraries()
    recipe = RecipeArguments(
        model=MODEL, dataset="lab:sums", rewards=["exact", "format"], resume=bool(trainer_checkpoints(folder))
    )
    config = config_class(stage)(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=64,
        num_generations=8,
        max_completion_length=128,
        learning_rate=3e-4,
        lr_scheduler_type="constant",
        gradient_checkpointing=False,
        logging_steps=10,
        save_steps=10,
        save_total_limit=2,
        report_to="none",
        use_cpu=True,
        bf16=False,
        seed=0,
        **RUNS[stage],
    )
    train(stage, recipe, config, progress=ProgressLine(stage, Console(force_terminal=False, width=100)))


def _measured(name: str, model_folder: Path, folder: Path, problems: int) -> DemoModel:
    model, tokenizer = load_model(str(model_folder))
    options = {**vars(OPTIONS), "template": "chat"}
    fingerprint = measure(
        model, tokenizer, sample_set("reasoning"), output=folder, name=f"lab {name}", **options
    )
    write_measure_report(fingerprint, folder / "report.html")
    solved = solve_rate(model, tokenizer, held_out_problems(problems), temperature=1.0)
    return DemoModel(name, folder, solved, fingerprint.spearman)
