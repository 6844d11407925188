"""Training data from the generations of `corrpo evaluate`: right ones to learn from, and pairs to choose in.

A `generations.parquet` may be the dataset of two stages. SFT reads its right responses: with those of
another model this is distillation, with a model's own it is rejection sampling. DPO reads pairs of a right
and a wrong response to the same problem. Only responses that ended are read, as training puts the end behind
each.
"""

from typing import Any

from datasets import Dataset

from corrpo.errors import BadInputError
from corrpo.samples.fields import kept_prompt

COLUMNS = ("problem", "prompt", "response", "finished", "correct")
"""Columns of `generations.parquet` that are read, and by which it is known."""
CHOSEN = ("prompt", "chosen", "rejected")
"""Columns of DPO's rows."""


def are_generations(rows: Dataset) -> bool:
    """Whether rows are generations with their verdicts, as `corrpo evaluate` writes them."""
    return set(COLUMNS) <= set(rows.column_names)


def right_responses(rows: Dataset, *, chat: bool, where: str) -> Dataset:
    """The right responses, each once for a problem, in their order.

    Args:
        rows: with the columns `COLUMNS`.
        chat: the tokenizer has a chat template, so prompts and responses become messages.
        where: what to call the rows in an error.

    Returns:
        Columns `prompt` and `completion`.

    Raises:
        BadInputError: none is right.
    """
    made = [
        {"prompt": _prompt(prompt, chat), "completion": _reply(response, chat)}
        for prompt, verdicts in _by_problem(rows)
        for response in verdicts[True]
    ]
    if not made:
        raise BadInputError(f"{where}: none of the {len(rows)} generations is right and came to its end")
    return Dataset.from_list(made)


def preference_pairs(rows: Dataset, *, chat: bool, where: str) -> Dataset:
    """Pairs of a right and a wrong response to a problem, no response in two of them, in their order.

    A problem with r different right and w different wrong responses gives min(r, w) pairs.

    Args:
        rows: with the columns `COLUMNS`.
        chat: as in `right_responses`.
        where: likewise.

    Returns:
        Columns `prompt`, `chosen` and `rejected`.

    Raises:
        BadInputError: no problem has both.
    """
    made = [
        {"prompt": _prompt(prompt, chat), "chosen": _reply(right, chat), "rejected": _reply(wrong, chat)}
        for prompt, verdicts in _by_problem(rows)
        for right, wrong in zip(verdicts[True], verdicts[False], strict=False)
    ]
    if not made:
        raise BadInputError(
            f"{where}: no problem has a right and a wrong response; evaluate with a larger --n, at a "
            "temperature above 0"
        )
    return Dataset.from_list(made)


def _by_problem(rows: Dataset) -> list[tuple[str, dict[bool, list[str]]]]:
    """For each problem its prompt, and its different responses that ended, by whether they are right."""
    by_problem: dict[str, tuple[str, dict[bool, dict[str, None]]]] = {}
    columns = [list(rows[name]) for name in COLUMNS]
    for problem, prompt, response, finished, correct in zip(*columns, strict=True):
        if finished and response.strip():
            _, verdicts = by_problem.setdefault(problem, (prompt, {True: {}, False: {}}))
            verdicts[bool(correct)].setdefault(response)
    return [
        (prompt, {right: list(texts) for right, texts in verdicts.items()})
        for prompt, verdicts in by_problem.values()
    ]


def _prompt(prompt: str, chat: bool) -> Any:
    """A prompt as it was asked: messages were written as JSON; text becomes a user's message in a chat."""
    read = kept_prompt(prompt)
    if not isinstance(read, str):
        return read
    return [{"role": "user", "content": prompt}] if chat else prompt


def _reply(response: str, chat: bool) -> Any:
    return [{"role": "assistant", "content": response}] if chat else response
