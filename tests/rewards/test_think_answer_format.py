"""The format reward and the names of the task rewards."""

import inspect

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chat_templates import AS_ASKED, CLOSES, OPENS, OPENS_ALWAYS
from corrpo.errors import BadInputError
from corrpo.lab.tokenizer import CHAT_TEMPLATE, build_tokenizer
from corrpo.rewards.task_rewards import TASK_REWARDS, find_task_reward
from corrpo.rewards.task_rewards.think_answer_format import (
    TAGS,
    TASK_REWARD,
    has_think_answer_format,
    think_answer_format,
)

WORKED = "<think>ok, 98+93: 8+3=11 and 9+9+1=19, so 191</think><answer>191</answer>"


def chat(text, role="assistant"):
    return [{"role": role, "content": text}]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (WORKED, True),
        ("  <think>\n1+1\n</think>\n\n<answer>\n2\n</answer>\n", True),
        ("<think></think><answer></answer>", True),
        ("<think>a <b> tag of another kind</think><answer>2</answer>", True),
        ("", False),
        ("191", False),
        ("<answer>191</answer>", False),
        ("Sure! " + WORKED, False),
        (WORKED + ".", False),
        ("<think>1+1</think> so <answer>2</answer>", False),
        ("<think>1+1<answer>2</answer></think>", False),
        ("<answer>2</answer><think>1+1</think>", False),
        ("<think>1</think><think>2</think><answer>2</answer>", False),
        (WORKED + "<answer>191</answer>", False),
        ("<think>1+1</think><answer>2", False),
        ("<THINK>1+1</THINK><answer>2</answer>", False),
    ],
)
def test_thinking_then_answer_and_nothing_else(text, good):
    assert has_think_answer_format(text) is good
    assert think_answer_format([text, chat(text)]) == [float(good)] * 2


def test_a_prompt_may_open_the_thinking():
    rest = WORKED.removeprefix("<think>")
    opened, plain = "What is 98 + 93?\n<think>\n", "What is 98 + 93?"
    completions = [rest, rest, WORKED, WORKED]
    assert think_answer_format(completions, prompts=[opened, plain, plain, opened]) == [1.0, 0.0, 1.0, 0.0]
    assert think_answer_format([rest]) == [0.0]
    closed = "What is 98 + 93?\n<think>\n\n</think>\n\n"
    assert think_answer_format(["<answer>191</answer>", WORKED], prompts=[closed, closed]) == [1.0, 0.0]


def test_a_chat_that_ends_with_the_assistant_opens_nothing_as_trl_begins_another_turn(caplog):
    rest = WORKED.removeprefix("<think>")
    prompts = [chat("98 + 93?", "user") + chat("<think>"), chat("<think> first", "user")]
    assert think_answer_format([chat(WORKED), chat(rest)], prompts=prompts) == [1.0, 0.0]
    assert "1 of 2 completions lack <think> alone and score 0: if the chat template" in caplog.text


def rewards_after(template, completions, **keywords):
    tokenizer = build_tokenizer()
    tokenizer.chat_template = template
    prompts = [chat("98 + 93?", "user")] * len(completions)
    reward = TASK_REWARD.function_for(tokenizer, keywords)
    assert reward.__name__ == "format"
    return reward(completions=[chat(text) for text in completions], prompts=prompts, answer=["191"])


@pytest.mark.parametrize(
    ("template", "keywords", "expected"),
    [
        (CHAT_TEMPLATE, {}, [1.0, 0.0, 0.0]),
        (OPENS, {}, [0.0, 1.0, 0.0]),
        (CLOSES, {}, [0.0, 0.0, 1.0]),
        (OPENS_ALWAYS, {}, [0.0, 1.0, 0.0]),
        (AS_ASKED, {}, [1.0, 0.0, 0.0]),
        (AS_ASKED, {"thinking": True}, [0.0, 1.0, 0.0]),
    ],
)
def test_a_completion_is_judged_after_what_the_chat_template_opened(template, keywords, expected):
    completions = [WORKED, WORKED.removeprefix("<think>"), "<answer>191</answer>"]
    assert rewards_after(template, completions, **keywords) == expected


def test_a_text_prompt_is_judged_by_its_end_with_a_tokenizer_too():
    reward = TASK_REWARD.function_for(build_tokenizer(), None)
    assert reward(["1</think><answer>2</answer>"], prompts=["1 + 1? <think>\n"]) == [1.0]
    assert reward(["1</think><answer>2</answer>"], prompts=["1 + 1?"]) == [0.0]


def test_it_takes_what_trl_gives_and_has_the_name_that_trl_shows():
    reward = think_answer_format(
        prompts=["?"], completions=[WORKED], completion_ids=[[1]], answer=["191"], trainer_state=None
    )
    assert reward == [1.0]
    assert [find_task_reward(name).function.__name__ for name in ("exact", "math", "format")] == [
        "accuracy",
        "accuracy",
        "format",
    ]


@given(st.lists(st.sampled_from([*TAGS, "1+1", " "]), max_size=9))
def test_each_tag_stands_once_and_in_order(pieces):
    words = [piece for piece in pieces if piece.strip()]
    tags = [piece for piece in words if piece in TAGS]
    outside = [words[0], words[-1]] != ["<think>", "</answer>"] if words else True
    between = "</think>" in words and words[words.index("</think>") :][1:2] != ["<answer>"]
    assert has_think_answer_format("".join(pieces)) == (tags == TAGS and not outside and not between)


@example("<answer>")
@given(st.text(st.characters(), max_size=200))
def test_any_text_at_all(text):
    assert think_answer_format([text])[0] == 0.0
    once = not any(tag in text for tag in TAGS)
    assert think_answer_format([f"<think>{text}</think><answer>{text}</answer>"]) == [float(once)]


def test_bad_input_is_reported():
    with pytest.raises(BadInputError, match="completion 1 of 2: expected text as the content"):
        think_answer_format([WORKED, [{"role": "assistant", "content": 17}]])
    with pytest.raises(BadInputError, match="1 prompts for 2 completions"):
        think_answer_format([WORKED, WORKED], prompts=["?"])
    with pytest.raises(BadInputError, match="'maths' is unknown; expected one of exact, math, format"):
        find_task_reward("maths")


@pytest.mark.parametrize("name", TASK_REWARDS)
def test_a_task_reward_says_what_it_means(name):
    reward = find_task_reward(name)
    assert reward.meaning
    assert reward.needs_answer == ("answer" in inspect.signature(reward.function).parameters)
