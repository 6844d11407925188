"""The arms of an experiment and their presets: each is a training stage and settings of it, nothing else.

Methods are those of their papers as far as TRL has them: DAPO is its loss, its higher upper clip and the
masking of truncated rollouts (TRL has no dynamic sampling); Dr. GRPO is its loss without division by the
group's spread; GSPO is importance sampling by sequence with the clips of its paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corrpo.rewards.choices import CONTROL_NAMES
from corrpo.rewards.controls import find_control

INVERSION_WEIGHT = 0.5
"""lambda of the arms that have the inversion in their reward."""


@dataclass(frozen=True)
class Preset:
    """A stage of `corrpo.training` and what is set in it, with a description for people."""

    stage: str
    settings: Mapping[str, Any]
    description: str


@dataclass(frozen=True)
class Arm:
    """An arm: its name, its preset, the stage that trains it, and its settings but model, seed and folder."""

    name: str
    preset: str
    stage: str
    settings: dict[str, Any]

    def settings_of_run(self, model: str, seed: int, folder: Path) -> dict[str, Any]:
        """The fields of `corrpo train` for one run, in `folder`."""
        return self.settings | {"model": model, "seed": seed, "output_dir": str(folder)}


_GRPO = {"loss_type": "grpo", "scale_rewards": "group", "importance_sampling_level": "token"}
_DAPO = {
    "loss_type": "dapo",
    "scale_rewards": "group",
    "epsilon": 0.2,
    "epsilon_high": 0.28,
    "mask_truncated_completions": True,
}
_DR_GRPO = {"loss_type": "dr_grpo", "scale_rewards": "none"}
_GSPO = _GRPO | {"importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4}
_INVERSION = {"inversion_weight": INVERSION_WEIGHT}


def _control(name: str) -> Preset:
    settings = _GRPO | _INVERSION | {"inversion_control": name}
    return Preset("corrpo", settings, find_control(name).arm)


PRESETS: dict[str, Preset] = {
    "grpo": Preset("grpo", _GRPO, "GRPO"),
    "dapo": Preset("grpo", _DAPO, "DAPO without dynamic sampling"),
    "dr_grpo": Preset("grpo", _DR_GRPO, "Dr. GRPO"),
    "gspo": Preset("grpo", _GSPO, "GSPO"),
    "rloo": Preset("rloo", {"inversion_weight": 0.0}, "RLOO"),
    "corrpo": Preset("corrpo", _GRPO | _INVERSION, find_control("none").arm),
    **{name: _control(name) for name in CONTROL_NAMES if name != "none"},
    "verifier-free": Preset("corrpo", _GRPO | _INVERSION | {"rewards": []}, "the inversion as only reward"),
    "correct": Preset(
        "corrpo", _GRPO | _INVERSION | {"inversion_gate": "correct"}, "CorR-PO on correct rollouts"
    ),
    "incorrect": Preset(
        "corrpo", _GRPO | _INVERSION | {"inversion_gate": "incorrect"}, "CorR-PO on incorrect rollouts"
    ),
    "corr-dapo": Preset("corrpo", _DAPO | _INVERSION, "DAPO with the inversion in the reward"),
    "corr-dr_grpo": Preset("corrpo", _DR_GRPO | _INVERSION, "Dr. GRPO with the inversion in the reward"),
    "corr-gspo": Preset("corrpo", _GSPO | _INVERSION, "GSPO with the inversion in the reward"),
    "corr-rloo": Preset("rloo", _INVERSION, "RLOO with the inversion in the reward"),
}
