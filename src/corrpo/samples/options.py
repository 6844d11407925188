"""`SampleOptions`: how samples are read, where the defaults do not do."""

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
