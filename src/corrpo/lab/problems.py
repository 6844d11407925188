"""Problems of the lab's tasks, held-out and for training, their worked scratchpads, and the verifier."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

from corrpo.errors import require_packages
from corrpo.lab.tasks import LabProblem, LabTask
from corrpo.lab.tasks.sums import SUMS

HELD_OUT_SIZE = 1000
HELD_OUT_START, VALIDATION_START, TRAIN_START = 0, 1_000_000, 10_000_000
RANGE_PER_SEED = 10_000_000
TRAINING_ROWS, EVALUATION_ROWS = 4000, 256
TRAINING_SEED = 1  # seed 0 trained the shipped checkpoints


def _stream(task: LabTask, start: int) -> Iterator[LabProblem]:
    """Distinct problems from the reasoning-gym seeds `start`, `start + 1`, ..."""
    require_packages("making the lab's problems", "reasoning_gym", extra="tasks")
    import reasoning_gym

    items = reasoning_gym.create_dataset(task.gym_task, seed=start, size=RANGE_PER_SEED, **task.settings)
    seen: set[tuple[int, ...]] = set()
    for index in range(RANGE_PER_SEED):
        problem = task.pose(items[index], random.Random(start + index))
        if problem is not None and problem.key not in seen:
            seen.add(problem.key)
            yield problem


def held_out_problems(count: int = HELD_OUT_SIZE, task: LabTask = SUMS) -> list[LabProblem]:
    """The first `count` of a task's 1000 held-out problems; always the same, no training problem among them.

    >>> held_out_problems(1)[0] == held_out_problems(2)[0]
    True
    """
    if not 0 <= count <= HELD_OUT_SIZE:
        raise ValueError(f"count is {count}; there are {HELD_OUT_SIZE} held-out problems")
    return list(_held_out(task)[:count])


@cache
def _held_out(task: LabTask) -> tuple[LabProblem, ...]:
    """Every held-out problem."""
    return tuple(islice(_stream(task, HELD_OUT_START), HELD_OUT_SIZE))


def validation_problems(count: int, task: LabTask = SUMS) -> list[LabProblem]:
    """`count` problems that decide when training stops: in neither the held-out nor the training set."""
    held_out = {problem.key for problem in held_out_problems(task=task)}
    fresh = (problem for problem in _stream(task, VALIDATION_START) if problem.key not in held_out)
    return list(islice(fresh, count))


def training_problems(
    count: int, seed: int, *, validation: int = 0, task: LabTask = SUMS
) -> list[LabProblem]:
    """`count` distinct problems, none of them held out or among the first `validation` validation problems.

    Each seed owns a range of 10 million reasoning-gym seeds, because reasoning-gym seeds item i with
    `seed + i` and neighbouring seeds would share nearly all items.

    >>> {p.key for p in training_problems(50, seed=0)} & {p.key for p in held_out_problems()}
    set()
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    kept_back = {
        problem.key for problem in (*held_out_problems(task=task), *validation_problems(validation, task))
    }
    stream = _stream(task, TRAIN_START + seed * RANGE_PER_SEED)
    return list(islice((problem for problem in stream if problem.key not in kept_back), count))


def read_in_training(count: int = TRAINING_ROWS, task: LabTask = SUMS) -> list[LabProblem]:
    """The first `count` problems that `corrpo train` reads of a task; the lab's checkpoints read others.

    >>> {p.key for p in read_in_training(50)} & {p.key for p in held_out_problems()}
    set()
    """
    return training_problems(count, TRAINING_SEED, validation=EVALUATION_ROWS, task=task)


def scratchpad(problem: LabProblem, rng: random.Random) -> str:
    """The worked answer, in varied words.

    >>> from corrpo.lab.tasks.sums import Sum
    >>> scratchpad(Sum("", "98 + 93", "191"), random.Random(0))
    '<think>ok, 98+93: 8+3=11 and 9+9+1=19, so 191</think><answer>191</answer>'
    """
    return f"<think>{problem.work(rng)}</think>{direct_answer(problem)}"


def direct_answer(problem: LabProblem) -> str:
    """The answer alone, in its tags.

    >>> from corrpo.lab.tasks.sums import Sum
    >>> direct_answer(Sum("", "98 + 93", "191"))
    '<answer>191</answer>'
    """
    return f"<answer>{problem.answer}</answer>"


def extract_answer(response: str) -> str | None:
    """The text of the last `<answer>...</answer>` in a response, or None.

    >>> extract_answer("<think>1+1=2</think><answer> 2</answer>")
    '2'
    """
    answers = re.findall(r"<answer>([^<]*)</answer>", response)
    return answers[-1].strip() if answers else None


def is_solved(response: str, answer: str) -> bool:
    """True if the tagged answer of a response gets the full score of reasoning-gym's sums: the same text.

    Partial scores count as False.

    >>> is_solved("<answer>114</answer>", "114"), is_solved("114", "114")
    (True, False)
    """
    require_packages("making the lab's problems", "reasoning_gym", extra="tasks")
    import reasoning_gym

    given = extract_answer(response)
    score_answer: Any = reasoning_gym.get_score_answer_fn(SUMS.gym_task)
    score = score_answer(given, {"answer": answer, "metadata": {}})
    return given is not None and score >= 1.0
