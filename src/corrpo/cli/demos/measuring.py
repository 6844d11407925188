"""The lab's demonstration: both families, three model types and three sample sets, measured in minutes."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

from corrpo.jobs.process_count import usable_cores
from corrpo.jobs.workers import in_order, local_workers
from corrpo.lab import FAMILIES, KINDS, SAMPLE_SETS, checkpoint, sample_set
from corrpo.measurement.options import MeasureOptions
from corrpo.measurement.pipeline import measure
from corrpo.models.loading import load_model
from corrpo.report import write_measure_report

OPTIONS = MeasureOptions(max_new_tokens=120, max_tokens=40, batch_size=64)
MODELS = tuple(product(FAMILIES, KINDS))


def measure_lab(output: Path) -> Iterator[tuple[str, list[str]]]:
    """Measure every checkpoint of the lab on every sample set, into OUTPUT/FAMILY/KIND/SET.

    One process a core. What is already measured is not measured again.

    Yields:
        For each checkpoint, the argument FAMILY/KIND=FOLDER that `corrpo compare` takes, and a line of
        result for each sample set.
    """
    with local_workers(min(len(MODELS), usable_cores())) as workers:
        lines = in_order(workers.map(partial(measure_checkpoint, output), MODELS, name="/".join))
        for (family, kind), results in zip(MODELS, lines, strict=True):
            yield f"{family}/{kind}={output / family / kind}", results


def measure_checkpoint(output: Path, model_name: tuple[str, str]) -> list[str]:
    """Measure one checkpoint, named by family and kind, on the three sample sets; returns a line each.

    The base set is plain text to continue; the others are chats.
    """
    family, kind = model_name
    model, tokenizer = load_model(str(checkpoint(family, kind)))
    lines = []
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
        lines.append(f"{family:<6} {kind:<10} on {name:<10} {fingerprint.spearman}")
    return lines
