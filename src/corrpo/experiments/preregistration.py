"""The plan of an experiment, written before its first run, and held to afterwards.

preregistration.json holds `plan` (all that decides the results: models, arms with every setting, seeds,
problems, outcome, analysis with the rules of the verdict, versions, and SHA-256 of the problems, of the
models that runs start from and of their data), `sha256` (of the plan as JSON with sorted keys and no spaces)
and `written` (when). The hash goes into every table and into the report.
"""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from corrpo.errors import OutputFolderError
from corrpo.evaluation.suites.suite import Suite
from corrpo.experiments.inputs import inputs_of
from corrpo.experiments.recipe import ExperimentRecipe
from corrpo.jobs.files import read_versioned, write_json
from corrpo.jobs.run_folder import refuse_other_files
from corrpo.jobs.settings_differences import differences_between
from corrpo.jobs.versions import TRAINING_LIBRARIES, library_versions

PREREGISTRATION = "preregistration.json"
INPUTS = "inputs"
SCHEMA_VERSION = 1


def registered_plan(recipe: ExperimentRecipe, suite: Suite) -> dict[str, Any]:
    """All that is fixed before the first run; JSON-safe."""
    return recipe.as_dict() | {
        "recipe_sha256": recipe.digest,
        "problems": {
            "suite": suite.name,
            "source": suite.source,
            "number": len(suite.problems),
            "sha256": suite.digest,
        },
        INPUTS: inputs_of(recipe),
        "versions": library_versions(*TRAINING_LIBRARIES),
    }


def sha256_of(plan: dict[str, Any]) -> str:
    """The hash of a plan, in hexadecimal.

    >>> sha256_of({"b": 1, "a": 2})[:12]
    'd3626ac30a87'
    """
    return hashlib.sha256(json.dumps(plan, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def register(folder: Path, plan: dict[str, Any]) -> str:
    """Write the plan into a new folder, or see that the one there is the same; its SHA-256.

    An error where the folder holds another plan (what differs is named), an edited one, or other files.
    """
    path, digest = folder / PREREGISTRATION, sha256_of(plan)
    if not path.exists():
        refuse_other_files(folder, "an experiment")
        written = datetime.now(UTC).isoformat(timespec="seconds")
        record = {"schema_version": SCHEMA_VERSION, "sha256": digest, "written": written, "plan": plan}
        write_json(path, record)
        return digest
    registered = read_versioned(path, SCHEMA_VERSION, "give another --output")
    if sha256_of(registered["plan"]) != registered["sha256"]:
        raise OutputFolderError(
            f"{path} was edited: its plan has not the SHA-256 that it gives; give another --output"
        )
    if INPUTS not in registered["plan"]:  # a plan of corrpo 0.2
        plan = {name: value for name, value in plan.items() if name != INPUTS}
    differences = differences_between(registered["plan"], plan)
    if differences:
        raise OutputFolderError(
            f"{folder} holds an experiment that was registered otherwise: {'; '.join(differences[:8])}. Go "
            "on with the recipe, models, data and versions that were registered, or give another --output"
        )
    return registered["sha256"]
