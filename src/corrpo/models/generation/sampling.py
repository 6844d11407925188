"""How responses are drawn: what the settings may be, and the seed of each batch."""

from corrpo.errors import BadInputError


def check_sampling(temperature: float, top_p: float, max_new_tokens: int) -> None:
    """Raise `BadInputError` on a setting of generation that is out of range."""
    if not 0 <= temperature < float("inf"):
        raise BadInputError(f"temperature={temperature}: expected 0 (greedy) or more")
    if not 0 < top_p <= 1:
        raise BadInputError(f"top_p={top_p}: expected a number in (0, 1]")
    if max_new_tokens < 1:
        raise BadInputError(f"max_new_tokens={max_new_tokens}: expected 1 or more")


def numbered_seed(seed: int, number: int) -> int:
    """The seed of batch, line or prompt `number` of a run with `seed`: neighbouring seeds share none.

    >>> numbered_seed(2, 5)
    2000011
    """
    return seed * 1_000_003 + number
