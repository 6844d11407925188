"""The checks: rules by which a response is judged right or wrong. One module of this folder defines each.

`CheckName` is the table: a name in it is the name of a module here that holds `CHECK`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from corrpo.answers.verifier import Reply
from corrpo.errors import RecordTable

CheckName = Literal["exact", "math", "trl"]
CHECKS = RecordTable("check", "CHECK", {name: f"{__name__}.{name}" for name in get_args(CheckName)})


@dataclass(frozen=True)
class Check:
    """One rule of judging responses.

    Attributes:
        meaning: one line on when a response is right.
        judge: the verdicts on responses, given with the right answer of each; see `verdict.judge`.
        equal: whether the two answers of each pair are one answer, in a vote for instance.
    """

    meaning: str
    judge: Callable[[Sequence[str], Sequence[str]], list[Reply]]
    equal: Callable[[Sequence[tuple[str, str]]], list[bool]]


def find_check(name: str) -> Check:
    """The check of a name.

    Raises:
        BadInputError: there is none; names those there are.

    >>> find_check("exact").equal([("7.0", "7"), ("1/2", "0.5")])
    [True, False]
    """
    return CHECKS.find(name)
