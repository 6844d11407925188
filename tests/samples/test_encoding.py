"""Prompt and response as one sequence: chats that the assistant began, templates, and appended tokens."""

import pytest

from chat_templates import CLOSES, DROPS_THINKING, OPENS, OPENS_ALWAYS, ending_tokenizer
from corrpo.errors import BadInputError
from corrpo.evaluation.scored_generations import encoded_prompt
from corrpo.evaluation.suites.suite import Problem, Suite
from corrpo.lab.tokenizer import ASSISTANT, CHAT_TEMPLATE, EOS, USER
from corrpo.measurement.measure_tasks import encode_sample
from corrpo.measurement.options import MeasureOptions
from corrpo.models.generation.backends.transformers import TransformersEngine
from corrpo.monitor.monitor import Monitor
from corrpo.samples import appended_tokens, as_samples, encode_prompt, encode_response

QUESTION = [{"role": "user", "content": "17 + 25?"}]
BEGUN = [*QUESTION, {"role": "assistant", "content": "<think>17+25 "}]
TEMPLATES = {"lab": CHAT_TEMPLATE, "opens": OPENS, "closes": CLOSES, "opens always": OPENS_ALWAYS}


def encoded(prompt, tokenizer, template="auto"):
    (sample,) = as_samples([{"prompt": prompt}])
    return tokenizer.decode(encode_prompt(sample, tokenizer, template))


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES)
def test_a_chat_that_the_assistant_began_is_continued(template, lab_tokenizer):
    lab_tokenizer.chat_template = template
    before = f"{USER}17 + 25?{ASSISTANT}"
    assert encoded(BEGUN, lab_tokenizer) == f"{before}<think>17+25 "
    assert encoded([*BEGUN, *QUESTION, *BEGUN[1:]], lab_tokenizer).endswith(f"{EOS}{before}<think>17+25 ")
    assert encoded([*QUESTION, {"role": "assistant", "content": ""}], lab_tokenizer) == before
    assert BEGUN[-1]["content"] == "<think>17+25 "
    assert encoded(QUESTION, lab_tokenizer).startswith(before)


def test_a_template_that_leaves_out_what_is_to_be_continued_is_refused(lab_tokenizer):
    lab_tokenizer.chat_template = DROPS_THINKING
    chat = [*QUESTION, {"role": "assistant", "content": "<think>17+25=42</think> so"}]
    with pytest.raises(BadInputError, match="sample 0: the chat template refuses .*final message"):
        encoded(chat, lab_tokenizer)


def test_it_is_continued_alike_by_measure_evaluate_and_monitor(lab_model, lab_tokenizer):
    expected = f"{USER}17 + 25?{ASSISTANT}<think>17+25 "
    (sample,) = as_samples([{"prompt": BEGUN}])
    work = encode_sample(sample, lab_model, lab_tokenizer, MeasureOptions())
    suite = Suite("chats", "chats", None, (Problem("0", BEGUN, "42"),), "exact", "{problem}")
    engine = TransformersEngine(lab_model, lab_tokenizer)
    asked = encoded_prompt(suite.problems[0], suite, {"prompt": "{problem}", "template": "auto"}, engine)
    watched = Monitor(lab_model, lab_tokenizer).prompt_ids(BEGUN)
    assert [lab_tokenizer.decode(ids) for ids in (work.prompt_ids, asked, watched)] == [expected] * 3


@pytest.mark.parametrize("template", ["plain", "chat"])
def test_no_end_of_sequence_stands_between_prompt_and_response(template):
    tokenizer = ending_tokenizer()
    assert tokenizer.decode(tokenizer("2 + 2 =").input_ids) == f"{USER}2 + 2 ={EOS}"
    (sample,) = as_samples([{"prompt": "2 + 2 =", "response": " 4."}])
    ids = encode_prompt(sample, tokenizer, template) + encode_response(sample, tokenizer)
    middle = ASSISTANT if template == "chat" else ""
    assert tokenizer.decode(ids) == f"{USER}2 + 2 ={middle} 4."


@pytest.mark.parametrize("prompt", ["a", "aa", EOS, USER, f"1{EOS}"])
def test_tokens_of_the_prompt_itself_stay(prompt):
    tokenizer = ending_tokenizer()
    assert encoded(prompt, tokenizer, "plain") == f"{USER}{prompt}"
    assert appended_tokens(tokenizer) == [tokenizer.eos_token_id]


def test_the_labs_tokenizer_appends_nothing(lab_tokenizer):
    assert appended_tokens(lab_tokenizer) == []
    assert encoded("a", lab_tokenizer, "plain") == "a"
