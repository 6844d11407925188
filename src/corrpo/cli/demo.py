"""`corrpo demo`: what corrpo reports, shown on the lab."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from corrpo.cli import compare
from corrpo.cli.printing import Output, Quietable
from corrpo.errors import install_command


@dataclass(frozen=True)
class Demo(Quietable):
    """Measure the lab's six tiny models, then train one by GRPO and by CorR-PO, and measure it again.

    Writes a comparison report of each part. Takes some minutes on two cores and downloads nothing.
    """

    output: Output = Path("demo")
    """Folder of the results; a demonstration that was stopped goes on."""


def run(options: Demo) -> None:
    """Measure, compare and train; print the tables and the paths of the reports."""
    from corrpo.cli.demos.measuring import MODELS, measure_lab

    print(f"Measuring the lab's {len(MODELS)} models on three sample sets (a few minutes)", flush=True)
    labels = []
    for label, lines in measure_lab(options.output):
        labels.append(label)
        print(*lines, sep="\n", flush=True)
    print()
    compare.run(compare.Compare(labels=tuple(labels), output=options.output / "comparison"))
    if find_spec("trl") is None:
        print(f"\nThe second part trains, and is left out without TRL: {install_command('train')}")
        return
    _train(options.output / "training")
    print(f"\nThe reports: {options.output / 'comparison' / 'comparison.html'}")
    print(f"             {options.output / 'training' / 'comparison' / 'comparison.html'}")


def _train(output: Path) -> None:
    from corrpo.cli.demos.training import STEPS, models_table, train_lab
    from corrpo.jobs.console import Console

    print(
        f"\nTraining the qwen2 reasoning model {STEPS} steps by GRPO and by CorR-PO (a few minutes)",
        flush=True,
    )
    models = list(train_lab(output))
    labels = [f"{model.name}={model.folder}" for model in models]
    print()
    compare.run(compare.Compare(labels=tuple(labels), output=output / "comparison"))
    Console(width=100).print(models_table(models))
    print("One seed and a few steps: this shows the tool, and says nothing of the method.")
