"""Training data: local files, folders and the lab's sums; and what is refused before a model is loaded."""

import json
from pathlib import Path

import datasets
import pytest

from corrpo.errors import BadInputError
from corrpo.evaluation.suites.load_suite import load_suite
from corrpo.lab.problems import held_out_problems, is_solved
from corrpo.lab.tasks import LAB_TASKS
from corrpo.training.data import (
    Source,
    evaluation_source,
    load_preferences,
    load_prompts,
    load_rows,
    load_traces,
    training_source,
)
from corrpo.training.recipe import RecipeArguments

CHAT = [{"role": "user", "content": "1 + 1"}]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def write(tmp_path):
    """Writes rows as JSONL and returns the path."""

    def write(*rows: object) -> str:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return str(path)

    return write


def recipe(dataset: str, **settings) -> RecipeArguments:
    return RecipeArguments(model="lab:qwen2/reasoning", dataset=dataset, **settings)


def prompts(dataset: str, *, chat: bool = True, **settings) -> datasets.Dataset:
    asked = recipe(dataset, **settings)
    return load_prompts(training_source(asked), asked, chat=chat)


def refusal(dataset: str, *, chat: bool = True, **settings) -> str:
    with pytest.raises(BadInputError) as caught:
        prompts(dataset, chat=chat, **settings)
    return str(caught.value)


def test_the_answers_of_worked_solutions_are_read_as_gsm8k_and_math_keep_them(write):
    path = write(
        {"question": "1 + 1", "answer": "1 + 1 = <<1+1=2>>2\n#### 2", "solution": "So $1+1=\\boxed{2}$."},
        {"question": "3,000 + 4", "answer": "It is 3004.\n#### 3,004", "solution": "\\boxed{\\frac{1}{2}}"},
    )
    columns = {"prompt_column": "question", "request": "Solve: {problem}\n"}
    rows = prompts(path, chat=False, **columns)
    assert rows["answer"][:] == ["2", "3,004"]
    assert rows["prompt"][0] == "Solve: 1 + 1\n"
    assert prompts(path, chat=False, answer_column="solution", **columns)["answer"][1] == "\\frac{1}{2}"
    assert [problem.answer for problem in load_suite(path).problems] == ["2", "3,004"]


def test_a_request_without_a_place_for_the_problem_is_refused(write):
    with pytest.raises(BadInputError, match=r"request 'Solve it' must have \{problem\} in it"):
        recipe(write({"prompt": "1 + 1"}), request="Solve it")


def test_text_prompts_become_messages_where_there_is_a_template(write):
    path = write({"prompt": "1 + 1", "answer": 2, "source": "me"}, {"prompt": "2 + 2", "answer": 4})
    assert prompts(path).to_list() == [
        {"prompt": CHAT, "answer": "2"},
        {"prompt": [{"role": "user", "content": "2 + 2"}], "answer": "4"},
    ]
    assert prompts(path, chat=False)["prompt"][:] == ["1 + 1", "2 + 2"]
    assert prompts(path, rewards=["format"]).column_names == ["prompt"]
    assert len(prompts(path, max_samples=1)) == 1


def test_a_system_prompt_comes_first_unless_the_chat_has_one(write):
    own = [{"role": "system", "content": "mine"}, *CHAT]
    path = write({"prompt": CHAT, "answer": "2"}, {"prompt": own, "answer": "2"})
    first, second = prompts(path, system_prompt="think")["prompt"]
    assert first == [{"role": "system", "content": "think"}, *CHAT]
    assert second == own


def test_columns_are_found_by_their_names(write):
    path = write({"problem": "1 + 1", "solution": "2"})
    (row,) = prompts(path, prompt_column="problem", answer_column="solution")
    assert row == {"prompt": CHAT, "answer": "2"}


def test_missing_columns_and_answers_say_what_to_do(write):
    path = write({"problem": "1 + 1", "solution": "2"})
    message = refusal(path)
    assert "has no column 'prompt'" in message
    assert "it has problem, solution" in message
    assert "--prompt_column" in message
    message = refusal(path, prompt_column="problem", rewards=["exact"])
    assert "has no column 'answer'" in message
    assert "the reward 'exact'" in message
    assert "--answer_column" in message


@pytest.mark.parametrize("answer", [None, "", "  ", True])
def test_an_empty_answer_names_its_row(write, answer):
    message = refusal(write({"prompt": "a", "answer": "1"}, {"prompt": "b", "answer": answer}))
    assert "row 1" in message
    assert "fill it in" in message


@pytest.mark.parametrize("prompt", [None, "", [], [{"role": "user"}], 3])
def test_a_prompt_that_is_none_names_its_row(write, prompt):
    assert "row 0: expected text or chat messages" in refusal(write({"prompt": prompt, "answer": "1"}))


def test_a_chat_that_ends_with_the_assistant_is_refused_in_every_stage(write):
    begun = [*CHAT, {"role": "assistant", "content": "<think>"}]
    words = "column 'prompt', row 0: the chat ends with the assistant, and TRL would end that message"
    assert words in refusal(write({"prompt": begun, "answer": 2}))
    reply = [{"role": "assistant", "content": "2"}]
    path = write({"prompt": begun, "completion": reply, "chosen": reply, "rejected": reply})
    for load in (load_traces, load_preferences):
        with pytest.raises(BadInputError, match=words):
            load(training_source(recipe(path)), chat=True)


def test_chats_need_a_chat_template(write):
    message = refusal(write({"prompt": CHAT, "answer": "2"}), chat=False)
    assert "no chat template" in message
    assert "system prompt" in refusal(write({"prompt": "a", "answer": "2"}), chat=False, system_prompt="s")


