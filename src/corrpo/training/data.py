"""Training data: rows from a local path, the lab or the hub, checked before any model is loaded.

RL stages get `prompt` (and `answer`) columns as TRL's trainers and the rewards read them; SFT gets
`messages`, `prompt` and `completion`, or text; DPO gets `prompt`, `chosen` and `rejected`. What a stage does
not read is left out.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
from datasets import Dataset
from datasets.exceptions import DatasetsError

from corrpo.answers.reading import solution_answer
from corrpo.errors import BadInputError
from corrpo.lab import LAB
from corrpo.lab.problems import (
    EVALUATION_ROWS,
    TRAINING_ROWS,
    read_in_training,
    scratchpad,
    validation_problems,
)
from corrpo.lab.tasks import LabProblem, find_lab_task
from corrpo.lab.tokenizer import chat_prompt
from corrpo.rewards.task_rewards import rewards_of_answers
from corrpo.samples.fields import is_message
from corrpo.training.data_from_generations import (
    CHOSEN,
    are_generations,
    preference_pairs,
    right_responses,
)
from corrpo.training.prompts import check_turn
from corrpo.training.recipe import RecipeArguments

_FORMS = {
    "messages": "chat messages",
    "prompt": "text or chat messages",
    "completion": "text or chat messages",
    "chosen": "text or chat messages",
    "rejected": "text or chat messages",
}
_READERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}


@dataclass(frozen=True)
class Source:
    """Where rows come from: what a recipe says of its training or of its evaluation data."""

    name: str
    """A path, a task of the lab as `lab:sums`, or a name on the hub."""
    split: str
    """The split that is read."""
    config: str | None = None
    """Configuration of a hub dataset."""
    revision: str | None = None
    """Branch, tag or commit of a hub dataset."""
    limit: int | None = None
    """The first so many rows; None for all."""
    evaluation: bool = False
    """Whether these are the rows of evaluation; decides which of a lab task's problems they are."""

    def __str__(self) -> str:
        return f"{'evaluation set' if self.evaluation else 'dataset'} {self.name} ({self.split})"


def training_source(recipe: RecipeArguments) -> Source:
    """Where a recipe's training rows come from."""
    return Source(
        recipe.dataset,
        recipe.train_split,
        recipe.dataset_config,
        recipe.dataset_revision,
        recipe.max_samples,
    )


def evaluation_source(recipe: RecipeArguments) -> Source | None:
    """Where a recipe's evaluation rows come from; None if it names none."""
    if recipe.eval_dataset is None and recipe.eval_split is None:
        return None
    name = recipe.eval_dataset or recipe.dataset
    own = name != recipe.dataset
    split = recipe.eval_split or ("train" if Path(name).suffix in _READERS else "test")
    return Source(
        name,
        split,
        None if own else recipe.dataset_config,
        None if own else recipe.dataset_revision,
        recipe.max_eval_samples,
        evaluation=True,
    )


def load_prompts(source: Source, recipe: RecipeArguments, *, chat: bool) -> Dataset:
    """The rows of an RL stage: columns `prompt`, and `answer` (text) if a reward reads it.

    An answer is that of a worked solution, where the column holds one (`solution_answer`). With a chat
    template text prompts become a user message, after the recipe's system prompt if there is one;
    without they stay text. Errors name the dataset and the row.
    """
    checked_by = [name for name in recipe.rewards if name in rewards_of_answers()]
    rows = load_rows(source)
    columns = {"prompt": recipe.prompt_column, "answer": recipe.answer_column}
    if source.name.startswith(LAB):
        columns = {"prompt": "prompt", "answer": "answer"}
    _require_column(source, rows, columns["prompt"], "prompts", "--prompt_column")
    where = f"{source}, column {columns['prompt']!r}"
    made = {
        "prompt": [
            _prompt(f"{where}, row {number}", _asked(prompt, recipe.request), recipe.system_prompt, chat)
            for number, prompt in enumerate(rows[columns["prompt"]])
        ]
    }
    if checked_by:
        what = f"answers, which the reward {checked_by[0]!r} checks"
        _require_column(source, rows, columns["answer"], what, "--answer_column")
        where = f"{source}, column {columns['answer']!r}"
        made["answer"] = [
            _answer(f"{where}, row {number}", answer, checked_by[0])
            for number, answer in enumerate(rows[columns["answer"]])
        ]
    return Dataset.from_dict(made)


