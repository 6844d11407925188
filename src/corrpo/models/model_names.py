"""What a model may be called: lab:FAMILY/KIND, a folder, a .gguf file, NAME or NAME@REVISION on the hub."""

import re
from pathlib import Path

from corrpo.errors import BadInputError
from corrpo.lab import FAMILIES, KINDS, LAB, checkpoint

_HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


def model_location(model: str) -> str:
    """Where `from_pretrained` finds a model: the folder of lab:FAMILY/KIND, or any other name as it stands.

    Raises BadInputError on a lab model that there is not.

    >>> model_location("Qwen/Qwen2.5-7B")
    'Qwen/Qwen2.5-7B'
    """
    if not model.startswith(LAB):
        return model
    family, slash, kind = model.removeprefix(LAB).partition("/")
    if not slash:
        raise BadInputError(f"model {model!r}: expected lab:FAMILY/KIND, for example lab:qwen2/reasoning")
    return str(checkpoint(family, kind))


def lab_name(location: str) -> str | None:
    """The inverse of `model_location` for the folders of the lab; None for any other location.

    >>> lab_name(model_location("lab:qwen2/base"))
    'lab:qwen2/base'
    """
    for family in FAMILIES:
        for kind in KINDS:
            if location == str(checkpoint(family, kind)):
                return f"{LAB}{family}/{kind}"
    return None


def looks_like_path(name: str) -> bool:
    """Whether a name can be meant as a path alone, whether or not there is anything.

    >>> looks_like_path("~/models/mine"), looks_like_path("Qwen/Qwen2.5-7B")
    (True, False)
    """
    return name.startswith((".", "/", "~"))


def parse_hub_name(name: str) -> tuple[str, str | None] | None:
    """Name and revision of NAME or NAME@REVISION; None if it is no name on the hub.

    >>> parse_hub_name("EleutherAI/pythia-70m@step1000"), parse_hub_name("./pythia")
    (('EleutherAI/pythia-70m', 'step1000'), None)
    """
    hub_name, at_sign, revision = name.partition("@")
    if looks_like_path(name) or not _HUB_NAME.fullmatch(hub_name) or (at_sign and not revision):
        return None
    return hub_name, revision or None


def check_not_missing(name: str) -> None:
    """Raise `BadInputError` on what is no folder, and cannot be a name on the hub: a file, or a path."""
    if Path(name).exists():
        raise BadInputError(
            f"{name} is a file; expected the folder of a saved model, a .gguf file, or a name on the hub"
        )
    if looks_like_path(name) or name.count("/") > 1:
        raise BadInputError(f"the model folder {name} does not exist")
