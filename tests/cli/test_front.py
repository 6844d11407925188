"""The words of every command: slips, help, completion, --quiet and --json, and a reader that goes away."""

import json
import os
import pty
import re
import subprocess
import sys

import pytest

from corrpo.cli.command_line import flags
from corrpo.cli.main import SHELLS, VERBS, main, options_class
from corrpo.jobs.files import read_json
from corrpo.measurement.fingerprint_format import FINGERPRINT
from corrpo.models.load_options import LoadOptions

COMMAND = [sys.executable, "-m", "corrpo"]
QUICK = ["--template", "plain", "--resamples", "20", "--permutations", "20", "--estimator", "own"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Two folders that measure wrote, and what the second call printed."""
    folder = tmp_path_factory.mktemp("measured")
    samples = folder / "samples.jsonl"
    lines = [{"prompt": "The dog ", "response": f"walked to the river {end}."} for end in ("twice", "home")]
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    printed = None
    for kind in ("base", "reasoning"):
        command = ["measure", f"lab:qwen2/{kind}", "--samples", str(samples), "-o", str(folder / kind)]
        printed = subprocess.run(
            [*COMMAND, *command, *QUICK, "--json", "--quiet"], capture_output=True, text=True, check=True
        )
    return folder, printed


def test_a_verb_that_there_is_not_gives_the_nearest(capsys):
    assert main(["mesure"]) == 2
    assert capsys.readouterr().err.endswith("did you mean measure?\n")
    assert main(["lab", "bulid"]) == 2
    assert capsys.readouterr().err.endswith(
        "no verb 'lab bulid'; there are lab build; did you mean lab build?\n"
    )


@pytest.mark.parametrize(("words", "status"), [(["lab", "--help"], 0), (["lab"], 2)])
def test_a_group_lists_what_is_below_it(words, status, capsys):
    assert main(words) == status
    assert "lab build    train the lab's tiny models" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "train"])
def test_a_flag_that_there_is_not_gives_the_nearest(verb, capsys):
    flag = max(flags(options_class(verb, [])), key=len)
    slip = flag[:-2] + flag[-1] + flag[-2]
    with pytest.raises(SystemExit, match="2"):
        main([*verb.split(), f"{slip}=x"])
    assert capsys.readouterr().err == f"corrpo {verb}: there is no option {slip}; did you mean {flag}?\n"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--estimator", "onw"], "one of reference, exact, pruned, last, own; did you mean own?"),
        (["--max_tokens=2.5"], "a whole number"),
        (["--temperature", "hot"], "a number"),
        (["--resamples"], "a whole number"),
    ],
)
def test_a_value_that_an_option_does_not_take_is_told_in_a_line(given, expected, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["measure", "m", "--samples", "s", "--output", "o", *given])
    words = " ".join(given).replace("=", " ").replace("_", "-")
    assert capsys.readouterr().err == f"corrpo measure: {words}: expected {expected}\n"


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "train"])
def test_positional_words_have_names_and_output_a_letter(verb, run_corrpo):
    page = run_corrpo(*verb.split(), "--help").out
    assert "(default: )" not in page.partition("--help")[0]
    assert not re.search(r"^\W*(STR|PATH)\b", page, re.MULTILINE)
    if "--output" in page:
        assert "-o " in page


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_complete_verbs_and_options(shell, capsys):
    assert main(["--completion", shell]) == 0
    script = capsys.readouterr().out
    assert "measure" in script
    assert "--max-new-tokens" in script


def test_completion_of_another_shell_names_those_there_are(capsys):
    assert main(["--completion", "cmd"]) == 2
    assert "bash, zsh, fish" in capsys.readouterr().err


def without_reader(*words):
    """The exit status and the remarks of a command whose output nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run([*COMMAND, *words], stdout=writing, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writing)
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("words", [["--help"], ["lab", "build", "--help"], ["--completion", "bash"]])
def test_a_reader_that_goes_away_leaves_no_traceback(words):
    assert without_reader(*words) == (141, b"")


def test_a_reader_of_tables_that_goes_away_leaves_no_traceback(measured):
    folder, _ = measured
    words = ["compare", str(folder / "base"), str(folder / "reasoning"), "--resamples", "0", "--quiet"]
    assert without_reader(*words) == (141, b"")


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ([], "what is done is kept, and the same command goes on"),
        (["--dry-run"], "nothing was written"),
    ],
)
def test_ctrl_c_while_a_command_is_imported_leaves_no_traceback(words, kept):
    """A KeyboardInterrupt where the parser of options is imported, the first that takes time."""
    code = """
import sys

class Interrupted:
    def find_spec(name, *_):
        if name == "tyro":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted)
from corrpo.cli.main import main

sys.exit(main(["measure", "gpt2", *sys.argv[1:]]))
"""
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 130
    assert ended.stderr == f"\ncorrpo measure: stopped; {kept}.\n"


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_is_obeyed_on_a_terminal(environment, coloured):
    reading, writing = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run(
        [*COMMAND, "merge", "--help"],
        stdout=writing,
        env={**plain, "TERM": "xterm", **environment},
        check=True,
    )
    os.close(writing)
    assert (b"\x1b[" in os.read(reading, 1 << 16)) == coloured
    os.close(reading)


def test_json_is_one_object_on_standard_output_and_quiet_leaves_the_other_empty(measured):
    folder, printed = measured
    assert printed.stderr == ""
    results = json.loads(printed.stdout)
    assert results.pop("output") == str(folder / "reasoning")
    assert results == read_json(folder / "reasoning" / FINGERPRINT)


def test_folders_are_compared_without_labels(measured, capsys):
    folder, _ = measured
    assert (
        main(["compare", str(folder / "base"), str(folder / "reasoning"), "--resamples", "20", "--json"]) == 0
    )
    assert [row["label"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["base", "reasoning"]


def test_json_leaves_the_help_of_training_as_it_is(capsys):
    helps = []
    for words in (["--help"], ["--help", "--json"]):
        with pytest.raises(SystemExit):
            main(["train", *words])
        helps.append(capsys.readouterr().out)
    assert helps[0] == helps[1] != ""


def test_json_of_what_gives_no_results_is_refused(capsys):
    assert main(["train", "sft", "--config", "recipe.yaml", "--dry-run", "--json"]) == 1
    assert "--json prints results, which --dry-run does not give" in capsys.readouterr().err
    assert main(["measure", "lab:qwen2/base", "--list-projections", "--json"]) == 1
    assert "--json prints results, which --list-projections and --dry-run do not" in capsys.readouterr().err


@pytest.mark.parametrize(("short", "dtype"), [("bf16", "bfloat16"), ("fp16", "float16"), ("fp32", "float32")])
def test_short_names_of_dtypes_are_those_of_the_long_ones(short, dtype):
    assert LoadOptions(dtype=short) == LoadOptions(dtype=dtype)
