"""The device that a model is put on, if this machine has it."""

from typing import Any

import torch

from corrpo.errors import BadInputError, first_line


def usable_device(name: str) -> str:
    """A torch device that tensors can be on here, with "auto" taken as a GPU if there is one.

    Raises:
        BadInputError: no device, or one that this machine, or this build of torch, does not have.

    >>> usable_device("cpu")
    'cpu'
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=torch.device(name))
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        raise BadInputError(
            f"device {name!r} cannot be used here: {first_line(error).partition('. ')[0]}; there are "
            f"{', '.join(['cpu', *gpus])}"
        ) from error
    if torch.device(name).type == "meta":
        raise BadInputError(f"device {name!r} holds no numbers, so nothing can be computed on it; give cpu")
    return name


def is_spread(model: Any) -> bool:
    """Whether parts of a model are on different devices, as `device_map="auto"` puts them.

    Hooks then bring what the model is called with to its first device, and logits back to it.
    """
    places = getattr(model, "hf_device_map", None) or {}
    return len(set(map(str, places.values()))) > 1
