"""`SampleOptions`: how samples are read, where the defaults do not do; and how a problem is asked."""

from dataclasses import dataclass

from corrpo.errors import BadInputError


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How samples are read; options of `corrpo.measure`, `corrpo.track` and their commands.

    Raises:
        BadInputError: a limit below 1.
    """

    prompt_column: str | None = None
    """Column of the prompts. If not given, the first of prompt, problem, question, instruction, messages and
    conversations that there is."""
    response_column: str | None = None
    """Column of given responses. If not given, response or completion; or the last turn of messages or
    conversations, where that is the assistant's."""
    answer_column: str | None = None
    """Column of the right answers, which are kept beside the responses. If not given, answer or solution."""
    limit: int | None = None
    """Read the first so many samples alone."""
    strict: bool = False
    """Refuse a given response of fewer than two tokens; otherwise it is left out and counted."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise BadInputError(f"limit={self.limit}: expected 1 or more, or none for all samples")


def check_request(name: str, request: str) -> None:
    """Raise `BadInputError` on a request without a place for the problem; `name` is that of the option.

    >>> check_request("prompt", "Solve: {problem}")
    """
    try:
        filled = request.format(problem="\0")
    except (KeyError, IndexError, ValueError) as error:
        raise BadInputError(
            f"{name} {request!r} cannot be filled in ({error!r}); the one place is {{problem}}, and other "
            "braces are doubled: \\boxed{{}}"
        ) from error
    if filled.count("\0") != 1:
        raise BadInputError(f"{name} {request!r} must have {{problem}} in it, once")
