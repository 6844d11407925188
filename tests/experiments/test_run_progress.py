"""Progress of an experiment: finished runs, and the steps of those that go on, in a log too."""

import io
import json
import threading

import pytest

from corrpo.experiments import run_progress
from corrpo.experiments.run_progress import shown_progress, steps_logged
from corrpo.jobs import progress_bar
from corrpo.jobs.console import Console
from corrpo.training.cost_file import COST


def log(folder, *steps, torn=""):
    (folder / "training").mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps({"step": step}) + "\n" for step in steps)
    (folder / "training" / COST).write_text(lines + torn, encoding="utf-8")


def test_steps_are_those_of_the_last_whole_line(tmp_path):
    assert steps_logged(tmp_path / "training") == 0
    log(tmp_path, torn='{"st')
    assert steps_logged(tmp_path / "training") == 0
    log(tmp_path, 5, 10, torn='{"step": 15')
    assert steps_logged(tmp_path / "training") == 10


@pytest.mark.parametrize(("most", "expected"), [(20, "steps 7 of 40 (18 %)"), (None, "steps 7,")])
def test_a_log_tells_the_steps_of_all_runs_while_they_go_on(tmp_path, monkeypatch, most, expected):
    monkeypatch.setattr(run_progress, "BETWEEN_LOOKS", 0.01)
    monkeypatch.setattr(progress_bar, "BETWEEN_LINES", 0.02)
    steps_of = {tmp_path / name / "training": most for name in ("a", "b")}
    log(tmp_path / "a", 3)
    told, text = threading.Event(), io.StringIO()

    class Told(io.StringIO):
        def write(self, written):
            text.write(written)
            if expected in text.getvalue() and "runs 1 of 3" in text.getvalue():
                told.set()
            return len(written)

    with shown_progress(3, 0, steps_of, shown=True, console=Console(file=Told())) as advance:
        log(tmp_path / "b", 4)
        advance()
        assert told.wait(20), text.getvalue()
