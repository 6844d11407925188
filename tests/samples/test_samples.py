"""Samples from files and from Python: what is read, and what a bad line gives."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corrpo.errors import BadInputError
from corrpo.samples import as_samples, encode_prompt, encode_response, load_samples, samples_digest

GOOD = {"prompt": "1 + 1 =", "response": " 2.", "answer": 2, "id": "sum"}


def write(tmp_path, *lines):
    path = tmp_path / "samples.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return path


def test_a_file_of_samples(tmp_path):
    chat = {"prompt": [{"role": "user", "content": "Hi"}], "colour": "ignored"}
    path = write(tmp_path, "\ufeff" + json.dumps(GOOD), "", json.dumps(chat) + "\r")
    first, second = load_samples(path)
    assert (first.id, first.prompt, first.response, first.answer) == ("sum", "1 + 1 =", " 2.", "2")
    assert (second.id, second.prompt, second.response) == ("1", chat["prompt"], None)
    assert second.where == f"{path} line 3"
    assert load_samples(path) == as_samples(path) == as_samples([first, second])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is not valid JSON"),
        (b"\xff\xfe", "line 2 is not UTF-8"),
        ('"text"', "line 2: expected an object with a prompt, not str"),
        ('{"response": "x y"}', 'line 2: "prompt" is missing'),
        ('{"prompt": ""}', 'line 2: "prompt" is empty'),
        ('{"prompt": 3}', 'line 2: "prompt" must be text or a list'),
        ('{"prompt": []}', "at least one"),
        ('{"prompt": [{"role": "user"}]}', 'line 2: message 0 of "prompt" needs'),
        ('{"prompt": "a", "response": ""}', 'line 2: "response" is empty'),
        ('{"prompt": "a", "response": 5}', 'line 2: "response" must be text, not int'),
        ('{"prompt": "a", "answer": []}', 'line 2: "answer" must be text or a number'),
        ('{"prompt": "a", "id": 1.5}', 'line 2: "id" must be text or a whole number'),
        ('{"prompt": "a\\ud800"}', "line 2.*lone surrogate at character 1"),
        ('{"prompt": "a", "id": "sum"}', "line 2: the id 'sum' is that of .*line 1 too"),
        ("[" * 100_000, "line 2 is not valid JSON"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path, line, words):
    with pytest.raises(BadInputError, match=words):
        load_samples(write(tmp_path, json.dumps(GOOD), line))


@pytest.mark.parametrize(("content", "words"), [(b"", "holds no samples"), (b"\n\n", "holds no samples")])
def test_an_empty_file(tmp_path, content, words):
    with pytest.raises(BadInputError, match=words):
        load_samples(write(tmp_path, content))
    with pytest.raises(BadInputError, match="no samples were given"):
        as_samples([])


def test_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(BadInputError, match=f"cannot read samples from {path}"):
            load_samples(path)


def assert_read_or_refused_by_name(path):
    try:
        return load_samples(path)
    except BadInputError as refused:
        message = str(refused)
    assert str(path) in message
    return None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(["prompt", "response", "answer", "id", "x"]), JSON)


@given(st.lists(FIELDS | JSON, max_size=4))
@settings(max_examples=200, deadline=None)
def test_whatever_json_is_given_is_read_or_refused_by_name(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("fuzz") / "s.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    samples = assert_read_or_refused_by_name(path)
    if samples is not None:
        assert len(samples) == len(records)
        assert len({sample.id for sample in samples}) == len(samples)
        assert all(sample.prompt for sample in samples)


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_whatever_bytes_are_given_are_read_or_refused_by_name(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("fuzz") / "s.jsonl"
    path.write_bytes(content)
    assert_read_or_refused_by_name(path)


def test_the_digest_is_of_what_was_asked():
    one, other = as_samples([GOOD]), as_samples([{**GOOD, "answer": "3"}])
    assert samples_digest(one) == samples_digest(as_samples([GOOD]))
    assert samples_digest(one) != samples_digest(other)


def test_text_and_chat_prompts_become_tokens(lab_tokenizer):
    text, chat = as_samples([{"prompt": "Hi"}, {"prompt": [{"role": "user", "content": "Hi"}]}])
    plain = encode_prompt(text, lab_tokenizer, "plain")
    assert lab_tokenizer.decode(plain) == "Hi"
    as_chat = encode_prompt(chat, lab_tokenizer)
    assert len(as_chat) > len(plain)
    assert encode_prompt(text, lab_tokenizer, "auto") == encode_prompt(text, lab_tokenizer, "chat") == as_chat
    assert encode_prompt(chat, lab_tokenizer, "plain") == as_chat


def test_without_a_chat_template_text_is_plain_and_a_chat_is_refused(lab_tokenizer):
    text, chat = as_samples([{"prompt": "Hi"}, {"prompt": [{"role": "user", "content": "Hi"}]}])
    lab_tokenizer.chat_template = None
    assert lab_tokenizer.decode(encode_prompt(text, lab_tokenizer)) == "Hi"
    for sample, template in ((chat, "auto"), (text, "chat")):
        with pytest.raises(BadInputError, match=r"sample .*no chat template"):
            encode_prompt(sample, lab_tokenizer, template)


def test_a_template_that_refuses_is_reported_with_the_sample(lab_tokenizer):
    lab_tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    (sample,) = as_samples([{"prompt": [{"role": "user", "content": "Hi"}]}])
    with pytest.raises(BadInputError, match="sample 0: the chat template refuses.*roles must alternate"):
        encode_prompt(sample, lab_tokenizer)


def test_a_response_needs_two_tokens(lab_tokenizer):
    (sample,) = as_samples([{"prompt": "Hi", "response": "x"}])
    with pytest.raises(BadInputError, match=r"sample 0: the response 'x' has 1 token"):
        encode_response(sample, lab_tokenizer)
