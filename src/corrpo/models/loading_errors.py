"""What libraries raise on the files of a model, in words that say what is wrong and what to do."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from corrpo.errors import BadInputError, CorrpoError, first_line

_EXPECTED = (OSError, ValueError, RuntimeError, ImportError)
"""What libraries raise with a sentence of their own; the names of other errors are told."""


@contextmanager
def loading_told(deed: str, source: str) -> Iterator[None]:
    """Whatever a library raises in a deed on the files of a model becomes a `BadInputError`.

    Such files come from anywhere, and libraries raise anything on one that is not as they write it:
    AttributeError, ZeroDivisionError, RecursionError. Errors of corrpo and lack of memory stay.

    >>> with loading_told("load the config of mymodel", "mymodel"):
    ...     {}["gelu_zork"]
    Traceback (most recent call last):
    corrpo.errors.BadInputError: cannot load the config of mymodel: KeyError: 'gelu_zork'; ...
    """
    try:
        yield
    except (CorrpoError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise BadInputError(f"cannot {deed}: {_reason(error, source)}") from error


def _reason(error: Exception, source: str) -> str:
    text = first_line(error).rstrip(".")
    if isinstance(error, pickle.UnpicklingError):
        return (
            "its weights are a pickle that holds more than tensors, and could run code when it is read; "
            "take or save the model as safetensors"
        )
    if "custom code" in text:
        return (
            "it comes with code of its own, which would run on this machine; look at it, and if you trust it "
            "give --trust-remote-code (trust_remote_code=True)"
        )
    is_local = Path(source).exists()
    if not isinstance(error, _EXPECTED):
        text = f"{type(error).__name__}: {text}"
        if is_local:
            text += "; its files are not as transformers writes them: save or fetch them again"
    if not is_local:
        text += f"; and there is no folder {source} here"
    return text
