"""The task reward "format": thinking in its tags, then the answer in its tags, and nothing else?"""

import re
from collections.abc import Sequence
from typing import Any

from corrpo.answers.reading import Completion, message_text, response_texts
from corrpo.errors import BadInputError
from corrpo.rewards.task_rewards import TaskReward

TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
_TAG = re.compile("(" + "|".join(TAGS) + ")")


def has_think_answer_format(text: str) -> bool:
    """Whether `text` is `<think>...</think>` and then `<answer>...</answer>`.

    Each tag stands there once and in this order, with nothing but whitespace before, between and after the
    two. What is inside them is not looked at, and may be empty.

    >>> has_think_answer_format("<think>8+3=11</think><answer>11</answer>")
    True
    >>> has_think_answer_format("<think>8+3=11</think> so <answer>11</answer>")
    False
    """
    pieces = _TAG.split(text)
    return pieces[1::2] == TAGS and not any(outside.strip() for outside in pieces[::4])


def think_answer_format(
    completions: Sequence[Completion], prompts: Sequence[Completion] | None = None, **_: Any
) -> list[float | None]:
    """1.0 for each completion that `has_think_answer_format`, 0.0 for each other one.

    A prompt whose text ends with `<think>` (whitespace may follow) has opened the thinking: the completion
    then goes on without that tag, and one that opens it again has it twice, which scores 0.0. Of chat
    messages it is the last one's content that counts, so a `<think>` that only the chat template writes
    is not seen: render such prompts to text, or end them with an assistant message "<think>".

    Args:
        completions: strings, or lists of chat messages.
        prompts: their prompts in either form; None where none has opened the thinking.

    Raises:
        BadInputError: a completion or prompt of another form, or another number of prompts.

    >>> think_answer_format(["<think>1+1</think><answer>2</answer>", "2"])
    [1.0, 0.0]
    >>> think_answer_format(["1+1</think><answer>2</answer>"], prompts=["What is 1+1? <think>"])
    [1.0]
    """
    if prompts is not None and len(prompts) != len(completions):
        raise BadInputError(
            f"{len(prompts)} prompts for {len(completions)} completions; expected one for each"
        )
    has_opened = [_opens_thinking(prompt) for prompt in prompts or [""] * len(completions)]
    return [
        float(has_think_answer_format("<think>" + text if open_ else text))
        for text, open_ in zip(response_texts(completions), has_opened, strict=True)
    ]


def _opens_thinking(prompt: Completion) -> bool:
    return message_text(prompt).rstrip().endswith("<think>")


# TRL shows a reward function as rewards/<__name__>/mean: the short name is the one to read on a dashboard.
think_answer_format.__name__ = "format"
TASK_REWARD = TaskReward("thinking in its tags, then the answer in its tags", think_answer_format, False)
