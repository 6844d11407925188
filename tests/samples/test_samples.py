"""Samples from files and from Python: what is read, and what a bad line gives."""

import gzip
import json

import polars as pl
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given, settings
from hypothesis import strategies as st

from corrpo.errors import BadInputError
from corrpo.samples import (
    SampleOptions,
    as_samples,
    describe_samples,
    encode_prompt,
    encode_response,
    load_samples,
    samples_digest,
)

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
        ('{"prompt": "a", "response": 5}', 'line 2: "response" must be text.*not int'),
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


def test_a_missing_file_and_a_folder_without_a_dataset(tmp_path):
    for name in ("none.jsonl", "none.parquet", "none.json.gz"):
        with pytest.raises(BadInputError, match=f"cannot read samples from {tmp_path / name}: No such file"):
            load_samples(tmp_path / name)
    with pytest.raises(BadInputError, match=f"{tmp_path} is a folder without a dataset in it"):
        load_samples(tmp_path)


QUESTION = {"question": "1 + 1 =", "answer": 2}


@pytest.mark.parametrize(
    ("record", "prompt", "response", "answer"),
    [
        (QUESTION, "1 + 1 =", None, "2"),
        ({"problem": "1 + 1 =", "solution": "2"}, "1 + 1 =", None, "2"),
        ({"prompt": "1 + 1 =", "completion": " 2."}, "1 + 1 =", " 2.", None),
        ({"instruction": "Add 1 and 1.", "response": "2"}, "Add 1 and 1.", "2", None),
        (
            {
                "prompt": [{"role": "user", "content": "1 + 1 ="}],
                "completion": [{"role": "assistant", "content": "2"}],
            },
            [{"role": "user", "content": "1 + 1 ="}],
            "2",
            None,
        ),
        (
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]},
            [{"role": "user", "content": "Hi"}],
            "Hello",
            None,
        ),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
            [{"role": "user", "content": "Hi"}],
            "Hello",
            None,
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}],
                    }
                ]
            },
            [{"role": "user", "content": "Hi"}],
            None,
            None,
        ),
        ({"prompt": None, "question": "Hi", "response": ""}, "Hi", "", None),
    ],
    ids=str,
)
def test_the_forms_that_people_keep_samples_in(record, prompt, response, answer):
    (sample,) = as_samples([record])
    assert (sample.prompt, sample.response, sample.answer) == (prompt, response, answer)


@pytest.mark.parametrize(
    "form", ["jsonl", "json", "jsonl.gz", "json.gz", "csv", "csv.gz", "parquet", "folder"]
)
def test_every_kind_of_file_gives_the_same_samples(form, tmp_path):
    rows = [{"id": "a", **QUESTION}, {"id": "b", "question": "2 + 2 =", "answer": 4}]
    path = tmp_path / f"samples.{form}"
    if form == "folder":
        Dataset.from_list(rows).save_to_disk(str(path))
    elif form == "parquet":
        pl.DataFrame(rows).write_parquet(path)
    elif form.startswith("csv"):
        content = pl.DataFrame(rows).write_csv().encode()
        path.write_bytes(gzip.compress(content) if form.endswith("gz") else content)
    else:
        text = json.dumps(rows, indent=1) if form.startswith("json.") or form == "json" else ""
        content = (text or "\n".join(map(json.dumps, rows))).encode()
        path.write_bytes(gzip.compress(content) if form.endswith("gz") else content)
    assert [(s.id, s.prompt, s.answer) for s in load_samples(path)] == [
        ("a", "1 + 1 =", "2"),
        ("b", "2 + 2 =", "4"),
    ]
    assert as_samples(Dataset.from_list(rows)) == as_samples(rows)


