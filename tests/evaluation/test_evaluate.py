"""Evaluations end to end on the lab: resumed, refused, and by another backend."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import polars as pl
import pytest

from corrpo.cli.main import main
from corrpo.errors import BadInputError, CorrpoError, OutputFolderError, first_line
from corrpo.evaluation.evaluate import evaluate
from corrpo.evaluation.options import EvaluateOptions
from corrpo.evaluation.results import Evaluation, load_evaluations
from corrpo.evaluation.suites.load_suite import load_suite
from corrpo.lab import checkpoint as lab_checkpoint
from corrpo.models.checkpoints import Checkpoint
from corrpo.models.generation.backend import Generation
from corrpo.models.generation.backends.vllm import VllmEngine
from corrpo.models.generation.batches import response_text
from corrpo.models.load_options import LoadOptions
from memory_errors import MEMORY_ERRORS

QUICK = EvaluateOptions(n=3, max_new_tokens=60, temperature=1.0, top_p=1.0, batch_size=8)
MODEL = "r=lab:qwen2/reasoning"


def sums(count=5):
    return [load_suite("lab:sums", problems=count)]


def test_every_generation_is_kept_and_the_numbers_follow_from_them(tmp_path):
    done = evaluate([MODEL, "lab:llama/reasoning"], sums(), output=tmp_path, **vars(QUICK))
    assert [evaluation.checkpoint["key"] for evaluation in done.evaluations] == ["r", "reasoning"]
    table = pl.read_parquet(tmp_path / "evaluations.parquet")
    for evaluation in load_evaluations(tmp_path):
        rows = pl.read_parquet(tmp_path / evaluation.checkpoint["key"] / "lab-sums" / "generations.parquet")
        assert rows.height == 15
        assert rows["sample"].to_list() == [0, 1, 2] * 5
        assert evaluation.estimates["pass@1"].value == pytest.approx(rows["correct"].mean())
        solved = rows.group_by("problem").agg(pl.col("correct").any())["correct"].mean()
        assert evaluation.estimates["pass@3"].value == pytest.approx(solved)
        assert evaluation.counts["unfinished"] == (~rows["finished"]).sum()
        assert rows["n_tokens"].max() <= 60
        row = table.filter((pl.col("key") == evaluation.checkpoint["key"]) & (pl.col("measure") == "pass@3"))
        assert row["value"].item() == evaluation.estimates["pass@3"].value


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_ends_as_an_undisturbed_one(tmp_path):
    words = ["evaluate", MODEL, "--suite", "lab:sums", "--problems", "12", "--n", "2", "--batch-size", "3"]
    words += ["--max-new-tokens", "60", "--temperature", "1", "--output"]
    command = [sys.executable, "-m", "corrpo.cli.main", *words, str(tmp_path / "killed")]
    parts = tmp_path / "killed" / "r" / "lab-sums" / "parts"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while len(list(parts.glob("generations-*"))) < 3 and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("generations-*.parquet")}
    assert 3 <= len(kept) < 8
    seen = []
    real = Evaluation.save

    def save(self, folder):
        seen.append({path.name: path.stat().st_mtime_ns for path in parts.glob("generations-*.parquet")})
        real(self, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Evaluation, "save", save)
        assert main([*words, str(tmp_path / "killed")]) == 0
    assert {name: seen[0][name] for name in kept} == kept, "nothing was generated twice"
    assert main([*words, str(tmp_path / "whole")]) == 0
    one, other = (Evaluation.load(tmp_path / name / "r" / "lab-sums") for name in ("killed", "whole"))
    assert one.generations.equals(other.generations)
    assert one.estimates == other.estimates
    assert not parts.exists()


def test_a_finished_evaluation_is_read_and_its_model_not_loaded(tmp_path, monkeypatch):
    before = evaluate([MODEL], sums(), output=tmp_path, **vars(QUICK)).evaluations[0]
    monkeypatch.setattr("corrpo.evaluation.checkpoint_evaluation.open_backend", None)
    assert evaluate([MODEL], sums(), output=tmp_path, **vars(QUICK)).evaluations[0].counts == before.counts


def test_two_processes_cannot_write_to_one_folder(tmp_path):
    from corrpo.jobs.folder_lock import locked_folder

    with locked_folder(tmp_path), pytest.raises(OutputFolderError, match="another process is writing"):
        evaluate([MODEL], sums(), output=tmp_path, **vars(QUICK))


def test_checkpoints_that_are_half_written_are_skipped(tmp_path):
    from corrpo.lab import checkpoint

    run = tmp_path / "run"
    (run / "checkpoint-20").mkdir(parents=True)
    (run / "checkpoint-20" / "config.json").write_text("{")
    (run / "checkpoint-10").symlink_to(checkpoint("qwen2", "reasoning"))
    done = evaluate([f"sft={run}"], sums(2), output=tmp_path / "out", **vars(QUICK))
    assert [evaluation.checkpoint["step"] for evaluation in done.evaluations] == [10]
    assert "checkpoint-20" in done.skipped[0].source


def test_a_checkpoint_that_fails_does_not_lose_the_others(tmp_path, capsys):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from corrpo.lab import checkpoint

    model = AutoModelForCausalLM.from_pretrained(checkpoint("qwen2", "reasoning"))
    model.model.norm.weight.data.fill_(float("nan"))
    model.save_pretrained(tmp_path / "nan")
    AutoTokenizer.from_pretrained(checkpoint("qwen2", "reasoning")).save_pretrained(tmp_path / "nan")
    words = [
        "evaluate",
        f"bad={tmp_path / 'nan'}",
        MODEL,
        "--suite",
        "lab:sums",
        "--problems",
        "2",
        "--n",
        "1",
    ]
    assert (
        main([*words, "--max-new-tokens", "20", "--output", str(tmp_path / "out"), "--processes", "1"]) == 1
    )
    output = capsys.readouterr()
    assert "problem 0: the model gives NaN" in output.err
    assert "pass@1" in output.out
    assert [evaluation.checkpoint["key"] for evaluation in load_evaluations(tmp_path / "out")] == ["r"]


def test_problems_of_reasoning_gym_and_of_a_file_by_the_command(tmp_path, capsys):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"problem": "What is 12 + 13?", "answer": "25"}) + "\n")
    words = [
        "evaluate",
        MODEL,
        "--suite",
        str(path),
        "rg:chain_sum",
        "--problems",
        "2",
        "--n",
        "2",
        "--k",
        "1",
    ]
    words += ["--prompt", "{problem}", "--max-new-tokens", "40", "--output", str(tmp_path / "out")]
    assert main(words) == 0
    assert "mine" in capsys.readouterr().out
    result = {evaluation.suite["name"]: evaluation for evaluation in load_evaluations(tmp_path / "out")}
    assert result["mine"].settings["check"] == "math"
    assert result["rg:chain_sum"].settings["check"] == "reasoning-gym"
    assert set(result["mine"].estimates) == {"pass@1", "average@2", "majority@2"}
    assert result["mine"].generations["prompt"][0] == "What is 12 + 13?"


def test_a_prompt_that_does_not_fit_is_named(tmp_path, capsys):
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"problem": "7" * 400, "answer": "1", "id": "seven"}) + "\n")
    assert main(["evaluate", MODEL, "--suite", str(path), "--output", str(tmp_path / "out")]) == 1
    assert "problem seven: its prompt of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n=0"),
        ({"n": 2, "k": (3,)}, r"k=\[3\]"),
        ({"prompt": "Solve it."}, r"must have \{problem\}"),
        ({"prompt": "{problem} in \\boxed{}"}, "cannot be filled in"),
        ({"temperature": -1.0}, "temperature=-1"),
        ({"confidence": 1.0}, "confidence=1"),
    ],
)
def test_bad_options_are_reported(options, message):
    with pytest.raises(BadInputError, match=message):
        EvaluateOptions(**options)


def test_k_above_n_of_a_suite_and_a_suite_twice_are_reported(tmp_path):
    with pytest.raises(BadInputError, match="has 1 generations a problem; give --n 8"):
        evaluate([MODEL], sums(), output=tmp_path, k=(8,))
    with pytest.raises(BadInputError, match="each once"):
        evaluate([MODEL], sums() * 2, output=tmp_path)


class StandIn:
    """As much of vLLM's engine as is used."""

    def __init__(self, model, **options):
        from transformers import AutoTokenizer

        self.options = options
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model_config = SimpleNamespace(dtype="torch.bfloat16", max_model_len=256)

    def get_tokenizer(self):
        return self.tokenizer

    def generate(self, prompts, parameters, use_tqdm):
        ids = self.tokenizer("<answer>7</answer>", add_special_tokens=False).input_ids
        written = []
        for prompt, parameter in zip(prompts, parameters, strict=True):
            assert prompt["prompt_token_ids"]
            assert parameter.max_tokens <= 60
            ended = [*ids, parameter.stop_token_ids[-1]]
            output = SimpleNamespace(token_ids=ended, finish_reason="stop")
            written.append(SimpleNamespace(outputs=[output]))
        self.seeds = [parameter.seed for parameter in parameters]
        assert max(self.seeds) < 1 << 63
        assert len(set(self.seeds)) == len(self.seeds)
        return written


