"""Progress as a log shows it: a line now and then with what is done, the time gone and the time left."""

import io
import json
import re
import time

import pytest

from corrpo.cli.main import main
from corrpo.jobs import progress_bar
from corrpo.jobs.console import Console

LINE = re.compile(r"tokens 10 of 40 \(25 %\), 0:00:0\d gone(, 0:00:0\d left)?")


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(progress_bar, "BETWEEN_LINES", 0.02)


def lines_until(log: io.StringIO, count: int) -> list[str]:
    while log.getvalue().count("\n") < count:
        time.sleep(0.01)
    return log.getvalue().splitlines()


def test_a_file_gets_a_line_again_and_again_until_the_end():
    log = io.StringIO()
    with progress_bar.progress_bar(shown=True, console=Console(file=log)) as bar:
        task = bar.add_task("tokens", total=40)
        bar.advance(task, 10)
        assert all(LINE.fullmatch(line) for line in lines_until(log, 3))
    ended = log.getvalue()
    time.sleep(0.1)
    assert log.getvalue() == ended


def test_a_terminal_gets_a_bar_and_nothing_is_shown_unasked():
    log = io.StringIO()
    for shown, console in (
        (True, Console(file=log, force_terminal=True, width=100)),
        (False, Console(file=log)),
    ):
        with progress_bar.progress_bar(shown=shown, console=console) as bar:
            bar.advance(bar.add_task("tokens", total=40), 10)
        if shown:
            assert "10/40 0:00:00 -:--:--" in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", log.getvalue())
            log.truncate(log.seek(0))
    assert log.getvalue() == ""


def test_measure_counts_the_tokens_that_it_measures(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress_bar, "BETWEEN_LINES", 0.001)
    samples = tmp_path / "samples.jsonl"
    lines = [{"prompt": "The dog ", "response": f"walked to the river {end}."} for end in ("twice", "home")]
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ["--max-tokens", "3", "--template", "plain", "--resamples", "20", "--permutations", "20"]
    given = ["--samples", str(samples), "--output", str(tmp_path / "out")]
    assert main(["measure", "lab:qwen2/base", *given, *words]) == 0
    totals = set(re.findall(r"tokens \d+ of (\d+) \(", capsys.readouterr().err))
    assert totals == {"6"}
