"""Errors on the command line: one line, in which what files say cannot move the cursor or add lines."""

import json
import logging
import shutil

import pytest

from corrpo.cli.main import VisibleRecord, main
from corrpo.errors import BadInputError
from corrpo.lab import checkpoint

SAMPLE = json.dumps({"prompt": "17 + 25", "response": "is 42"})


@pytest.fixture
def model(tmp_path):
    return shutil.copytree(checkpoint("qwen2", "base"), tmp_path / "model")


def error_of(words, capsys):
    """The one line that a command ends with, which it must."""
    assert main([str(word) for word in words]) == 1
    (line,) = [line for line in capsys.readouterr().err.split("\n") if line.startswith("corrpo ")]
    assert "\x1b" not in line
    return line


def test_in_python_too_an_error_is_one_line_that_cannot_move_the_cursor():
    error = BadInputError("a model of type \x1b[31mx\n  is not known")
    assert str(error) == r"a model of type \x1b[31mx is not known"


def test_a_config_and_a_template_cannot_write_to_the_terminal(model, tmp_path, capsys):
    samples = tmp_path / "samples.jsonl"
    samples.write_text(SAMPLE)
    words = ["measure", model, "--samples", samples, "--output", tmp_path / "out", "--device", "cpu"]
    (model / "chat_template.jinja").write_text("{{ raise_exception('\x1b[31mred\ncorrpo: all is well') }}")
    assert r"\x1b[31mred corrpo: all is well" in error_of(words, capsys)
    (model / "chat_template.jinja").write_text("{{ messages[0].content }}")
    config = json.loads((model / "config.json").read_text()) | {"model_type": "\x1b[31mx"}
    (model / "config.json").write_text(json.dumps(config))
    assert r"\x1b[31mx" in error_of(words, capsys)


def test_what_logs_quote_is_visible_and_without_colours():
    record = VisibleRecord(
        "x", logging.WARNING, "x.py", 1, "%s\nlast", ("\x1b[31mkey\x1b[0m\x1b]0;title\x07",), None
    )
    assert record.getMessage() == "key\\x1b]0;title\\x07\nlast"
