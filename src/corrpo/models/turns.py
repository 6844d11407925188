"""Turns: threads that use one model, or what is one for the whole process, wait for one another.

A measurement puts a model in eval mode, replaces its attention and its generation config, and gives all of it
back; two at once would give back what the other had set. Every call that does so takes the model's turn
first. Torch's random state, its compiler's stance and a config that several models share are the process's,
and a call takes the process's turn for as long as it changes one of these. The order is always the model's
turn, then the process's, and a thread that has a turn can take it again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, RLock
from typing import Any

from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from corrpo.errors import BadInputError

process_turn = RLock()
"""The turn of the process, a context."""

_locks: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
_making = Lock()


def check_module(model: Any) -> None:
    """Raise `BadInputError` on what is no model, such as the name of one."""
    if not isinstance(model, nn.Module):
        raise BadInputError(
            f"model={model!r:.80}: expected a loaded causal LM, not {type(model).__name__}; "
            "corrpo.load_model gives one with its tokenizer"
        )


@contextmanager
def model_turn(model: Any) -> Iterator[None]:
    """The turn of a model, and of all that hold its weights: adapters around it, a wrapper.

    Threads wait until it is theirs; it ends with the block, also by an error.
    """
    check_module(model)
    first = next(model.parameters())
    with _making:
        lock = _locks.get(first)
        if lock is None:
            lock = _locks[first] = RLock()
    with lock:
        yield
