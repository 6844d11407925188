"""The settings of CorR-PO in verl's configuration: fields of `InversionSettings` under the key `corrpo`."""

from dataclasses import fields

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from corrpo.errors import BadInputError, UnsupportedModelError, did_you_mean, first_line
from corrpo.rewards.inversion_settings import InversionSettings

NAME = "corrpo"
"""Of the trainer, and of its key in verl's configuration."""

_ENGINES = ("fsdp", "fsdp2")


def checked_settings(config: DictConfig) -> InversionSettings:
    """The settings that a run's configuration gives, and that verl's engine can carry out.

    Args:
        config: verl's whole configuration; its key `corrpo` may be absent, for the defaults.

    Raises:
        BadInputError: a field that there is not, or a value that its field does not take.
        UnsupportedModelError: an engine whose model cannot be measured.
    """
    _check_engine(config)
    given = config.get(NAME, {})
    known = [field.name for field in fields(InversionSettings)]
    if not isinstance(given, dict | DictConfig):
        raise BadInputError(f"{NAME}={given}: expected fields, as in +{NAME}.inversion_weight=0.5")
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known, prefix=f"{NAME}.")
            raise BadInputError(
                f"{NAME}.{name} is unknown; the fields of {NAME} are {', '.join(known)}{hint}"
            )
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(InversionSettings), given))
    except OmegaConfBaseException as error:
        raise BadInputError(f"{NAME}.{error.full_key}: {first_line(error)}") from error


def _check_engine(config: DictConfig) -> None:
    """Raise on an engine whose model does not give logits of whole sequences from whole parameters."""
    policy = config.actor_rollout_ref
    wanted = {
        "trainer.use_v1": (config.trainer.use_v1, (True,)),
        "actor_rollout_ref.actor.strategy": (policy.actor.strategy, _ENGINES),
        "actor_rollout_ref.actor.ulysses_sequence_parallel_size": (
            policy.actor.ulysses_sequence_parallel_size,
            (1,),
        ),
        "actor_rollout_ref.model.use_fused_kernels": (policy.model.use_fused_kernels, (False,)),
    }
    for name, (value, known) in wanted.items():
        if value not in known:
            raise UnsupportedModelError(
                f"{name}={value}: on verl CorR-PO measures the policy with "
                f"{' or '.join(map(str, known))} alone"
            )