def test_evaluation_rows_are_held_to_the_same(write, tmp_path):
    path = write({"prompt": "1 + 1"})
    asked = recipe("lab:sums", eval_dataset=path)
    source = evaluation_source(asked)
    assert source is not None
    with pytest.raises(BadInputError, match=r"evaluation set .* has no column 'answer'"):
        load_prompts(source, asked, chat=True)
    assert evaluation_source(recipe("lab:sums")) is None
    assert evaluation_source(recipe("hub/name", eval_split="dev")) == Source(
        "hub/name", "dev", evaluation=True
    )


def test_the_lab_has_sums_to_train_and_to_evaluate_on_that_are_not_the_same():
    asked = recipe("lab:sums", max_samples=300, eval_split="test", max_eval_samples=20)
    source = evaluation_source(asked)
    assert source is not None
    training = load_prompts(training_source(asked), asked, chat=True).to_list()
    evaluation = load_prompts(source, asked, chat=True).to_list()
    assert (len(training), len(evaluation)) == (300, 20)
    questions = [{row["prompt"][0]["content"] for row in rows} for rows in (training, evaluation)]
    assert not questions[0] & questions[1]
    assert not questions[0] & {problem.question for problem in held_out_problems()}


def test_the_labs_traces_are_worked_and_right():
    asked = recipe("lab:sums", max_samples=8)
    traces = load_traces(training_source(asked), chat=True)
    answers = load_prompts(training_source(asked), asked, chat=True)
    for trace, row in zip(traces, answers, strict=True):
        assert trace["prompt"] == row["prompt"]
        assert trace["completion"][0]["content"].startswith("<think>")
        assert is_solved(trace["completion"][0]["content"], row["answer"])
    with pytest.raises(BadInputError, match="expected lab:sums"):
        load_rows(Source("lab:texts", "train"))


@pytest.mark.parametrize("task", LAB_TASKS.values(), ids=LAB_TASKS)
def test_every_task_of_the_lab_is_data_with_answers_and_traces_that_are_right(task):
    asked = recipe(f"lab:{task.name}", max_samples=20)
    rows = load_prompts(training_source(asked), asked, chat=True).to_list()
    traces = load_traces(training_source(asked), chat=True).to_list()
    assert [row["prompt"] for row in rows] == [trace["prompt"] for trace in traces]
    for row, trace in zip(rows, traces, strict=True):
        assert is_solved(trace["completion"][0]["content"], row["answer"])
    suite = load_suite(f"lab:{task.name}")
    assert [problem.problem for problem in suite.problems] == [
        p.question for p in held_out_problems(task=task)
    ]
    assert not {problem.problem for problem in suite.problems} & {row["prompt"][0]["content"] for row in rows}


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"messages": [*CHAT, {"role": "assistant", "content": "2"}], "source": "x"}, ["messages"]),
        ({"prompt": "1 + 1", "completion": "2", "answer": "2"}, ["prompt", "completion"]),
        ({"text": "1 + 1 = 2"}, ["text"]),
    ],
)
def test_traces_come_in_the_forms_that_sft_reads(write, row, columns):
    rows = load_traces(Source(write(row), "train"), chat=True)
    assert rows.column_names == columns


def test_traces_that_sft_cannot_read(write):
    def refused(row, chat=True) -> str:
        with pytest.raises(BadInputError) as caught:
            load_traces(Source(write(row), "train"), chat=chat)
        return str(caught.value)

    assert "has the columns question" in refused({"question": "1 + 1"})
    assert "row 0: expected chat messages" in refused({"messages": []})
    assert "row 0: expected text" in refused({"text": ""})
    assert "--chat_template_path" in refused({"messages": CHAT}, chat=False)


def test_every_local_form_gives_the_same_rows(tmp_path):
    rows = datasets.Dataset.from_list([{"prompt": "1 + 1", "answer": "2"}, {"prompt": "3", "answer": "3"}])
    rows.to_parquet(tmp_path / "rows.parquet")
    rows.to_json(tmp_path / "rows.jsonl")
    (tmp_path / "rows.json").write_text(json.dumps(rows.to_list()))
    rows.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(tmp_path / "split")
    (tmp_path / "copy").mkdir()
    rows.to_parquet(tmp_path / "copy" / "train.parquet")
    for name in ("rows.parquet", "rows.jsonl", "rows.json", "saved", "split", "copy"):
        assert load_rows(Source(str(tmp_path / name), "train")).to_list() == rows.to_list(), name


def test_rows_that_cannot_be_read_say_why(tmp_path, write):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "a"}\n{"prompt"\n')
    (tmp_path / "rows.csv").write_text("a,b\n")
    (tmp_path / "empty").mkdir()
    good = write({"prompt": "a"})
    for name, split, message in (
        (tmp_path / "bad.jsonl", "train", "cannot read dataset .*bad.jsonl"),
        (tmp_path / "rows.csv", "train", "expected a folder or a file in .jsonl"),
        (tmp_path / "none.jsonl", "train", "none.jsonl does not exist"),
        ("./nowhere", "train", "nowhere does not exist"),
        (tmp_path / "empty", "train", "cannot read"),
        (good, "dev", "cannot read .*dev"),
        ("no/such-dataset", "train", "from the hub.*give the folder"),
    ):
        with pytest.raises(BadInputError, match=message):
            load_rows(Source(str(name), split))
    Path(good).write_text("")
    with pytest.raises(BadInputError, match="holds no rows"):
        load_rows(Source(good, "train"))
