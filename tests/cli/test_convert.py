"""`corrpo convert`, and GGUF files in the other verbs."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

import corrpo
from corrpo.errors import OutputFolderError
from corrpo.models.gguf_conversion import convert
from corrpo.models.saved_model import why_incomplete
from gguf_files import PROBE, TEMPLATE, write_gguf

CHAT = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny Qwen2 as a GGUF file of Q8_0."""
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny-q8_0.gguf", kind="Q8_0")


@pytest.fixture
def samples(tmp_path):
    """Three samples with responses, and one without."""
    lines = [{"id": str(n), "prompt": f"{n} + 1", "response": f"the hello {n}"} for n in range(3)]
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"id": "3", "prompt": "3 + 1"}]))
    return path


@pytest.mark.parametrize(("architecture", "kind"), [("llama", "Q8_0"), ("qwen2", "Q8_0"), ("gemma3", "F16")])
def test_a_converted_folder_is_the_model_of_the_file(tmp_path, run_corrpo, architecture, kind):
    path = write_gguf(tmp_path / "tiny.gguf", architecture, kind)
    out = tmp_path / "folder"
    out.mkdir()
    ended = run_corrpo("convert", path, out)
    assert (ended.status, ended.out) == (0, f"{out}\n")
    assert why_incomplete(out) is None
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
    model, tokenizer = corrpo.load_model(str(path))
    told = json.loads((out / "gguf.json").read_text())
    assert told == {"file": "tiny.gguf", "quantization": kind, "sha256": model.gguf["sha256"]}
    plain, info = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    for name, weights in plain.state_dict().items():
        torch.testing.assert_close(weights, model.state_dict()[name], rtol=0, atol=0)
    assert plain.generation_config.eos_token_id == model.generation_config.eos_token_id
    again = AutoTokenizer.from_pretrained(out)
    assert again(PROBE).input_ids == tokenizer(PROBE).input_ids
    assert again.chat_template == TEMPLATE
    assert again.apply_chat_template(CHAT, return_dict=False) == tokenizer.apply_chat_template(
        CHAT, return_dict=False
    )
    assert not list(tmp_path.glob(".*"))


def test_the_dtype_of_a_folder_can_be_chosen(tmp_path, tiny):
    convert(tiny, tmp_path / "half", dtype="bfloat16")
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"
    model, _ = corrpo.load_model(str(tmp_path / "half"))
    assert model.dtype == torch.bfloat16


def test_what_cannot_be_converted_is_told(tmp_path, tiny, run_corrpo):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "notes").write_text("mine")
    for words, said in (
        ((tiny, kept), f"{kept} holds something; give a new or an empty folder"),
        ((tiny, kept / "notes"), "notes holds something"),
        ((kept, tmp_path / "new"), "kept is no .gguf file, which is what can be converted"),
        ((tmp_path / "gone.gguf", tmp_path / "new"), "gone.gguf does not exist"),
    ):
        ended = run_corrpo("convert", *words)
        assert ended.status == 1
        assert said in ended.err
        assert "Traceback" not in ended.err
    assert [path.name for path in kept.iterdir()] == ["notes"]
    odd = write_gguf(tmp_path / "odd.gguf", changes={"tokenizer.ggml.pre": "llama-bpe"})
    ended = run_corrpo("convert", odd, tmp_path / "new")
    assert "is not as a Qwen2Tokenizer would have it" in ended.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "odd.gguf"]


@pytest.mark.parametrize("kind", ["a link", "a dangling link", "the working folder", "a deep path"])
def test_wherever_a_folder_can_be_the_model_is_in_it(tmp_path, tiny, kind, monkeypatch):
    target, out = tmp_path / "target", tmp_path / "out"
    if kind == "a deep path":
        out = tmp_path / "a" / "b"
    elif kind == "the working folder":
        target.mkdir()
        monkeypatch.chdir(target)
        out = Path()
    else:
        out.symlink_to(target)
        if kind == "a link":
            target.mkdir()
    assert convert(tiny, out) == out
    assert why_incomplete(out) is None
    assert not list(tmp_path.rglob(".*"))


def test_a_place_that_cannot_be_written_to_is_told_before_the_model_is_loaded(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("corrpo.models.gguf_conversion.load_model", None)
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "sub", Path("/proc/none")):
        with pytest.raises(OutputFolderError, match=f"cannot write {place}"):
            convert(tiny, place)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left"), SafetensorError("full")])
def test_nothing_stays_of_a_model_that_was_not_finished(tmp_path, tiny, monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr("corrpo.models.gguf_conversion._check_tokenizer", fails)
    with pytest.raises((KeyboardInterrupt, OutputFolderError)):
        convert(tiny, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_of_two_conversions_into_one_folder_the_second_is_told(tmp_path, tiny, monkeypatch):
    def meanwhile(*_):
        monkeypatch.undo()
        convert(tiny, tmp_path / "out")

    monkeypatch.setattr("corrpo.models.gguf_conversion._check_tokenizer", meanwhile)
    with pytest.raises(OutputFolderError, match="out holds something"):
        convert(tiny, tmp_path / "out")
    assert why_incomplete(tmp_path / "out") is None
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_measure_takes_a_file(tmp_path, tiny, samples, run_corrpo):
    command = ("measure", tiny, "--samples", samples, "--max-tokens", 4, "--max-new-tokens", 6)
    assert "peak memory" in run_corrpo(*command, "--output", tmp_path / "none", "--dry-run").out
    listed = run_corrpo("measure", tiny, "--list-projections")
    assert "q_proj" in listed.out
    ended = run_corrpo(*command, "--output", tmp_path / "out")
    assert ended.status == 0, ended.err
    told = json.loads((tmp_path / "out" / "fingerprint.json").read_text())["model"]
    assert told["name"] == str(tiny)
    assert told["gguf"]["quantization"] == "Q8_0"
    assert "Q8_0" in (tmp_path / "out" / "report.html").read_text()


def test_track_and_evaluate_take_files(tmp_path, tiny, samples, run_corrpo):
    other = write_gguf(tmp_path / "checkpoint-20.gguf", kind="F16")
    words = (f"base={tiny}", f"sft={other}")
    how = ("--samples", samples, "--max-tokens", 4, "--max-new-tokens", 6, "--processes", 1)
    ended = run_corrpo("track", *words, *how, "--output", tmp_path / "track")
    assert ended.status == 0, ended.err
    assert {"base", "sft"} <= {path.name for path in (tmp_path / "track").iterdir()}
    source = json.loads((tmp_path / "track" / "sft" / "step-000020" / "source.json").read_text())
    assert source["files"][0][:2] == [other.name, other.stat().st_size]
    suite = ("--suite", "lab:sums", "--problems", 2, "--n", 1, "--max-new-tokens", 4, "--processes", 1)
    ended = run_corrpo("evaluate", f"q8={tiny}", *suite, "--output", tmp_path / "evaluated")
    assert ended.status == 0, ended.err


def test_training_says_how_to_start_from_a_file(tmp_path, tiny, run_corrpo):
    ended = run_corrpo(
        "train", "sft", "--model", tiny, "--dataset", "lab:sums", "--output_dir", tmp_path / "out"
    )
    assert ended.status == 1
    assert f"write one with `corrpo convert {tiny} FOLDER`, and give that" in ended.err
