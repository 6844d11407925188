"""The task reward "format": thinking in its tags, then the answer in its tags, and nothing else?"""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from corrpo.answers.reading import Completion, response_texts
from corrpo.errors import BadInputError
from corrpo.rewards.task_rewards import RewardFunction, TaskReward

TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
_BEGUN = re.compile(r"<think>(?:\s*</think>)?\s*$")
_log = logging.getLogger(__name__)
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

    What is judged is the assistant's turn: the completion, after a `<think>` or `<think></think>` that the
    prompt's text ends with (whitespace may follow). A completion that opens the thinking again has the tag
    twice, which scores 0.0.

    How the chat template ends a prompt of chat messages is not known here: such a prompt counts as one that
    opens nothing, and completions that lack no more than a `<think>` are counted in the log.
    `format_after_template` knows it.

    Args:
        completions: strings, or lists of chat messages.
        prompts: their prompts in either form; None where none has opened the thinking.

    Raises:
        BadInputError: a completion of another form, or another number of prompts.

    >>> think_answer_format(["<think>1+1</think><answer>2</answer>", "2"])
    [1.0, 0.0]
    >>> think_answer_format(["1+1</think><answer>2</answer>"], prompts=["What is 1+1? <think>"])
    [1.0]
    """
    if prompts is None:
        prompts = [""] * len(completions)
    if len(prompts) != len(completions):
        raise BadInputError(
            f"{len(prompts)} prompts for {len(completions)} completions; expected one for each"
        )
    texts = response_texts(completions)
    _warn_of_templates(texts, prompts)
    return [
        float(has_think_answer_format(_begun(prompt) + text))
        for text, prompt in zip(texts, prompts, strict=True)
    ]


def format_after_template(
    tokenizer: Any, chat_template_kwargs: Mapping[str, Any] | None = None
) -> RewardFunction:
    """`think_answer_format` for chat prompts: a tag that the chat template opens counts as written.

    Args:
        tokenizer: of the policy, with a chat template.
        chat_template_kwargs: what the trainer's config gives the template.

    Returns:
        A reward function. It renders each prompt as TRL does, with the template's start of a new turn.
    """

    def after_template(
        completions: Sequence[Completion], prompts: Sequence[Completion], **_: Any
    ) -> list[float | None]:
        return think_answer_format(completions, prompts=[rendered(prompt) for prompt in prompts])

    def rendered(prompt: Completion) -> str:
        if isinstance(prompt, str):
            return prompt
        return tokenizer.apply_chat_template(
            prompt, add_generation_prompt=True, tokenize=False, **(chat_template_kwargs or {})
        )

    after_template.__name__ = think_answer_format.__name__
    return after_template


def _begun(prompt: Completion) -> str:
    """The tags of the assistant's turn that a prompt's text ends with."""
    begun = _BEGUN.search(prompt) if isinstance(prompt, str) else None
    return begun.group() if begun else ""


def _warn_of_templates(texts: Sequence[str], prompts: Sequence[Completion]) -> None:
    lacking = sum(
        not isinstance(prompt, str) and has_think_answer_format("<think>" + text)
        for text, prompt in zip(texts, prompts, strict=True)
    )
    if lacking:
        _log.warning(
            "%d of %d completions lack <think> alone and score 0: if the chat template opens it, use "
            "format_after_template(tokenizer) as the reward",
            lacking,
            len(texts),
        )


# TRL shows a reward function as rewards/<__name__>/mean: the short name is the one to read on a dashboard.
think_answer_format.__name__ = "format"
TASK_REWARD = TaskReward(
    "thinking in its tags, then the answer in its tags",
    think_answer_format,
    needs_answer=False,
    after_template=format_after_template,
)
