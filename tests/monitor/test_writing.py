"""Lines without a response: watched while the lab's model writes, or scored after a stand-in of vLLM."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from corrpo.cli.main import main
from corrpo.errors import BadInputError, CorrpoError, OutputFolderError
from corrpo.lab import checkpoint
from corrpo.models.model_names import model_location
from corrpo.monitor import Monitor
from corrpo.monitor.journal import Journal

MODEL = "lab:qwen2/reasoning"
PROMPTS = [f"What is {n} + {n + 3}?" for n in range(20, 26)]


class StandIn:
    """As much of vLLM's engine as is used; what it writes depends on prompt and seed alone."""

    batches: ClassVar[list[int]] = []

    def __init__(self, model, **options):
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model_config = SimpleNamespace(dtype="torch.bfloat16", max_model_len=256)

    def get_tokenizer(self):
        return self.tokenizer

    def generate(self, prompts, parameters, use_tqdm):
        self.batches.append(len(prompts))
        written = []
        for prompt, parameter in zip(prompts, parameters, strict=True):
            assert 1 <= parameter.max_tokens <= 256 - len(prompt["prompt_token_ids"])
            text = f"<think>{parameter.seed % 100003 + 1} and {len(prompt['prompt_token_ids'])}</think>"
            ids = self.tokenizer(text, add_special_tokens=False).input_ids
            ended = SimpleNamespace(token_ids=[*ids, self.tokenizer.eos_token_id], finish_reason="stop")
            written.append(SimpleNamespace(outputs=[ended]))
        return written


@pytest.fixture(scope="module")
def lab_reasoning():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = checkpoint("qwen2", "reasoning")
    return Monitor(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))


