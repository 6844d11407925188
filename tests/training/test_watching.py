"""What a run tells of itself while it goes on: metrics.jsonl, and a warning where nothing is rewarded."""

import json
from types import SimpleNamespace

import pytest

from corrpo.rewards.task_rewards import find_task_reward
from corrpo.training import cost_file
from corrpo.training.cost_file import CostFile
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


ARGS = SimpleNamespace(
    generation_batch_size=16, steps_per_generation=2, gradient_accumulation_steps=2, num_iterations=1
)


def costs(file: CostFile) -> list[dict]:
    return [json.loads(line) for line in file.path.read_text().splitlines()]


def test_the_cost_of_a_run_is_that_of_all_its_sittings(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(cost_file.time, "perf_counter", lambda: now[0])

    def at(file, step, seconds, **logs):
        now[0] += seconds
        logs = {name.replace("__", "/"): value for name, value in logs.items()}
        file.on_log(ARGS, state(step), None, logs=logs) if logs else file.on_save(ARGS, state(step), None)

    file = CostFile(tmp_path)
    file.on_train_begin(ARGS, state(0), None)
    at(file, 2, 10, completions__mean_length=5.0)
    at(file, 2, 7, eval_runtime=7.0, eval_rewards__accuracy__mean=0.25)
    at(file, 3, 4)
    at(file, 4, 4, completions__mean_length=6.0)
    rows = [(row["step"], row["seconds"], row["generated_tokens"], row["accuracy"]) for row in costs(file)]
    assert rows == [(2, 10, 160, None), (2, 10, 160, 0.25), (3, 14, 160, None), (4, 18, 352, None)]
    now[0] = 5000.0
    resumed = CostFile(tmp_path)
    resumed.on_train_begin(ARGS, state(3), None)
    at(resumed, 4, 6, completions__mean_length=6.0)
    assert costs(resumed)[:-1] == costs(file)[:3]
    assert (costs(resumed)[-1]["seconds"], costs(resumed)[-1]["generated_tokens"]) == (20, 352)


def test_a_run_that_was_begun_without_the_file_has_no_cost(tmp_path):
    for step in (5, 10):
        file = CostFile(tmp_path)
        file.on_train_begin(ARGS, state(step), None)
        file.on_log(ARGS, state(step + 1), None, logs={"loss": 0.5})
        assert not file.path.exists()


def test_a_stage_without_rollouts_generates_no_tokens(tmp_path):
    file = CostFile(tmp_path)
    file.on_train_begin(None, state(0), None)
    file.on_log(None, state(1), None, logs={"loss": 0.5})
    assert [row["generated_tokens"] for row in costs(file)] == [None]
