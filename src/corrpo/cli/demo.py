"""`corrpo demo`: what corrpo reports, shown on the lab."""

from dataclasses import dataclass
from pathlib import Path

from corrpo.cli import compare
from corrpo.lab.demo import MODELS, measure_lab


@dataclass(frozen=True)
class Demo:
    """Measure the lab's six tiny models on three sample sets, and write the comparison report.

    Takes a few minutes on two cores and downloads nothing.
    """

    output: Path = Path("demo")
    """Folder of the results; a demonstration that was stopped goes on."""


def run(options: Demo) -> None:
    """Measure, compare, print the tables and the path of the report."""
    print(f"Measuring the lab's {len(MODELS)} models on three sample sets (a few minutes)", flush=True)
    labels = []
    for label, lines in measure_lab(options.output):
        labels.append(label)
        print(*lines, sep="\n", flush=True)
    print()
    compare.run(compare.Compare(labels=tuple(labels), output=options.output / "comparison"))
    print(f"\nThe report: {options.output / 'comparison' / 'comparison.html'}")