def test_vllm_writes_the_generations_where_it_is_there(tmp_path, monkeypatch):
    options = EvaluateOptions(
        **{**vars(QUICK), "backend": "vllm", "batch_size": None, "seed": 20_261_130}  # a date, as a seed
    )
    done = evaluate([MODEL, "lab:qwen2/base"], sums(), output=tmp_path / "none", **vars(QUICK)).failed
    assert done == ()
    with pytest.raises(CorrpoError, match=r"the backend vllm needs vllm.* '\.\[vllm\]' in a checkout"):
        evaluate([MODEL], sums(), output=tmp_path / "missing", **vars(options))
    module = SimpleNamespace(LLM=StandIn, SamplingParams=SimpleNamespace, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vllm", module)
    (result,) = evaluate([MODEL], sums(), output=tmp_path / "vllm", **vars(options)).evaluations
    assert result.model == {
        "name": "lab:qwen2/reasoning",
        "revision": None,
        "dtype": "bfloat16",
        "digest": None,
        "backend": "vllm",
    }
    assert set(result.generations["response"]) == {"<answer>7</answer>"}
    assert result.settings["batch_size"] == 1024


@pytest.mark.parametrize("stated", ["generation_config.json", "config.json"])
def test_vllm_ends_at_every_token_at_which_the_model_does(tmp_path, monkeypatch, stated):
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=StandIn, __spec__=SimpleNamespace()))
    shutil.copytree(lab_checkpoint("qwen2", "base"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    (tmp_path / stated).write_text(
        json.dumps((config if stated == "config.json" else {}) | {"eos_token_id": [3, 7]})
    )
    engine = VllmEngine(Checkpoint("two", None, None, str(tmp_path)), LoadOptions(), "cuda")
    assert engine.end_tokens == {3, 7, engine.tokenizer.eos_token_id}
    assert response_text(engine, Generation([9, 7], finished=True)) == engine.tokenizer.decode([9])


def test_vllm_takes_no_adapter(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=StandIn, __spec__=SimpleNamespace()))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BadInputError, match="is an adapter; the backend vllm takes merged models"):
        VllmEngine(Checkpoint("lora", None, None, str(tmp_path)), LoadOptions(), "auto")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"device": "cpu"}, "device 'cpu' is for the backend transformers.*CUDA_VISIBLE_DEVICES"),
        ({"device_map": "auto"}, "device_map 'auto' is for the backend transformers"),
        ({"quantization": "8bit"}, "quantization '8bit' is for the backend transformers"),
    ],
)
def test_what_vllm_would_ignore_is_refused(tmp_path, monkeypatch, option, words):
    module = SimpleNamespace(LLM=StandIn, SamplingParams=SimpleNamespace, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vllm", module)
    options = EvaluateOptions(**{**vars(QUICK), "backend": "vllm", "batch_size": None})
    with pytest.raises(CorrpoError, match=words):
        evaluate([MODEL], sums(2), output=tmp_path / "out", **vars(options), **option)


def test_quantization_reaches_the_model_and_the_record(tmp_path, monkeypatch):
    from corrpo.models import loading

    real, asked = loading.load_model, []

    def load_model(name, **options):
        asked.append(options.pop("quantization"))
        return real(name, **options)

    monkeypatch.setattr(loading, "load_model", load_model)
    (result,) = evaluate([MODEL], sums(2), output=tmp_path, quantization="4bit", **vars(QUICK)).evaluations
    assert asked == ["4bit"]
    assert result.settings["quantization"] == "4bit"


def test_other_weights_under_vllm_are_refused(tmp_path, monkeypatch):
    from corrpo.lab import checkpoint

    module = SimpleNamespace(LLM=StandIn, SamplingParams=SimpleNamespace, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vllm", module)
    options = EvaluateOptions(**{**vars(QUICK), "backend": "vllm", "batch_size": None})
    model = shutil.copytree(checkpoint("qwen2", "reasoning"), tmp_path / "model")

    def run():
        return evaluate([f"r={model}"], sums(2), output=tmp_path / "out", **vars(options))

    assert run().failed == ()
    assert run().failed == (), "the same weights are the same evaluation"
    os.utime(model / "model.safetensors", ns=(1, 1))
    with pytest.raises(CorrpoError, match=r"model\.weights\.files was"):
        run()


def test_the_table_holds_the_models_of_every_call(tmp_path):
    for word in (MODEL, "b=lab:qwen2/base"):
        evaluate([word], sums(2), output=tmp_path, **vars(QUICK))
    assert set(pl.read_parquet(tmp_path / "evaluations.parquet")["key"]) == {"r", "b"}


@pytest.mark.parametrize("error", MEMORY_ERRORS)
def test_no_memory_for_one_checkpoint_does_not_lose_the_others(error, tmp_path, monkeypatch):
    from corrpo.models.generation.backends.transformers import TransformersEngine

    real = TransformersEngine.respond

    def respond(self, prompts, **sampling):
        if self.name == "lab:qwen2/base":
            raise error
        return real(self, prompts, **sampling)

    monkeypatch.setattr(TransformersEngine, "respond", respond)
    done = evaluate(["large=lab:qwen2/base", MODEL], sums(2), output=tmp_path, **vars(QUICK))
    assert [evaluation.checkpoint["key"] for evaluation in done.evaluations] == ["r"]
    assert f"{first_line(error)}; try fewer --processes" in done.failed[0].reason


def test_without_math_verify_nothing_is_generated(tmp_path, monkeypatch):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"problem": "1 + 1?", "answer": "2"}) + "\n")
    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(CorrpoError, match=r"math-verify, which is not installed: pip install"):
        evaluate([MODEL], [load_suite(str(path))], output=tmp_path / "out", **vars(QUICK))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_interrupt_keeps_what_is_done(tmp_path):
    words = ["evaluate", MODEL, "--suite", "lab:sums", "--problems", "40", "--n", "4", "--batch-size", "4"]
    command = [sys.executable, "-m", "corrpo.cli.main", *words, "--output", str(tmp_path / "out")]
    parts = tmp_path / "out" / "r" / "lab-sums" / "parts"
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(parts.glob("generations-*")) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        output = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert "the same command goes on" in output
    assert list(parts.glob("generations-*"))
