"""The final answer in a response, and two plain answers compared."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corrpo.answers.comparing import plain_number
from corrpo.answers.reading import boxed_answer, final_answer, response_texts
from corrpo.errors import BadInputError


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>98+93</think><answer>191</answer>", "191"),
        ("<answer>1</answer> wait, <answer>2</answer>", "2"),
        (r"<answer>1</answer> and \boxed{2}", "1"),
        ("<answer>1</answer> and <answer>2", "1"),
        ("<answer><answer>1</answer></answer>", "1"),
        ("</answer>1<answer>", None),
        (r"\boxed{1}, no: \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}} and \frac{3}{4}", r"\frac{1}{2}"),
        (r"\boxed{\{1, \frac{1}{\sqrt{2}}\}}", r"\{1, \frac{1}{\sqrt{2}}\}"),
        (r"\boxed {3} } \boxed{4", "3"),
        (r"{ \boxed{5} ", "5"),
        (r"\boxed{\boxed{6}}", "6"),
        ("191", None),
        ("", None),
    ],
)
def test_where_the_answer_of_a_response_is(text, answer):
    assert final_answer(text) == answer


@given(st.recursive(st.sampled_from(["x", r"\{", r"\\", r"\}"]), lambda inner: inner.map("{{{}}}".format)))
def test_braces_in_a_box_are_balanced(inside):
    assert boxed_answer(rf"so \boxed{{{inside}}} }} {{") == inside


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4), st.decimals(allow_nan=False, places=2))
def test_plain_numbers_are_equal_when_their_values_are(one, other):
    if other.is_finite():
        texts = f"{one:f}", f"{other:f}"
        assert (plain_number(texts[0]) == plain_number(texts[1])) == (one == other)


def test_a_completion_of_another_form():
    with pytest.raises(BadInputError, match=r"completion 1 of 2: expected text as the content .* 17 \(int\)"):
        response_texts(["", [{"role": "assistant", "content": 17}]])
