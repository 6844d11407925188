"""Generations of `corrpo evaluate` as training data: what is read, what is paired, what is refused."""

import json

import pytest
from datasets import Dataset

from corrpo.errors import BadInputError
from corrpo.training.data import Source, load_preferences, load_traces
from corrpo.training.data_from_generations import are_generations, preference_pairs, right_responses
from training.verdicts import generation, of_sums, write_generations

ROWS = [
    generation("a", "two", correct=True),
    generation("a", "three", correct=False),
    generation("a", "two", correct=True),
    generation("a", "2", correct=True),
    generation("a", "four", correct=False),
    generation("a", "five", correct=False),
    generation("b", "two", correct=True),
    generation("c", "6", correct=False),
    generation("d", "2", correct=True, finished=False),
    generation("d", " ", correct=False),
]


def test_right_responses_are_read_once_for_each_problem_if_they_ended():
    result = right_responses(Dataset.from_list(ROWS), chat=False, where="rows")
    assert [row["completion"] for row in result] == ["two", "2", "two"]
    assert set(result["prompt"]) == {"What is 1 + 1?"}


def test_a_pair_is_a_right_and_a_wrong_response_to_one_problem_and_none_is_used_twice():
    result = preference_pairs(Dataset.from_list(ROWS), chat=False, where="rows")
    assert [(row["chosen"], row["rejected"]) for row in result] == [("two", "three"), ("2", "four")]


def test_with_a_chat_template_text_and_messages_become_chats():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi."}]
    rows = [
        generation(problem, text, correct=right, prompt=prompt)
        for problem, prompt in (("a", "What is 1 + 1?"), ("b", json.dumps(messages)))
        for text, right in (("2", True), ("3", False))
    ]
    result = preference_pairs(Dataset.from_list(rows), chat=True, where="rows")
    assert result[0]["prompt"] == [{"role": "user", "content": "What is 1 + 1?"}]
    assert result[1]["prompt"] == messages
    assert result[1]["rejected"] == [{"role": "assistant", "content": "3"}]


def test_the_loaders_read_a_generations_file_by_its_columns(tmp_path):
    path = write_generations(tmp_path / "generations.parquet", of_sums(3))
    source = Source(str(path), "train")
    assert load_traces(source, chat=True).column_names == ["prompt", "completion"]
    assert len(load_preferences(source, chat=True)) == 3
    assert not are_generations(Dataset.from_list([{"prompt": "a", "completion": "b"}]))


def test_pairs_from_elsewhere_are_read_as_they_stand(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": "c", "score": 1}\n')
    assert load_preferences(Source(str(path), "train"), chat=False)[0] == {
        "prompt": "a",
        "chosen": "b",
        "rejected": "c",
    }
    path.write_text('{"prompt": "a", "chosen": "b", "rejected": " "}\n')
    with pytest.raises(BadInputError, match="'rejected', row 0"):
        load_preferences(Source(str(path), "train"), chat=False)


@pytest.mark.parametrize(
    ("rows", "load", "message"),
    [
        ([ROWS[1]], load_traces, "none of the 1 generations is right"),
        ([ROWS[0]], load_preferences, "no problem has a right and a wrong response.*--n"),
        ([ROWS[0], ROWS[7]], load_preferences, "no problem has a right and a wrong response"),
    ],
)
def test_generations_that_teach_nothing_are_refused(rows, load, message, tmp_path):
    path = write_generations(tmp_path / "generations.parquet", rows)
    with pytest.raises(BadInputError, match=message):
        load(Source(str(path), "train"), chat=False)


def test_sums_without_wrong_responses_and_other_columns_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="no pairs to choose in"):
        load_preferences(Source("lab:sums", "train"), chat=True)
    path = tmp_path / "text.jsonl"
    path.write_text('{"text": "a"}\n')
    with pytest.raises(BadInputError, match="DPO reads prompt, chosen, rejected"):
        load_preferences(Source(str(path), "train"), chat=True)
