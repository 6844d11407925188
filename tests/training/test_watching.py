"""What a run tells of itself while it goes on: metrics.jsonl, and a warning where nothing is rewarded."""

import json
from types import SimpleNamespace

import pytest

from corrpo.rewards.task_rewards import find_task_reward
from corrpo.training.metrics_file import MetricsFile
from corrpo.training.unrewarded import FIRST_STEPS, UnrewardedWarning


def state(step: int, *, main: bool = True) -> SimpleNamespace:
    return SimpleNamespace(global_step=step, is_world_process_zero=main)


def logged(file: MetricsFile, *steps: int, loss: float = 0.5) -> list[dict]:
    for step in steps:
        file.on_log(None, state(step), None, logs={"loss": loss, "epoch": 0.1})
    return [json.loads(line) for line in file.path.read_text().splitlines()]


def test_every_log_is_a_line_and_a_resumed_run_goes_on_from_its_checkpoint(tmp_path):
    file = MetricsFile(tmp_path)
    file.on_train_begin(None, state(0), None)
    assert logged(file, 1, 2) == [{"step": step, "loss": 0.5, "epoch": 0.1} for step in (1, 2)]
    assert logged(file, 3, loss=float("nan"))[-1] == {"step": 3, "loss": None, "epoch": 0.1}
    with file.path.open("a") as half:
        half.write('{"step": 4, "lo')  # as a kill leaves it
    resumed = MetricsFile(tmp_path)
    resumed.on_train_begin(None, state(2), None)
    assert [line["step"] for line in logged(resumed, 3)] == [1, 2, 3]
    resumed.on_log(None, state(4, main=False), None, logs={"loss": 1.0})
    resumed.on_train_begin(None, state(0), None)
    assert file.path.read_text() == ""


def warnings(means: list[float | None], responses=("It is 8.",), start: int = 0, cut: float = 0.25):
    """What is said in a run of a step per log with these mean rewards."""
    lines: list[str] = []
    watch = UnrewardedWarning(find_task_reward("exact"), lines.append)
    reward = watch.watched(watch.reward.function)
    assert reward.__name__ == "accuracy"
    watch.on_train_begin(None, state(start), None)
    for number, mean in enumerate(means):
        reward(completions=list(responses), answer=["8"] * len(responses), prompts=["?"])
        logs = {"rewards/accuracy/mean": mean, "completions/clipped_ratio": cut}
        watch.on_log(None, state(start + number + 1), None, logs=logs)
    watch.on_train_end(None, state(start + len(means)), None)
    return lines


def test_a_reward_of_0_in_all_of_the_first_steps_is_told_once_with_what_was_compared():
    (line,) = warnings([0.0] * (FIRST_STEPS + 5))
    assert line.startswith(
        "warning: the task reward 'accuracy' was 0 for every rollout of the first 10 steps, so that nothing "
        "is learned from it (the answer is the right one as text or decimal number). Of the last rollout it "
        r"compared nothing (no <answer>...</answer> or \boxed{...} in the response that ends in 'It is 8.') "
        "with '8'. 25 % of the rollouts were cut at max_completion_length."
    )
    (line,) = warnings([0.0] * 3, ["<answer>7</answer>"], start=40, cut=0.0)
    assert "of the first 3 steps" in line
    assert "compared the answer '7' with '8'. See that" in line


@pytest.mark.parametrize("means", [[0.0] * 5 + [0.1] + [0.0] * 20, [None] * 20, []])
def test_nothing_is_said_where_something_is_rewarded_or_nothing_is_scored(means):
    assert warnings(means) == []
