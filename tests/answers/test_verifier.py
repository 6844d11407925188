"""The processes behind the mathematical reward: in threads, after a fork, killed, and gone at the end."""

import os
import subprocess
import sys
import threading

import pytest

from corrpo.answers import verifier
from corrpo.answers.checks import math as math_check
from corrpo.answers.verifier import MathVerifier, Question
from corrpo.errors import BadInputError, CorrpoError
from corrpo.rewards.task_rewards.math_answer import math_answer

TOWER = "9^(9^(9^9))"


def tagged(answer):
    return f"<answer>{answer}</answer>"


def math(prediction, gold):
    (reward,) = math_answer([tagged(prediction)], answer=[gold])
    return reward


def test_questions_and_replies():
    judge = MathVerifier(time_limit=20.0, workers=1)
    assert judge.ask([]) == []
    assert judge.ask([Question("1/2", "0.5"), Question("1/2"), Question("Paris")]) == [
        ("right", ""),
        ("readable", ""),
        ("unreadable", ""),
    ]
    assert judge.ask([Question("7", r"\boxed{7}"), Question(r"\sqrt{8}", "?")]) == [
        ("right", ""),
        ("unparsed", ""),
    ]


def test_limits_that_make_no_sense():
    with pytest.raises(BadInputError, match="time_limit=nan"):
        MathVerifier(time_limit=float("nan"))
    with pytest.raises(BadInputError, match="workers=0"):
        MathVerifier(workers=0)


def test_plain_numbers_ask_no_process(monkeypatch):
    lazy = MathVerifier()
    monkeypatch.setattr(math_check, "VERIFIER", lazy)
    monkeypatch.setattr(lazy, "_ask", None)
    assert math_answer([tagged("1,000"), r"\boxed{7}"], answer=["1000", "8"]) == [1.0, 0.0]


def test_a_process_that_dies_is_an_error_and_is_replaced(monkeypatch, caplog):
    monkeypatch.setattr(math_check, "VERIFIER", MathVerifier(time_limit=20.0, workers=1))
    assert math("20-3", "17") == 1.0
    worker = math_check.VERIFIER._slots.queue[0]
    assert worker
    killer = threading.Timer(0.5, worker.process.kill)
    killer.start()
    assert math(TOWER, "17") == 0.0
    assert "failed on 1 of 1 answers, the first time by error its process ended with status -9" in caplog.text
    assert math("18-1", "17") == 1.0
    worker = math_check.VERIFIER._slots.queue[0]
    assert worker
    worker.process.kill()
    worker.process.wait()
    assert math("19-2", "17") == 1.0, "a process that died between two questions is nobody's error"


def test_a_verifier_that_cannot_start_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(math_check, "VERIFIER", MathVerifier())
    broken = tmp_path / "worker.py"
    broken.write_text("raise SystemExit(3)")
    monkeypatch.setattr(verifier, "_WORKER", broken)
    with pytest.raises(CorrpoError, match="ended with status 3"):
        math("20-3", "17")
    monkeypatch.setattr("corrpo.errors.find_spec", lambda name: None)
    with pytest.raises(CorrpoError, match=r"pip install -c constraints.txt '\.\[train\]'"):
        math("20-3", "17")


def test_from_threads():
    results = {}

    def judge(number):
        pairs = [(tagged(f"{2 * number}-{number}"), str(number)), (tagged(f"{number}+1"), str(number))]
        results[number] = math_answer([text for text, _ in pairs], answer=[gold for _, gold in pairs])

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert results == {number: [1.0, 0.0] for number in range(6)}


SCRIPT = """
import os, threading
print("main module", flush=True)
from corrpo.answers.checks import math as check
from corrpo.rewards.task_rewards.math_answer import math_answer
check.VERIFIER = check.MathVerifier(workers=1)
judge = lambda: math_answer(["<answer>2^{-1}</answer>", "<answer>3^{-1}</answer>"], answer=["1/2", "1/2"])
thread = threading.Thread(target=lambda: print(judge(), flush=True))
thread.start(); thread.join()
if os.fork() == 0:
    print(judge(), flush=True)
    raise SystemExit(0)
os.wait()
print(judge(), *[w.process.pid for w in check.VERIFIER._slots.queue if w], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_script_without_a_main_guard_runs_once_forks_and_ends(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ended = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True
    )
    first, *rewards = ended.stdout.splitlines()
    assert first == "main module"
    assert [line[:10] for line in rewards] == ["[1.0, 0.0]"] * 3
    assert ended.stderr == ""
    workers = rewards[-1].split()[2:]
    assert workers
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)


def test_the_process_of_the_verifier_is_light():
    command = f"import runpy, sys; runpy.run_path({str(verifier._WORKER)!r}); print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-P", "-c", command], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
