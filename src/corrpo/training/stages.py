"""The stages of training, one record each: supervised fine-tuning, DPO, GRPO, CorR-PO and CorR-RLOO.

Neither torch nor TRL is imported here: a stage names its config and its trainer, which are imported when they
are asked for. `run_stage.train` runs one.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from corrpo.errors import BadInputError
from corrpo.rewards.inversion_settings import INVERSION_STATE


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        meaning: what it does, in one line.
        config: module and class of its config, a subclass of TrainingArguments.
        trainer: module and class of its trainer.
        rows: what it learns from: "traces" (responses to imitate), "preferences" (a better and a worse
            response each), or "prompts", to which it draws responses that rewards score.
        added_files: what its checkpoints hold beside what transformers saves.
    """

    meaning: str
    config: str
    trainer: str
    rows: Literal["traces", "preferences", "prompts"]
    added_files: tuple[str, ...] = ()

    @property
    def draws_rollouts(self) -> bool:
        """Whether it learns from responses that it draws itself."""
        return self.rows == "prompts"

    def config_class(self) -> type:
        """Its config, imported."""
        return _imported(self.config)

    def trainer_class(self) -> Any:
        """Its trainer, imported."""
        return _imported(self.trainer)


STAGES: dict[str, Stage] = {
    "sft": Stage(
        "supervised fine-tuning on reasoning traces (TRL's SFTTrainer)",
        "trl.SFTConfig",
        "trl.SFTTrainer",
        "traces",
    ),
    "dpo": Stage(
        "direct preference optimization on pairs of responses (TRL's DPOTrainer)",
        "trl.DPOConfig",
        "trl.DPOTrainer",
        "preferences",
    ),
    "grpo": Stage(
        "group policy optimization on task rewards (TRL's GRPOTrainer)",
        "trl.GRPOConfig",
        "trl.GRPOTrainer",
        "prompts",
    ),
    "corrpo": Stage(
        "GRPO with the inversion in the reward (CorR-PO)",
        "corrpo.training.config.CorRPOConfig",
        "corrpo.training.trainer.CorRPOTrainer",
        "prompts",
        (INVERSION_STATE,),
    ),
    "rloo": Stage(
        "REINFORCE leave-one-out with the inversion in the reward (weight 0: TRL's RLOO)",
        "corrpo.training.config.CorRRLOOConfig",
        "corrpo.training.trainer.CorRRLOOTrainer",
        "prompts",
        (INVERSION_STATE,),
    ),
}
"""Name of a stage -> the stage."""


def find_stage(name: str) -> Stage:
    """The stage of a name.

    Raises:
        BadInputError: there is none; names those there are.

    >>> find_stage("dpo").rows
    'preferences'
    """
    if name not in STAGES:
        raise BadInputError(f"there is no stage {name!r}; expected one of {', '.join(STAGES)}")
    return STAGES[name]


def config_class(stage: str) -> type:
    """The config of a stage, a subclass of TRL's.

    Raises:
        BadInputError: an unknown stage.

    >>> config_class("sft").__name__
    'SFTConfig'
    """
    return find_stage(stage).config_class()


def _imported(place: str) -> Any:
    module, _, name = place.rpartition(".")
    return getattr(import_module(module), name)
