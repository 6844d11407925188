"""The recipe of an experiment: models, seeds, arms, how they are evaluated, measured and compared."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from corrpo.evaluation.options import EvaluateOptions
from corrpo.experiments.arms import Arm
from corrpo.experiments.verdict_rules import RULES, Analysis
from corrpo.measurement.options import MeasureOptions


@dataclass(frozen=True)
class ExperimentRecipe:
    """A recipe that was read and checked; see `recipe_reader.read_experiment`.

    Attributes:
        models: name to model.
        seeds: of training and of the generations that are scored.
        arms: in the recipe's order.
        suite: held-out problems, as `corrpo evaluate --suite` takes them.
        evaluation: how they are asked; its own seed is that of the problems.
        prompts: of the first so many problems, the model's own responses are measured for rho.
        fingerprint: how.
        analysis: what is compared.
    """

    models: dict[str, str]
    seeds: tuple[int, ...]
    arms: tuple[Arm, ...]
    suite: str
    evaluation: EvaluateOptions
    prompts: int
    fingerprint: MeasureOptions
    analysis: Analysis

    def as_dict(self) -> dict[str, Any]:
        """Everything that decides the results, with the rules of the verdict; JSON-safe."""
        return {
            "models": self.models,
            "seeds": list(self.seeds),
            "arms": {arm.name: {"stage": arm.stage, "settings": arm.settings} for arm in self.arms},
            "evaluation": {"suite": self.suite, **self.evaluation.as_dict()},
            "fingerprint": {"prompts": self.prompts, **self.fingerprint.as_dict()},
            "analysis": {**vars(self.analysis), "rules": list(RULES)},
        }

    @property
    def digest(self) -> str:
        """SHA-256 of `as_dict`."""
        return hashlib.sha256(json.dumps(self.as_dict(), sort_keys=True).encode()).hexdigest()