def load_traces(source: Source, *, chat: bool, text_column: str = "text") -> Dataset:
    """The rows of supervised fine-tuning, in the first of TRL's forms that the columns allow.

    That is `messages`; or `prompt` and `completion`; or `text_column`. Generations of `corrpo evaluate` give
    the right responses among them. Errors name the dataset.
    """
    rows = load_rows(source)
    if are_generations(rows):
        rows = right_responses(rows, chat=chat, where=str(source))
    forms = (("messages",), ("prompt", "completion"), (text_column,))
    form = next((form for form in forms if set(form) <= set(rows.column_names)), None)
    if form is None:
        raise BadInputError(
            f"{source} has the columns {', '.join(rows.column_names)}; supervised fine-tuning reads "
            f"messages (a chat), prompt and completion, or {text_column} (another one: --dataset_text_field)"
        )
    rows = rows.select_columns(list(form))
    for column in form:
        _check_traces(source, rows, column, chat)
    return rows


def load_preferences(source: Source, *, chat: bool) -> Dataset:
    """The rows of DPO: columns `prompt`, `chosen` and `rejected`.

    Generations of `corrpo evaluate` give pairs of a right and a wrong response. A task of the lab, which has
    no wrong responses, is refused.
    """
    if source.name.startswith(LAB):
        raise BadInputError(
            f"{source} has no pairs to choose in: evaluate a model on problems with --n 2 or more, and give "
            "its generations.parquet"
        )
    rows = load_rows(source)
    if are_generations(rows):
        rows = preference_pairs(rows, chat=chat, where=str(source))
    if not set(CHOSEN) <= set(rows.column_names):
        raise BadInputError(
            f"{source} has the columns {', '.join(rows.column_names)}; DPO reads {', '.join(CHOSEN)}, or the "
            "generations.parquet of corrpo evaluate"
        )
    rows = rows.select_columns(list(CHOSEN))
    for column in CHOSEN:
        _check_traces(source, rows, column, chat)
    return rows