def test_a_field_of_csv_is_the_text_that_stands_there(tmp_path):
    path = tmp_path / "samples.csv"
    rows = ["a,None,16677181699666569", "b,,", "", '"c ""d""\ne",007,1.50', "f,NA", f"g,{'h' * 200_000},nan"]
    path.write_text("\r\n".join(["\ufeffprompt,response,answer", *rows]), newline="")
    assert [(s.prompt, s.response, s.answer) for s in load_samples(path)] == [
        ("a", "None", "16677181699666569"),
        ("b", None, None),
        ('c "d"\ne', "007", "1.50"),
        ("f", "NA", None),
        ("g", "h" * 200_000, "nan"),
    ]
    assert [sample.where.rpartition(" ")[2] for sample in load_samples(path)] == ["2", "3", "5", "7", "8"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"prompt,answer\n1, 2 and 3,4\n",
            "line 2: 3 fields for the 2 columns .*double quotes",
        ),
        (b'prompt\n"a\n', "line 2 is not valid CSV: unexpected end of data"),
        (b"prompt,prompt\na,b\n", "line 1: two columns are called 'prompt'; rename one"),
        (b"prompt\n\xff\xfe\n", "is not UTF-8 text"),
        (b"prompt\n", "holds no samples"),
    ],
)
def test_a_file_that_is_no_csv_is_refused(content, words, tmp_path):
    path = tmp_path / "samples.csv"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=words):
        load_samples(path)


def test_an_array_of_json_may_begin_after_blank_lines(tmp_path):
    (sample,) = load_samples(write(tmp_path, "", " ", f"[{json.dumps(GOOD)}]"))
    assert sample.id == "sum"


def test_columns_of_other_names_and_fewer_samples():
    rows = [{"prompt": "not this", "ask": f"{n} + 1 =", "gold": n + 1, "said": "."} for n in range(5)]
    options = SampleOptions(prompt_column="ask", answer_column="gold", response_column="said", limit=2)
    first, second = as_samples(rows, options)
    assert (first.prompt, first.response, first.answer, second.prompt) == ("0 + 1 =", ".", "1", "1 + 1 =")
    described = "2 samples: prompt from ask, response from said, answer from gold"
    assert describe_samples([first, second]) == described
    with pytest.raises(
        BadInputError, match="sample 0: there is no prompt column 'aks', only 'prompt', 'ask'.*did"
    ):
        as_samples(rows, SampleOptions(prompt_column="aks"))
    with pytest.raises(BadInputError, match="limit=0"):
        SampleOptions(limit=0)


def test_texts_are_prompts_and_a_dict_of_datasets_needs_a_choice(tmp_path):
    assert [sample.prompt for sample in as_samples(["Hi", "Ho"])] == ["Hi", "Ho"]
    splits = DatasetDict(train=Dataset.from_list([QUESTION]), test=Dataset.from_list([QUESTION]))
    with pytest.raises(BadInputError, match="a DatasetDict holds the splits train, test"):
        as_samples(splits)
    splits.save_to_disk(str(tmp_path / "both"))
    with pytest.raises(BadInputError, match="holds the splits train, test: give the folder of one"):
        load_samples(tmp_path / "both")
    assert load_samples(tmp_path / "both" / "test")[0].prompt == "1 + 1 ="


def test_an_image_in_a_prompt_is_refused_and_files_of_other_kinds_are_named(tmp_path):
    with pytest.raises(
        BadInputError, match="sample 0: message 0.*parts of type image; only text is measured"
    ):
        as_samples([{"messages": [{"role": "user", "content": [{"type": "image"}]}]}])
    for name in ("broken.parquet", "broken.jsonl.gz"):
        (tmp_path / name).write_bytes(b"neither of them")
        with pytest.raises(BadInputError, match=f"cannot read samples from .*{name}"):
            load_samples(tmp_path / name)


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


def test_an_empty_response_has_no_tokens(lab_tokenizer):
    (sample,) = as_samples([{"prompt": "Hi", "response": ""}])
    assert encode_response(sample, lab_tokenizer) == []
