"""The progress of a run: plain lines in a file, one rewritten line on a terminal, a table at the end."""

import io
from types import SimpleNamespace

import pytest

from corrpo.jobs.console import Console
from corrpo.training.training_progress import ProgressLine

LOGS = [
    {"loss": 0.02, "reward": 0.5, "rewards/accuracy/mean": 0.25, "completions/mean_length": 60.0},
    {
        "loss": 0.01,
        "reward": 1.25,
        "rewards/accuracy/mean": 0.5,
        "inversion/rho_mean": -0.125,
        "completions/mean_length": 42.0,
    },
]


def run(line: ProgressLine, logs=LOGS, *, main: bool = True, evaluation=None, stop_after: int = 10) -> None:
    """What a Trainer calls in a run of a step per log."""
    state = SimpleNamespace(global_step=0, max_steps=len(logs), is_world_process_zero=main)
    with line:
        line.on_train_begin(None, state, None)
        for log in logs[:stop_after]:
            state.global_step += 1
            line.on_step_end(None, state, None)
            line.on_log(None, state, None, logs=log)
        if stop_after < len(logs):
            raise KeyboardInterrupt
        if evaluation:
            line.on_log(None, state, None, logs=evaluation)
        line.on_log(None, state, None, logs={"train_runtime": 1.0})
        line.on_train_end(None, state, None)


def written(stage: str, terminal: bool = False, **how) -> str:
    file = io.StringIO()
    run(ProgressLine(stage, Console(file=file, force_terminal=terminal, width=120)), **how)
    return file.getvalue()


def test_a_line_per_log_and_a_table_where_there_is_no_terminal():
    text = written("corrpo", evaluation={"eval_reward": 0.75, "eval_loss": 0.0})
    lines = text.splitlines()
    assert lines[0].startswith("corrpo 1/2  reward 0.500  accuracy 0.250  length 60.0")
    assert lines[1].startswith("corrpo 2/2  reward 1.250  accuracy 0.500  rho -0.125  length 42.0")
    assert lines[1].endswith("0:00:00 left")
    assert lines[2] == "evaluation 2/2  reward 0.750"
    table = text[text.index("corrpo, 2 steps") :]
    for name, first, last in (
        ("accuracy", "0.250", "0.500"),
        ("rho", "-", "-0.125"),
        ("length", "60.0", "42.0"),
    ):
        (row,) = (line for line in table.splitlines() if name in line)
        assert [cell.strip() for cell in row.strip("│").split("│")] == [name, first, last]
    assert "\x1b" not in text


def test_fine_tuning_shows_its_loss():
    text = written("sft", logs=[{"loss": 1.5, "mean_token_accuracy": 0.5}])
    assert "sft 1/1  loss 1.5000  token accuracy 0.500" in text
    assert "loss" not in written("grpo")


def test_on_a_terminal_the_line_is_rewritten():
    text = written("corrpo", terminal=True)
    assert "2/2" in text
    assert "rho -0.125" in text
    assert "\x1b[2K" in text
    assert text.count("\n") < 12


def test_a_stopped_run_gives_the_cursor_back():
    file = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        run(ProgressLine("grpo", Console(file=file, force_terminal=True)), stop_after=1)
    assert file.getvalue().endswith("\x1b[?25h")


def test_other_processes_are_silent():
    assert written("grpo", main=False) == ""


def test_the_default_is_standard_error(capsys):
    run(ProgressLine("grpo"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reward 1.250" in captured.err
