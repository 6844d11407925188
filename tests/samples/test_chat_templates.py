"""Chat templates as transformers renders them, and hostile ones within limits of time, memory and length."""

import pytest

from chat_templates import AS_ASKED, CLOSES, DROPS_THINKING, OPENS, OPENS_ALWAYS
from corrpo.errors import BadInputError
from corrpo.lab.tokenizer import CHAT_TEMPLATE
from corrpo.samples import as_samples, chat_templates, encode_prompt
from corrpo.samples.chat_templates import render_chat
from corrpo.samples.encoding import TooLongError, encode_response, longest_token

QUESTION = [{"role": "user", "content": " What is 2 + 2? "}]
BEGUN = [*QUESTION, {"role": "assistant", "content": "<think>2 + 2 "}]
MASKED = (
    "{% for message in messages %}{% generation %}{{ message.content | trim }}{% endgeneration %}"
    "{% if loop.last %}{% break %}{% endif %}{% endfor %}{{ eos_token }}{{ messages | tojson(indent=1) }}"
)


@pytest.mark.parametrize(
    "template", [CHAT_TEMPLATE, OPENS, CLOSES, OPENS_ALWAYS, AS_ASKED, DROPS_THINKING, MASKED]
)
@pytest.mark.parametrize("messages", [QUESTION, BEGUN])
def test_a_chat_is_what_transformers_makes_of_it(lab_tokenizer, template, messages):
    lab_tokenizer.chat_template = template
    continued = messages is BEGUN
    expected = lab_tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=not continued, continue_final_message=continued
    )
    assert render_chat(lab_tokenizer, messages, continued=continued) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "longer than 1 s"),
        ("{{ 9 ** (9 ** 9) }}", "longer than 1 s"),
        ("{{ 'a' * 10 ** 11 }}", "more memory than it may have"),
        ("{{ 'a' * 10 ** 8 }}", "more than 67,108,864 characters"),
        ("{{ messages[0].missing.more }}", "refuses the prompt: .*has no attribute"),
        ("{{ '\\ud800' }}", "holds a lone surrogate at character 0"),
    ],
)
def test_a_hostile_template_is_ended_and_the_next_chat_is_rendered(
    lab_tokenizer, template, message, monkeypatch
):
    (sample,) = as_samples([{"prompt": QUESTION}])
    assert encode_prompt(sample, lab_tokenizer)
    before, lab_tokenizer.chat_template = lab_tokenizer.chat_template, template
    with monkeypatch.context() as impatient:
        if "longer" in message:
            impatient.setattr(chat_templates._renderer(), "time_limit", 1.0)
        with pytest.raises(BadInputError, match=f"sample 0: .*the chat template.* {message}"):
            encode_prompt(sample, lab_tokenizer)
    lab_tokenizer.chat_template = before
    assert encode_prompt(sample, lab_tokenizer)


def test_a_text_that_cannot_fit_is_refused_before_it_is_tokenized(lab_tokenizer):
    longest = longest_token(lab_tokenizer)
    assert longest == max(len(lab_tokenizer.decode([token])) for token in range(len(lab_tokenizer)))
    text, chat = as_samples(
        [{"prompt": "a" * 101 * longest}, {"prompt": [{"role": "user", "content": "a" * 9999}]}]
    )
    with pytest.raises(TooLongError, match=rf"sample 0: the prompt has .* at most {100 * longest:,}"):
        encode_prompt(text, lab_tokenizer, "plain", 100)
    with pytest.raises(TooLongError, match="sample 1: the prompt has 10,003 characters; there is room for "):
        encode_prompt(chat, lab_tokenizer, "auto", 9)
    (answered,) = as_samples([{"prompt": "a", "response": "b" * 9999}])
    with pytest.raises(TooLongError, match="sample 0: the response has 9,999 characters"):
        encode_response(answered, lab_tokenizer, 9)


def test_a_template_that_makes_a_text_too_long_is_refused_before_it_is_tokenized(lab_tokenizer):
    lab_tokenizer.chat_template = "{{ 'a' * 100000 }}"
    (sample,) = as_samples([{"prompt": QUESTION}])
    with pytest.raises(TooLongError, match="sample 0: the prompt in the chat template has 100,000 char"):
        encode_prompt(sample, lab_tokenizer, "auto", 100)
