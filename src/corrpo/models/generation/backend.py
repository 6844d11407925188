"""What a generation backend is, and where backends are found by name: transformers and vLLM come with corrpo.

Nothing heavy is imported here. A backend's module is imported when its name is asked for, and what it needs
when a model is opened.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

from corrpo.errors import BadInputError, RecordTable, check_known

if TYPE_CHECKING:
    from corrpo.models.checkpoints import Checkpoint
    from corrpo.models.load_options import LoadOptions

BackendName = Literal["transformers", "vllm"]
"""The backends that come with corrpo: the modules of these names in `corrpo.models.generation.backends`."""
BACKENDS = RecordTable(
    "backend",
    "BACKEND",
    {name: f"corrpo.models.generation.backends.{name}" for name in get_args(BackendName)},
)
"""Those, and the ones that `register_backend` has added in this process."""


@dataclass(frozen=True)
class Generation:
    """One response.

    Attributes:
        ids: its token ids, end-of-sequence included.
        finished: whether it ended by itself.
    """

    ids: list[int]
    finished: bool

    def within(self, most: int) -> "Generation":
        """The first `most` tokens; unfinished if that cuts it."""
        return self if len(self.ids) <= most else Generation(self.ids[:most], finished=False)


def end_token_ids(generation_config: Any, tokenizer: Any) -> list[int]:
    """Ids that end a response: those of a generation config, one or several or none, and the tokenizer's."""
    configured = getattr(generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return sorted({int(token) for token in [*listed, tokenizer.eos_token_id] if token is not None})


@runtime_checkable
class Engine(Protocol):
    """A model that a backend has opened, and that answers batches of prompts.

    Attributes:
        tokenizer: the model's.
        context: the most tokens that it reads, prompt and response together; None if that is not known.
        end_tokens: ids of the tokens that end a response.
    """

    tokenizer: Any
    context: int | None
    end_tokens: set[int]

    def describe(self) -> dict[str, Any]:
        """name, revision, dtype, digest (of the weights; None where they cannot be read) and backend."""
        ...

    def respond(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        seed: int,
    ) -> list[Generation]:
        """A response to each prompt of token ids; the same batch and seed give the same responses.

        Raises:
            NonFiniteError: NaN or infinite logits; its `row` is the prompt's number.
        """
        ...


@dataclass(frozen=True)
class Backend:
    """What writes responses.

    Attributes:
        open: loads a checkpoint onto a device; takes the checkpoint, how it is loaded, and the device.
        batch_size: prompts that it is given at once, unless a user says otherwise. Part of what a seed means
            where a response depends on its batch.
        is_multiprocess: it starts processes of its own, so that it is given one model at a time, and not
            by several processes that torchrun started.
        is_measurable: it writes with a transformers model in this process, which can be measured while it
            does; the responses of others are measured by a second pass.
        distributions: installed packages whose versions decide what it writes, beside torch and transformers.
    """

    open: Callable[["Checkpoint", "LoadOptions", str], Engine]
    batch_size: int
    is_multiprocess: bool = False
    is_measurable: bool = False
    distributions: tuple[str, ...] = ()


def register_backend(name: str, backend: Backend) -> None:
    """Make a backend of another package known by name, in this process.

    Raises:
        BadInputError: the name is taken.
    """
    if name in BACKENDS:
        raise BadInputError(f"there is a backend {name!r} already; give another name")
    BACKENDS[name] = backend


def check_backend(name: str) -> None:
    """Raise `BadInputError` on a name that no backend has."""
    check_known("backend", name, BACKENDS)


def find_backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        BadInputError: there is none.

    >>> find_backend("vllm").batch_size
    1024
    """
    return BACKENDS.find(name)


def open_backend(name: str, checkpoint: "Checkpoint", loading: "LoadOptions", device: str) -> Engine:
    """Load a model into the backend of that name.

    Raises:
        BadInputError: an unknown backend, one that is not installed, or a model that cannot be loaded.
    """
    return find_backend(name).open(checkpoint, loading, device)
