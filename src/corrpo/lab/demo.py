"""The lab's demonstration: both families, three model types and three sample sets, measured in minutes."""

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from corrpo.lab import FAMILIES, KINDS, SAMPLE_SETS, checkpoint, sample_set
from corrpo.measurement import MeasureOptions, measure
from corrpo.models import load_model
from corrpo.report import write_measure_report

OPTIONS = MeasureOptions(max_new_tokens=120, max_tokens=32, batch_size=64)


def measure_lab(output: Path, console: Console) -> list[str]:
    """Measure every checkpoint of the lab on every sample set, into OUTPUT/FAMILY/KIND/SET.

    What is already measured is not measured again. The base set is plain text to continue; the others are
    chats.

    Returns:
        The arguments FAMILY/KIND=FOLDER that `corrpo compare` takes.
    """
    labels = []
    for family in FAMILIES:
        for kind in KINDS:
            model, tokenizer = load_model(str(checkpoint(family, kind)))
            for name in SAMPLE_SETS:
                folder = output / family / kind / name
                options = replace(OPTIONS, template="plain" if name == "base" else "chat")
                fingerprint = measure(
                    model,
                    tokenizer,
                    sample_set(name),
                    output=folder,
                    name=f"lab {family} {kind}",
                    **vars(options),
                )
                write_measure_report(fingerprint, folder / "report.html")
                console.print(f"{family:<6} {kind:<10} on {name:<10} {fingerprint.spearman}", highlight=False)
            labels.append(f"{family}/{kind}={output / family / kind}")
    return labels
