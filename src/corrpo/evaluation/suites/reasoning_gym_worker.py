"""What a scorer of reasoning-gym is asked, in a process of `corrpo.answers.verifier_process`."""

import os
from functools import cache
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each of its threads would take of the address space

import reasoning_gym


@cache
def _dataset(task: str) -> Any:
    return reasoning_gym.create_dataset(task, size=1, seed=0)


def respond(task: str, answer: str | None, entry: dict[str, Any]) -> tuple[str, str]:
    """The verdict of a task's scorer: right at its full score, wrong, or error with what it raised.

    Without an answer the task is made ready, which may take longer than a verdict.
    """
    try:
        if answer is None:
            return "ready", str(_dataset(task))
        score = float(_dataset(task).score_answer(answer=answer, entry=entry))
    except MemoryError:
        raise
    except Exception as error:  # scorers of tasks raise what they like
        return "error", f"the scorer of {task} fails on {answer!r:.80}: {error!r:.200}"
    return ("right" if score >= 1.0 else "wrong"), ""
