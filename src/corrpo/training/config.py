"""CorRPOConfig and CorRRLOOConfig: TRL's GRPOConfig and RLOOConfig with the settings of the inversion."""

from dataclasses import dataclass

from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.rloo_config import RLOOConfig

from corrpo.rewards.inversion_settings import InversionSettings


@dataclass
class CorRPOConfig(InversionSettings, GRPOConfig):
    """TRL's GRPOConfig with the settings of the inversion reward; every loss type of it keeps working."""


@dataclass
class CorRRLOOConfig(InversionSettings, RLOOConfig):
    """TRL's RLOOConfig with the settings of the inversion reward."""
