"""Suites: the problems that a model is asked, with their answers and how an answer is checked.

gsm8k math500 aime24 aime25 amc23 minerva olympiadbench   from the hub, at a fixed revision (see `HUB`)
rg:TASK                                                    any task of reasoning-gym, checked by its scorer
lab:TASK                                                   the held-out problems of a task of the lab
lab:training-TASK                                          problems of it that training reads, to make data of
FILE.jsonl                                                 lines {"problem", "answer", "id" optional}
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from corrpo.answers.reading import boxed_answer
from corrpo.errors import BadInputError, CorrpoError, did_you_mean
from corrpo.lab import LAB
from corrpo.lab.problems import held_out_problems, read_in_training
from corrpo.lab.tasks import LAB_TASKS, find_task
from corrpo.samples import load_samples

Check = Literal["math", "exact", "reasoning-gym"]
BOXED = "{problem}\n\nPlease reason step by step, and put your final answer within \\boxed{{}}."
"""The usual request of the field."""
BARE = "{problem}"
TAGGED = "{problem}\n\nThink step by step, then give the final answer alone within <answer></answer> tags."
"""For answers that are no mathematics."""
GYM, TRAINING = "rg:", f"{LAB}training-"
GYM_PROBLEMS = 100
_SCIENTIFIC = re.compile(r"\s*([+-]?[0-9]*\.?[0-9]+)[eE]([+-]?[0-9]+)\s*")


@dataclass(frozen=True)
class Problem:
    """One problem.

    Attributes:
        id: its name, unique in the suite.
        problem: what is asked: text, or chat messages that stand for the whole prompt.
        answer: the right answer; None where a task of reasoning-gym has no single one.
        entry: for a task of reasoning-gym, what its scorer needs.
    """

    id: str
    problem: str | list[dict[str, str]]
    answer: str | None
    entry: Any = None


@dataclass(frozen=True)
class Suite:
    """Problems, and how they are asked and checked.

    Attributes:
        name: as it was asked for.
        source: dataset, task or file.
        revision: commit of a dataset on the hub; None for problems from elsewhere.
        problems: in their order.
        check: math (math-verify), exact (the same text or number) or reasoning-gym (its scorer, full score).
        prompt: with a place for {problem}.
        n: generations for each problem, unless others are asked for.
    """

    name: str
    source: str
    revision: str | None
    problems: tuple[Problem, ...]
    check: Check
    prompt: str
    n: int = 1

    @property
    def digest(self) -> str:
        """SHA-256 of ids, problems and answers, in order."""
        content = [[each.id, each.problem, each.answer] for each in self.problems]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _last_line_answer(row: Mapping[str, Any]) -> str:
    return str(row["answer"]).rpartition("####")[2].strip()


def _boxed_solution(row: Mapping[str, Any]) -> str:
    return boxed_answer(str(row["solution"])) or ""


def _joined_answers(row: Mapping[str, Any]) -> str:
    answers = row["final_answer"]
    return ", ".join(map(str, answers)) if isinstance(answers, list) else str(answers)


def _plain_answer(row: Mapping[str, Any]) -> str:
    return str(row["answer"])


def _scientific_answer(row: Mapping[str, Any]) -> str:
    """The answer with 3e8 spelt out as a power of ten: math-verify would take its e for a factor."""
    answer = _plain_answer(row)
    found = _SCIENTIFIC.fullmatch(answer)
    return answer if found is None else rf"{found[1]} \times 10^{{{int(found[2])}}}"


@dataclass(frozen=True)
class HubSuite:
    """Where a benchmark is on the hub, and which of its columns hold problem and answer.

    `revision` is a commit.
    """

    dataset: str
    revision: str
    split: str
    problem: str
    answer: Callable[[Mapping[str, Any]], str]
    config: str | None = None
    n: int = 1


HUB: dict[str, HubSuite] = {
    "gsm8k": HubSuite(
        "openai/gsm8k",
        "740312add88f781978c0658806c59bc2815b9866",
        "test",
        "question",
        _last_line_answer,
        config="main",
    ),
    "math500": HubSuite(
        "HuggingFaceH4/MATH-500",
        "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
        "test",
        "problem",
        _plain_answer,
    ),
    "aime24": HubSuite(
        "math-ai/aime24",
        "83a7f387baaa524a8bda0022eac0541582297103",
        "test",
        "problem",
        _boxed_solution,
        n=16,
    ),
    "aime25": HubSuite(
        "math-ai/aime25",
        "563bb8404243c5f09de6ec262f2db674fe5bce9b",
        "test",
        "problem",
        _plain_answer,
        n=16,
    ),
    "amc23": HubSuite(
        "math-ai/amc23",
        "80815d37005feb82cd7f8fbc6901d5d3eff43057",
        "test",
        "question",
        _plain_answer,
        n=4,
    ),
    "minerva": HubSuite(
        "math-ai/minervamath",
        "ee46ddc498933b1977577953250ca5c66be64f96",
        "test",
        "question",
        _scientific_answer,
    ),
    "olympiadbench": HubSuite(
        "Hothan/OlympiadBench",
        "91184b52131e7fc9455fef848035173aea8cc01a",
        "train",
        "question",
        _joined_answers,
        config="OE_TO_maths_en_COMP",
    ),
}
"""The benchmarks of the paper by name. AIME has 16 generations a problem, for pass@16."""


def load_suite(name: str, *, data: Path | None = None, problems: int | None = None, seed: int = 0) -> Suite:
    """Read a suite.

    Args:
        name: a benchmark of `HUB`, rg:TASK, lab:TASK, lab:training-TASK, or the path of a JSONL file.
        data: a local copy of a benchmark, JSONL; nothing is fetched then.
        problems: the first so many alone; for rg:TASK, how many to make (100 if not given).
        seed: of the problems of rg:TASK; item i of reasoning-gym comes from seed + i, so see to it that these
            are not problems that were trained on.

    Raises:
        BadInputError: an unknown suite or task, data that cannot be fetched or read, a row without problem or
            answer.
        CorrpoError: a benchmark of the hub is asked for, and datasets is not installed.
    """
    if problems is not None and problems < 1:
        raise BadInputError(f"problems={problems}: expected 1 or more, or nothing for all")
    if name in HUB:
        suite = _of_hub(name) if data is None else _of_file(name, data, HUB[name].n)
    elif data is not None:
        raise BadInputError(f"suite {name!r}: a local copy stands for a benchmark: {', '.join(HUB)}")
    elif name.startswith(TRAINING):
        suite = _of_lab(name, read_in_training(task=find_task(LAB + name.removeprefix(TRAINING))))
    elif name.startswith(LAB):
        suite = _of_lab(name, held_out_problems(task=find_task(name)))
    elif name.startswith(GYM):
        suite = _of_gym(name, problems or GYM_PROBLEMS, seed)
    elif name.endswith((".jsonl", ".json")) or "/" in name or Path(name).exists():
        suite = _of_file(Path(name).stem, Path(name), 1)
    else:
        raise BadInputError(
            f"there is no suite {name!r}{did_you_mean(name, HUB) or '.'} There are {', '.join(HUB)}, "
            f"{LAB_TASKS}, lab:training-TASK, rg:TASK for a task of reasoning-gym, and the path of a JSONL "
            "file of problems and answers"
        )
    return Suite(**{**vars(suite), "problems": suite.problems[:problems]})


def _of_hub(name: str) -> Suite:
    if find_spec("datasets") is None:
        raise CorrpoError(
            f"suite {name} is fetched with datasets, which is not installed: pip install 'corrpo[train]'; or "
            f"give a local copy, --data {name}=FILE.jsonl"
        )
    import datasets
    from datasets.exceptions import DatasetsError

    place = HUB[name]
    at = f"{place.dataset} at {place.revision}, split {place.split}"
    try:
        rows: Any = datasets.load_dataset(
            place.dataset, place.config, split=place.split, revision=place.revision
        )
    except (OSError, ValueError, KeyError, RuntimeError, DatasetsError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadInputError(
            f"suite {name}: cannot fetch {at}: {reason}. With a local copy, lines of "
            f'{{"problem": ..., "answer": ...}}, give --data {name}=FILE.jsonl'
        ) from error
    problems = []
    for number, row in enumerate(rows):
        where = f"suite {name}, {at}, row {number}"
        if place.problem not in row:
            raise BadInputError(f"{where} has no column {place.problem!r}; it has {', '.join(row)}")
        try:
            answer = place.answer(row)
        except KeyError as error:
            raise BadInputError(f"{where} has no column {error}; it has {', '.join(row)}") from error
        text = "\n".join(str(row[key]) for key in ("context", place.problem) if row.get(key))
        problems.append(_checked(where, str(number), text, answer))
    return Suite(name, place.dataset, place.revision, tuple(problems), "math", BOXED, place.n)


def _of_file(name: str, path: Path, n: int) -> Suite:
    """Lines of {"problem" or "prompt", "answer", "id"}: a samples file in which every line has an answer."""
    problems = tuple(
        _checked(sample.where, sample.id, sample.prompt, sample.answer) for sample in load_samples(path)
    )
    return Suite(name, str(path), None, problems, "math", BOXED, n)


def _of_lab(name: str, problems: Sequence[Any]) -> Suite:
    found = tuple(Problem(str(number), each.question, each.answer) for number, each in enumerate(problems))
    return Suite(name, name, None, found, "exact", BARE)


def _of_gym(name: str, size: int, seed: int) -> Suite:
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    task = name.removeprefix(GYM)
    if task not in DATASETS:
        hint = did_you_mean(task, DATASETS)
        raise BadInputError(f"reasoning-gym has no task {task!r} among its {len(DATASETS)}{hint}")
    try:
        entries = list(reasoning_gym.create_dataset(task, size=size, seed=seed))
    except Exception as error:  # tasks raise what they like
        raise BadInputError(
            f"reasoning-gym cannot make problems of {task} by its defaults ({error!r:.200}); "
            "give another task"
        ) from error
    problems = tuple(
        Problem(str(number), entry["question"], _gym_answer(entry), entry)
        for number, entry in enumerate(entries)
    )
    return Suite(name, f"reasoning-gym {task}, seed {seed}", None, problems, "reasoning-gym", TAGGED)


def _gym_answer(entry: Mapping[str, Any]) -> str | None:
    return None if entry["answer"] is None else str(entry["answer"])


def gym_scorer(suite: Suite) -> Callable[[str | None, Any], bool]:
    """Whether reasoning-gym gives an answer to one of its problems the full score.

    Raises:
        CorrpoError: from the scorer's call, if it fails on an answer; names the task.
    """
    import reasoning_gym

    task = suite.name.removeprefix(GYM)
    dataset = reasoning_gym.create_dataset(task, size=1, seed=0)

    def is_right(answer: str | None, entry: Any) -> bool:
        try:
            return float(dataset.score_answer(answer=answer, entry=entry)) >= 1.0
        except Exception as error:  # scorers of tasks raise what they like
            raise CorrpoError(f"the scorer of {task} fails on {answer!r:.80}: {error!r:.200}") from error

    return is_right


def _checked(where: str, name: str, problem: Any, answer: str | None) -> Problem:
    if not problem or (isinstance(problem, str) and not problem.strip()):
        raise BadInputError(f"{where}: the problem is empty; leave the row out")
    if answer is None or not answer.strip():
        raise BadInputError(f"{where}: the answer is missing; give the right answer as text, or leave it out")
    return Problem(name, problem, answer)
