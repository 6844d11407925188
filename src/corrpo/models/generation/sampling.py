"""How responses are drawn: what the settings may be, and the seed of each batch."""

from corrpo.errors import BadInputError

LEAST_TEMPERATURE = 1e-6
"""Logits divided by less overflow float32; what this gives is greedy in all but name."""
SEEDS = 1 << 32
"""How many seeds there are: libraries take no others, and those that are numbered once fit into 64 bits."""


def check_sampling(temperature: float, top_p: float, max_new_tokens: int) -> None:
    """Raise `BadInputError` on a setting of generation that is out of range."""
    if temperature != 0 and not LEAST_TEMPERATURE <= temperature < float("inf"):
        raise BadInputError(f"temperature={temperature}: expected 0 (greedy), or {LEAST_TEMPERATURE} or more")
    if not 0 < top_p <= 1:
        raise BadInputError(f"top_p={top_p}: expected a number in (0, 1]")
    if max_new_tokens < 1:
        raise BadInputError(f"max_new_tokens={max_new_tokens}: expected 1 or more")


def check_seed(seed: int) -> None:
    """Raise `BadInputError` on a seed that libraries do not take."""
    if not 0 <= seed < SEEDS:
        raise BadInputError(f"seed={seed}: expected a whole number from 0 to {SEEDS - 1}")


def numbered_seed(seed: int, number: int) -> int:
    """The seed of batch, line or prompt `number` of a run with `seed`: neighbouring seeds share none.

    >>> numbered_seed(2, 5)
    2000011
    """
    return seed * 1_000_003 + number
