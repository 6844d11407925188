"""Build the lab from a seed: two families x (base, safety, reasoning), resumable, and its sample sets.

Other widths are trained the same way, and a `reasoning` that learns another task, and a third family without
attention, `mamba2`; they do not ship.

A finished checkpoint is a folder `checkpoints/FAMILY/KIND`; it is moved there whole and never trained
again. What is under way lives in `.work/FAMILY-KIND`, from where the same command goes on.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any

from corrpo.errors import OutputFolderError, require_packages
from corrpo.jobs.files import write_json
from corrpo.lab import FAMILIES, KINDS, SAMPLE_SETS, check_name
from corrpo.lab.build.settings import BUILT, LabRecipe, Variant
from corrpo.lab.build.train_checkpoint import train_checkpoint
from corrpo.lab.build.training_data import write_samples
from corrpo.lab.tasks import find_lab_task

RECORD = "build.json"


def build(
    output: Path,
    *,
    seed: int = 0,
    families: Iterable[str] = FAMILIES,
    kinds: Iterable[str] = KINDS,
    recipe: LabRecipe | None = None,
    variant: Variant | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Train every checkpoint of `families` and `kinds` that `output` lacks, and write the three sample sets.

    Deterministic for a seed on one machine (one CPU thread); progress is shown on the terminal. An
    interrupted build goes on from its last saved step when called again with the same settings.

    The families are those of `BUILT`. The base is trained whatever the kinds, as the others start from it,
    unless that is the shipped one.

    Returns the folders of all checkpoints asked for, trained now or before, the base of each family first.

    Raises BadInputError without the packages of the extra train, or on an unknown family or kind, and
    OutputFolderError if `output` holds something else, or a build with other settings.
    """
    require_packages("training the lab", "accelerate", extra="train")
    output, recipe, variant = Path(output), recipe or LabRecipe(), variant or Variant()
    families = [check_name("family", family, BUILT) for family in families]
    wanted = {"base", *(check_name("kind", kind, KINDS) for kind in kinds)}
    if variant.shipped_base:
        for family in families:
            check_name("family with a shipped base", family, FAMILIES)
        wanted.remove("base")
    record = _open_record(output, seed, recipe, variant)
    write_samples(output / "samples", SAMPLE_SETS, find_lab_task(variant.task))
    finished = []
    for family, kind in product(families, [kind for kind in KINDS if kind in wanted]):
        name, target = f"{family}/{kind}", output / "checkpoints" / family / kind
        if target.is_dir():
            say(f"{name}: finished before")
        else:
            say(f"{name}: training")
            record["checkpoints"][name] = train_checkpoint(
                output, family, kind, seed=seed, recipe=recipe, variant=variant
            )
            write_json(output / RECORD, record)
            say(f"{name}: {record['checkpoints'][name]}")
        finished.append(target)
    shutil.rmtree(output / ".work", ignore_errors=True)
    return finished


def _open_record(output: Path, seed: int, recipe: LabRecipe, variant: Variant) -> dict[str, Any]:
    """Read the build's record, or start one; refuse a folder of something else."""
    settings = {"schema": 1, "seed": seed, "recipe": dataclasses.asdict(recipe)}
    settings["variant"] = dataclasses.asdict(variant)
    path = output / RECORD
    if not path.exists():
        if output.exists() and any(output.iterdir()):
            raise OutputFolderError(
                f"{output} is not empty and holds no {RECORD}: give a new or empty folder"
            )
        output.mkdir(parents=True, exist_ok=True)
        write_json(path, {**settings, "checkpoints": {}})
    record = {"variant": dataclasses.asdict(Variant())}  # what records had before there were others
    record |= json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name, value in settings.items() if record.get(name) != value]
    if changed:
        raise OutputFolderError(
            f"{output} holds a build with another {' and '.join(changed)}: "
            "give a new folder, or the settings of that build to go on with it"
        )
    return record
