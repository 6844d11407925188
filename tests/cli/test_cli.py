"""The command line as a user meets it: end to end, with mistakes, interruptions and a second process."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration, XLMConfig, XLMWithLMHeadModel

from corrpo import Fingerprint
from corrpo.cli.main import VERBS, main
from corrpo.lab import checkpoint

QUICK = ["--template", "plain", "--resamples", "50", "--permutations", "50"]
SAMPLES = [
    {"id": "dog", "prompt": "The dog ", "response": "walked to the river. The end"},
    {"id": "cat", "prompt": "A cat ", "response": "found the key near a bridge."},
    {"id": "own", "prompt": "Later the "},
]


@pytest.fixture
def samples(tmp_path) -> Path:
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(sample) + "\n" for sample in SAMPLES))
    return path


def measure_command(model, samples: Path, output: Path) -> list[str]:
    options = ["--samples", str(samples), "--output", str(output), "--max-new-tokens", "20"]
    return ["measure", str(model), *options, *QUICK]


def errors_of(capsys, arguments: list[str]) -> str:
    """The message of a command that must fail, without a traceback."""
    assert main(arguments) == 1
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_help_names_every_verb(capsys):
    assert main(["--help"]) == 0
    page = capsys.readouterr().out
    assert all(verb in page for verb in VERBS)
    assert "prompts.jsonl" in page
    assert all(len(line) <= 110 for line in page.splitlines())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_page_of_options(verb, run_corrpo):
    ended = run_corrpo(*verb.split(), "--help")
    assert ended.status == 0
    assert {"view": "--port", "convert": "--dtype"}.get(verb, "--output") in ended.out


def test_an_unknown_verb_names_the_known_ones(capsys):
    assert main(["mesure"]) == 2
    assert "'mesure'; there are demo, measure" in capsys.readouterr().err


def test_measure_writes_what_the_contract_says_and_repeats_itself(samples, tmp_path, capsys):
    command = measure_command(checkpoint("qwen2", "base"), samples, tmp_path / "out")
    assert main(command) == 0
    printed = capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"tokens.parquet", "fingerprint.json", "report.html", "responses.jsonl"} <= names
    fingerprint = Fingerprint.load(tmp_path / "out")
    assert str(fingerprint.spearman) in printed
    assert "rests on 3 samples" in printed
    assert "rests on 3 samples" in (tmp_path / "out" / "report.html").read_text()
    assert fingerprint.samples["given"] == 3
    summary = json.loads((tmp_path / "out" / "fingerprint.json").read_text())
    assert summary["schema_version"] == 1
    assert {"estimator", "norm", "target", "layers", "projections", "seed"} <= set(summary["settings"])
    assert {"name", "revision", "dtype", "digest"} <= set(summary["model"])
    assert {"corrpo", "torch", "transformers", "python"} <= set(summary["versions"])
    assert main(command) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize("estimator", ["last", "own"])
def test_other_estimators_layers_and_projections(samples, tmp_path, estimator):
    command = measure_command(checkpoint("qwen2", "base"), samples, tmp_path / "out")
    chosen = ["--estimator", estimator, "--projections", "q", "o", "--layers", "-1", "--max-tokens", "8"]
    assert main([*command, *chosen, "--untrained"]) == 0
    fingerprint = Fingerprint.load(tmp_path / "out")
    norms = fingerprint.tokens["norms"].drop_nulls()
    assert norms.list.len().unique().to_list() == [1]
    assert norms.list.first().list.len().unique().to_list() == [2]
    assert fingerprint.untrained is not None


def test_compare_two_types(samples, tmp_path, capsys):
    for kind in ("base", "safety"):
        assert main(measure_command(checkpoint("qwen2", kind), samples, tmp_path / kind)) == 0
    given = SAMPLES[:2]
    samples.write_text("".join(json.dumps(sample) + "\n" for sample in given))
    labels = [f"{kind}={tmp_path / kind}" for kind in ("base", "safety")]
    assert main(["compare", *labels, "--output", str(tmp_path / "both"), "--resamples", "50"]) == 0
    comparison = json.loads((tmp_path / "both" / "comparison.json").read_text())
    rho = {row["type"]: row["spearman"]["value"] for row in comparison["rows"]}
    assert rho["base"] == Fingerprint.load(tmp_path / "base").spearman.value
    (difference,) = comparison["differences"]
    assert abs(difference["difference"]["value"]) == pytest.approx(abs(rho["safety"] - rho["base"]))
    assert (tmp_path / "both" / "comparison.html").exists()
    assert "safety" in capsys.readouterr().out


def test_a_bad_line_is_reported_before_the_model_is_loaded(samples, tmp_path, capsys):
    samples.write_text(samples.read_text() + '{"response": "x"}\n')
    message = errors_of(capsys, measure_command("no/such-model", samples, tmp_path / "out"))
    assert 'samples.jsonl line 4: "prompt" is missing' in message


def test_models_that_cannot_be_measured_say_why(samples, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    T5ForConditionalGeneration(T5Config(d_model=16, d_ff=16, num_layers=1)).save_pretrained(tmp_path / "t5")
    XLMWithLMHeadModel(XLMConfig(emb_dim=16, n_layers=1, n_heads=2)).save_pretrained(tmp_path / "xlm")
    tokens = [path for path in checkpoint("qwen2", "base").iterdir() if "token" in path.name]
    for path in tokens:
        (tmp_path / "xlm" / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "broken"
    broken.mkdir()
    for path in checkpoint("qwen2", "base").iterdir():
        complete = path.read_bytes()
        (broken / path.name).write_bytes(complete[:1000] if path.suffix == ".safetensors" else complete)
    for model, words in {
        tmp_path / "none": "none does not exist",
        empty: "holds no config.json (it holds nothing)",
        samples: "is a file; expected the folder",
        tmp_path / "t5": "is a t5 model, which is not a causal LM",
        tmp_path / "xlm": "no attention or other token mixer",
        broken: "cannot load",
        "no/such-model": "cannot load the config of no/such-model",
    }.items():
        assert words in errors_of(capsys, measure_command(model, samples, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_that_lacks_weights_is_refused(samples, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "lacking"
    folder.mkdir()
    for path in checkpoint("qwen2", "base").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.self_attn.q_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    message = errors_of(capsys, measure_command(folder, samples, tmp_path / "out"))
    assert "model.layers.1.self_attn.q_proj.weight" in message
    assert "random ones in their place" in message


def test_a_chat_without_a_chat_template(samples, tmp_path, capsys):
    folder = tmp_path / "plain"
    folder.mkdir()
    for path in checkpoint("qwen2", "base").iterdir():
        if path.name != "chat_template.jinja":
            (folder / path.name).write_bytes(path.read_bytes())
    samples.write_text(json.dumps({"prompt": [{"role": "user", "content": "Hi"}]}))
    message = errors_of(capsys, measure_command(folder, samples, tmp_path / "out"))
    assert "samples.jsonl line 1" in message
    assert "no chat template" in message


def test_a_full_disk_keeps_what_is_done(samples, tmp_path, capsys, monkeypatch):
    command = measure_command(checkpoint("qwen2", "base"), samples, tmp_path / "out")
    real, written = Path.write_bytes, []

    def filling(self, content):
        written.append(self)
        return real(self if len(written) != 4 else Path("/dev/full"), content)

    monkeypatch.setattr(Path, "write_bytes", filling)
    message = errors_of(capsys, command)
    assert "no room on the disk" in message
    assert "run the same command again" in message
    assert len(list((tmp_path / "out" / "parts").iterdir())) == 2
    monkeypatch.undo()
    assert main(command) == 0


def test_another_runs_folder_is_refused(samples, tmp_path, capsys):
    command = measure_command(checkpoint("qwen2", "base"), samples, tmp_path / "out")
    assert main(command) == 0
    message = errors_of(capsys, [*command, "--norm", "frobenius"])
    assert "settings.norm was 'nuclear', now 'frobenius'" in message
    other = measure_command(checkpoint("qwen2", "safety"), samples, tmp_path / "out")
    assert "model.name was" in errors_of(capsys, other)


@pytest.fixture
def slow_samples(tmp_path) -> Path:
    """Enough work to be interrupted in."""
    path = tmp_path / "slow.jsonl"
    lines = [{"id": str(i), "prompt": "The ", "response": "dog walked home " * 6} for i in range(14)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def start(arguments: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", "import sys; from corrpo.cli.main import main; sys.exit(main())", *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def wait_for_parts(folder: Path, count: int) -> None:
    for _ in range(1200):
        if len(list(folder.glob("parts/tokens-*.parquet"))) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"{folder} never had {count} parts")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_killed_run_goes_on_and_ends_like_an_undisturbed_one(slow_samples, tmp_path, kind, status, capsys):
    command = measure_command(checkpoint("qwen2", "base"), slow_samples, tmp_path / "killed")
    process = start(command)
    wait_for_parts(tmp_path / "killed", 2)
    process.send_signal(kind)
    _, message = process.communicate(timeout=60)
    assert process.returncode == status
    if kind == signal.SIGINT:
        assert "what is done is kept" in message
    done = sorted((tmp_path / "killed" / "parts").glob("tokens-*.parquet"))
    assert 2 <= len(done) < 14
    times = [path.stat().st_mtime_ns for path in done]
    second = start(command)
    wait_for_parts(tmp_path / "killed", len(done) + 1)
    assert [path.stat().st_mtime_ns for path in done] == times
    assert "another process is writing there" in errors_of(capsys, command)
    assert second.wait(timeout=120) == 0
    assert main(measure_command(checkpoint("qwen2", "base"), slow_samples, tmp_path / "whole")) == 0
    killed, complete = Fingerprint.load(tmp_path / "killed"), Fingerprint.load(tmp_path / "whole")
    assert killed.tokens.equals(complete.tokens)
    assert killed.statistics == complete.statistics


def test_closed_standard_streams_are_no_error():
    command = f"{shlex.quote(sys.executable)} -m corrpo.cli.main --version <&- >&-"
    ended = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_dtype_and_seed_reach_the_measurement(samples, tmp_path):
    command = measure_command(checkpoint("qwen2", "base"), samples, tmp_path / "out")
    assert main([*command, "--dtype", "float64", "--seed", "3"]) == 0
    fingerprint = Fingerprint.load(tmp_path / "out")
    assert fingerprint.model["dtype"] == "float64"
    assert fingerprint.settings["seed"] == 3
    assert torch.get_default_dtype() == torch.float32