@pytest.fixture
def vllm(monkeypatch):
    monkeypatch.setattr(StandIn, "batches", [])
    module = SimpleNamespace(LLM=StandIn, SamplingParams=SimpleNamespace, __spec__=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vllm", module)
    return StandIn


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    lines = [{"prompt": prompt} for prompt in PROMPTS]
    lines[2]["response"] = "<think>22+25: 2+5=7 and 2+2=4, so 47</think><answer>47</answer>"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def judge(prompts, output, *words):
    return main(["monitor", MODEL, "--generations", str(prompts), "--output", str(output), *words])


@pytest.mark.slow
def test_responses_that_lines_lack_are_written_and_watched_each_with_a_seed_of_its_own(prompts, tmp_path):
    assert judge(prompts, tmp_path / "a.jsonl", "--max-new-tokens", "60") == 0
    result = records(tmp_path / "a.jsonl")
    assert [record["line"] for record in result] == [1, 2, 3, 4, 5, 6]
    assert ["response" in record for record in result] == [True, True, False, True, True, True]
    assert all(record["rho"]["tokens"] == record["tokens"] <= 60 for record in result)
    assert "<|" not in result[0]["response"], "the token that ends a response is no part of its text"
    assert judge(prompts, tmp_path / "b.jsonl", "--max-new-tokens", "60") == 0
    assert records(tmp_path / "b.jsonl") == result
    assert judge(prompts, tmp_path / "c.jsonl", "--max-new-tokens", "60", "--seed", "1") == 0
    assert [r.get("response") for r in records(tmp_path / "c.jsonl")] != [r.get("response") for r in result]


def test_vllm_writes_and_a_second_pass_scores_its_tokens(prompts, tmp_path, vllm, lab_reasoning):
    assert judge(prompts, tmp_path / "a.jsonl", "--backend", "vllm") == 0
    assert vllm.batches == [5]
    result = records(tmp_path / "a.jsonl")
    texts = [record["response"] for record in result if "response" in record]
    assert len(set(texts)) == 5, "each prompt has a seed of its own"
    for number in (0, 4):
        scored = lab_reasoning.score(PROMPTS[number], result[number]["response"])
        assert result[number]["rho"] == scored.as_dict()["rho"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "prompts.jsonl"]


def test_responses_of_vllm_are_kept_when_the_scoring_is_cut(prompts, tmp_path, vllm, monkeypatch):
    assert judge(prompts, tmp_path / "whole.jsonl", "--backend", "vllm") == 0
    score, calls = Monitor.score, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score(*given)

    with monkeypatch.context() as patched:
        patched.setattr(Monitor, "score", interrupted)
        assert judge(prompts, tmp_path / "cut.jsonl", "--backend", "vllm") == 130
    assert judge(prompts, tmp_path / "cut.jsonl", "--backend", "vllm") == 0
    assert vllm.batches == [5, 5], "once for each output"
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_block_that_was_cut_is_written_again_alike(prompts, tmp_path, vllm, monkeypatch):
    assert judge(prompts, tmp_path / "whole.jsonl", "--backend", "vllm") == 0
    add, calls = Journal.add, []

    def interrupted(journal, record):
        calls.append(record)
        if len(calls) == 3:
            raise KeyboardInterrupt
        add(journal, record)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", interrupted)
        assert judge(prompts, tmp_path / "cut.jsonl", "--backend", "vllm") == 130
    assert judge(prompts, tmp_path / "cut.jsonl", "--backend", "vllm", "--seed", "3") == 1, "another seed"
    assert judge(prompts, tmp_path / "cut.jsonl", "--backend", "vllm") == 0
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_bad_lines_are_left_out_of_what_vllm_writes(prompts, tmp_path, vllm, capsys):
    with prompts.open("a") as file:
        file.write("{\n" + json.dumps({"prompt": "1" * 600}) + "\n")
    assert judge(prompts, tmp_path / "a.jsonl", "--backend", "vllm") == 1
    assert "line 7 is not valid JSON" in capsys.readouterr().err
    assert judge(prompts, tmp_path / "a.jsonl", "--backend", "vllm", "--skip-bad-lines") == 0
    output = capsys.readouterr()
    assert "judged 6, flagged 0, bad 2" in output.out
    assert "line 8: " in output.err


def test_vllm_in_python_and_where_it_does_not_fit(prompts, tmp_path, vllm, lab_reasoning, capsys):
    from corrpo.models.checkpoints import Checkpoint
    from corrpo.models.generation.backend import open_backend
    from corrpo.models.load_options import LoadOptions

    model = Checkpoint(MODEL, None, None, model_location(MODEL))
    backend = open_backend("vllm", model, LoadOptions(), "cpu")
    first, second = lab_reasoning.write(PROMPTS[:2], backend=backend, max_new_tokens=50)
    assert first.scored.tokens > 8
    assert first.text != second.text
    ended = lab_reasoning.written(lab_reasoning.prompt_ids(PROMPTS[0]), [backend.tokenizer.eos_token_id])
    assert (ended.text, ended.scored.tokens, ended.scored.rho, ended.scored.mean_entropy) == (
        "",
        0,
        None,
        None,
    )
    assert main(["monitor", MODEL, "--serve", "--backend", "vllm"]) == 1
    assert "takes transformers" in capsys.readouterr().err


def test_without_vllm_the_error_says_how_to_install_it(prompts, tmp_path, capsys):
    assert judge(prompts, tmp_path / "a.jsonl", "--backend", "vllm") == 1
    assert "the backend vllm needs vllm, which is not installed: pip install" in capsys.readouterr().err


def test_this_model_writes_several_responses(lab_reasoning):
    one, two = lab_reasoning.write([PROMPTS[0], PROMPTS[0]], max_new_tokens=80, seed=4)
    (same,) = lab_reasoning.write([PROMPTS[0]], max_new_tokens=80, seed=5)
    assert two == same != one
    with pytest.raises(BadInputError, match="max_new_tokens"):
        lab_reasoning.write(PROMPTS, max_new_tokens=0)


def test_a_journal_is_held_by_one_and_refuses_what_is_not_its_own(tmp_path):
    path = tmp_path / "x.partial"
    with Journal(path, {"a": 1}) as journal:
        journal.add({"line": 4})
        with pytest.raises(OutputFolderError, match="another process is writing"), Journal(path, {"a": 1}):
            pass
    with path.open("ab") as file:
        file.write(b'{"line": 5, "r')
    with Journal(path, {"a": 1}) as journal:
        assert journal.done == {4: {"line": 4}}
        journal.add({"line": 6})
    with Journal(path, {"a": 1}) as journal:
        assert list(journal.done) == [4, 6]
    with pytest.raises(OutputFolderError, match="a was 1, now 2"), Journal(path, {"a": 2}):
        pass
    for content in (b"hello\n", b'{"a": 1}\n7\n', b'{"a": 1}\n{"rho": 1}\n'):
        path.write_bytes(content)
        with (
            pytest.raises(OutputFolderError, match="not the work of corrpo monitor"),
            Journal(path, {"a": 1}),
        ):
            pass
        assert path.read_bytes() == content
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputFolderError, match="cannot write"), Journal(tmp_path / "file" / "y", {}):
        pass


def test_a_full_disk_is_reported_and_what_is_done_is_kept(tmp_path):
    with Journal(tmp_path / "full", {}) as journal:
        journal.add({"line": 1})
        with Path("/dev/full").open("wb", buffering=0) as full:
            kept, journal._file = journal._file, full
            with pytest.raises(CorrpoError, match=r"No space left.*what is done is kept"):
                journal.add({"line": 2})
            journal._file = kept
    with Journal(tmp_path / "full", {}) as journal:
        assert list(journal.done) == [1]