def load_rows(source: Source) -> Dataset:
    """Rows as they lie in a file, a folder or on the hub; a local path downloads nothing.

    Those of a task of the lab are made: `prompt`, `answer`, and `completion`, which is the worked answer.
    """
    if source.name.startswith(LAB):
        return Dataset.from_list(_of_lab(source))
    path = Path(source.name).expanduser()
    try:
        rows = _read(source, path)
    except StopIteration:  # what datasets says of an empty file
        raise BadInputError(f"{source} holds no rows") from None
    except (DatasetsError, OSError, ValueError, KeyError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(_unreadable(source, path, error)) from error
    if not isinstance(rows, Dataset):
        raise BadInputError(f"{source} holds {', '.join(map(str, rows))}: choose one with --train_split")
    if len(rows) == 0:
        raise BadInputError(f"{source} holds no rows")
    return rows.select(range(min(len(rows), source.limit or len(rows))))


def _read(source: Source, path: Path) -> Any:
    if path.is_file():
        if path.suffix not in _READERS:
            raise BadInputError(f"dataset {path}: expected a folder or a file in {', '.join(_READERS)}")
        return datasets.load_dataset(_READERS[path.suffix], data_files=str(path), split=source.split)
    if path.is_dir():
        if (path / "dataset_dict.json").exists():
            return datasets.load_from_disk(str(path))[source.split]
        if (path / "state.json").exists():
            return datasets.load_from_disk(str(path))
    elif path.suffix in _READERS or source.name.startswith((".", "/", "~")) or source.name.count("/") > 1:
        raise BadInputError(f"the dataset {path} does not exist")
    return datasets.load_dataset(
        str(path) if path.is_dir() else source.name,
        source.config,
        split=source.split,
        revision=source.revision,
    )


def _unreadable(source: Source, path: Path, error: Exception) -> str:
    reason = str(error.__cause__ or error).strip() or type(error).__name__
    if path.exists():
        return f"cannot read {source}: {reason}"
    return (
        f"cannot load {source} from the hub: {reason}. Check the name, --dataset_config, the split and the "
        "connection; or fetch it where there is one (hf download --repo-type dataset) and give the folder"
    )


def _of_lab(source: Source) -> list[dict[str, Any]]:
    """Rows of a task of the lab; training and evaluation have none in common, nor with held-out problems."""
    task = find_lab_task(source.name)
    if source.evaluation:
        problems = validation_problems(min(source.limit or EVALUATION_ROWS, EVALUATION_ROWS), task)
    else:
        problems = read_in_training(source.limit or TRAINING_ROWS, task)
    return [_row(problem, random.Random(f"{task.name} {n}")) for n, problem in enumerate(problems)]


def _row(problem: LabProblem, rng: random.Random) -> dict[str, Any]:
    reply = scratchpad(problem, rng)
    return {
        "prompt": chat_prompt(problem.question),
        "answer": problem.answer,
        "completion": [{"role": "assistant", "content": reply}],
    }


def _require_column(source: Source, rows: Dataset, column: str, what: str, flag: str) -> None:
    if column not in rows.column_names:
        raise BadInputError(
            f"{source} has no column {column!r} for the {what}; it has {', '.join(rows.column_names)}. Name "
            f"the right one with {flag}"
        )


def _asked(prompt: Any, request: str | None) -> Any:
    return (
        request.format(problem=prompt) if request and isinstance(prompt, str) and prompt.strip() else prompt
    )


def _prompt(where: str, prompt: Any, system: str | None, chat: bool) -> Any:
    """A prompt as the trainer reads it: text, or messages where there is a chat template."""
    if isinstance(prompt, str) and prompt.strip():
        messages = [{"role": "user", "content": prompt}]
    elif isinstance(prompt, list) and prompt and all(map(is_message, prompt)):
        messages = [{"role": message["role"], "content": message["content"]} for message in prompt]
    else:
        raise BadInputError(f"{where}: expected text or chat messages, got {prompt!r}")
    check_turn(where, messages)
    if not chat and (not isinstance(prompt, str) or system is not None):
        what = "the prompt is a chat" if system is None else "there is a system prompt"
        raise BadInputError(
            f"{where}: {what}, and the model's tokenizer has no chat template; give prompts as text, or use "
            "a model with a chat template"
        )
    if not chat:
        return prompt
    has_system = system is None or messages[0]["role"] == "system"
    return messages if has_system else [{"role": "system", "content": system}, *messages]


def _answer(where: str, answer: Any, reward: str) -> str:
    if isinstance(answer, bool) or not isinstance(answer, str | int | float) or not str(answer).strip():
        raise BadInputError(
            f"{where}: expected an answer, as text or a number, got {answer!r}; the reward {reward!r} needs "
            "one in every row: fill it in, leave the row out, or name another --answer_column"
        )
    return solution_answer(str(answer))


def _check_traces(source: Source, rows: Dataset, column: str, chat: bool) -> None:
    for number, value in enumerate(rows[column]):
        if isinstance(value, str) and value.strip() and column != "messages":
            continue
        where = f"{source}, column {column!r}, row {number}"
        is_chat = isinstance(value, list) and value and all(map(is_message, value))
        if not is_chat or column not in _FORMS:
            form = _FORMS.get(column, "text")
            raise BadInputError(f"{where}: expected {form}, got {str(value)[:80]!r}")
        if column == "prompt":
            check_turn(where, value)
        if not chat:
            raise BadInputError(
                f"{where}: these are chat messages, and the model's tokenizer has no chat template; name one "
                "with --chat_template_path"
            )
