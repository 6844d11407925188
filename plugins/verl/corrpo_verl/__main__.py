"""`python -m corrpo_verl OVERRIDES`: whether verl will run CorR-PO with these overrides of its configuration.

    python -m corrpo_verl trainer.v1.trainer_mode=corrpo +corrpo.inversion_weight=0.3

Checks that verl has the trainer and that the settings are good, and starts nothing. Otherwise it says in one
line what is wrong, with exit code 2.
"""

import os
import sys

from hydra import compose, initialize_config_module
from hydra.errors import HydraException
from verl.trainer.ppo.v1.trainer_base import TRAINER_REGISTRY

from corrpo.errors import BadInputError, CorrpoError, in_one_line
from corrpo_verl.settings import NAME, checked_settings


def check(overrides: list[str]) -> str:
    """What verl would do with the overrides of its `ppo_trainer` configuration.

    Raises:
        BadInputError: it would not run CorR-PO, or not with these settings.
    """
    if NAME not in TRAINER_REGISTRY:
        raise BadInputError(
            f"verl has no trainer {NAME!r}: its plug-in failed, as is told above, or "
            f"VERL_USE_EXTERNAL_PLUGINS={os.getenv('VERL_USE_EXTERNAL_PLUGINS', 'auto')} leaves it out"
        )
    try:
        with initialize_config_module("verl.trainer.config", version_base=None):
            config = compose("ppo_trainer", overrides)
    except HydraException as error:
        raise BadInputError(in_one_line(error)) from error
    settings = checked_settings(config)
    chosen = config.trainer.v1.trainer_mode
    if chosen != NAME:
        raise BadInputError(
            f"trainer.v1.trainer_mode={chosen}: verl's own trainer would run, and the settings of corrpo be "
            f"ignored; add trainer.v1.trainer_mode={NAME}"
        )
    return f"verl will train with {TRAINER_REGISTRY[NAME].__name__}: {settings}"


if __name__ == "__main__":
    try:
        print(check(sys.argv[1:]))
    except CorrpoError as error:
        print(f"corrpo_verl: {error}", file=sys.stderr)
        sys.exit(2)
