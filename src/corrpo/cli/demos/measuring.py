"""The lab's demonstration: both families, three model types and three sample sets, measured in minutes."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product, repeat
from multiprocessing import get_context
from pathlib import Path

from corrpo.lab import FAMILIES, KINDS, SAMPLE_SETS, checkpoint, sample_set
from corrpo.measurement import MeasureOptions, measure
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
    workers = min(len(MODELS), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        lines = pool.map(measure_checkpoint, *zip(*MODELS, strict=True), repeat(output))
        for (family, kind), results in zip(MODELS, lines, strict=True):
            yield f"{family}/{kind}={output / family / kind}", results


def measure_checkpoint(family: str, kind: str, output: Path) -> list[str]:
    """Measure one checkpoint on the three sample sets; returns a line each.

    The base set is plain text to continue; the others are chats.
    """
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
