"""Load a suite by its name: from the hub, reasoning-gym, the lab, or a file.

gsm8k math500 aime24 aime25 amc23 minerva olympiadbench   from the hub, at a fixed revision (see `benchmark`)
rg:TASK                                                    any task of reasoning-gym, checked by its scorer
lab:TASK                                                   the held-out problems of a task of the lab
lab:training-TASK                                          problems of it that training reads, to make data of
FILE.jsonl                                                 lines {"problem", "answer", "id" optional}
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from corrpo.answers.reading import solution_answer
from corrpo.errors import BadInputError, did_you_mean
from corrpo.evaluation.suites.benchmark import BENCHMARKS, fetch_benchmark, find_benchmark
from corrpo.evaluation.suites.reasoning_gym_suite import GYM, GYM_PROBLEMS, make_gym_suite
from corrpo.evaluation.suites.suite import BARE, BOXED, Problem, Suite, checked_problem
from corrpo.lab import LAB
from corrpo.lab.problems import held_out_problems, read_in_training
from corrpo.lab.tasks import LAB_TASK_NAMES, LabProblem, find_lab_task
from corrpo.samples import load_samples

TRAINING = f"{LAB}training-"


def load_suite(name: str, *, data: Path | None = None, problems: int | None = None, seed: int = 0) -> Suite:
    """Read a suite.

    Args:
        name: a benchmark of `BENCHMARKS`, rg:TASK, lab:TASK, lab:training-TASK, or the path of a JSONL file.
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
    if name in BENCHMARKS:
        suite = fetch_benchmark(name) if data is None else _benchmark_copy(name, data)
    elif data is not None:
        raise BadInputError(f"suite {name!r}: a local copy stands for a benchmark: {', '.join(BENCHMARKS)}")
    elif name.startswith(TRAINING):
        task = find_lab_task(LAB + name.removeprefix(TRAINING))
        suite = _lab_suite(name, read_in_training(task=task))
    elif name.startswith(LAB):
        suite = _lab_suite(name, held_out_problems(task=find_lab_task(name)))
    elif name.startswith(GYM):
        suite = make_gym_suite(name, problems or GYM_PROBLEMS, seed)
    elif name.endswith((".jsonl", ".json")) or "/" in name or Path(name).exists():
        suite = Suite(Path(name).stem, name, None, _problems_of_file(Path(name)), "math", BOXED)
    else:
        raise BadInputError(
            f"there is no suite {name!r}{did_you_mean(name, BENCHMARKS) or '.'} There are "
            f"{', '.join(BENCHMARKS)}, {LAB_TASK_NAMES}, lab:training-TASK, rg:TASK for a task of "
            "reasoning-gym, and the path of a JSONL file of problems and answers"
        )
    return replace(suite, problems=suite.problems[:problems])


def _benchmark_copy(name: str, path: Path) -> Suite:
    benchmark = find_benchmark(name)
    problems = _problems_of_file(path)
    return Suite(name, str(path), None, problems, benchmark.check, benchmark.prompt, benchmark.n)


def _problems_of_file(path: Path) -> tuple[Problem, ...]:
    """Lines of {"problem" or "prompt", "answer", "id"}: a samples file in which every line has an answer.

    The answer may stand in a worked solution; see `solution_answer`.
    """
    return tuple(
        checked_problem(
            sample.where, sample.id, sample.prompt, sample.answer and solution_answer(sample.answer)
        )
        for sample in load_samples(path)
    )


def _lab_suite(name: str, lab_problems: Sequence[LabProblem]) -> Suite:
    problems = tuple(
        Problem(str(number), problem.question, problem.answer) for number, problem in enumerate(lab_problems)
    )
    return Suite(name, name, None, problems, "exact", BARE)
