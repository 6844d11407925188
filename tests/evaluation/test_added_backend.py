"""A backend of one's own, registered by name and evaluated, with no file of the package touched."""

import pytest
from transformers import AutoTokenizer

from corrpo.errors import BadInputError, CorrpoError
from corrpo.evaluation.evaluate import evaluate
from corrpo.evaluation.options import EvaluateOptions
from corrpo.evaluation.suites.load_suite import load_suite
from corrpo.models.generation.backend import (
    BACKENDS,
    Backend,
    Generation,
    find_backend,
    register_backend,
)


class CannedEngine:
    """Answers "7" to the first prompt of each batch, and does not end the others."""

    context = 256

    def __init__(self, checkpoint, loading, device):
        self.checkpoint = checkpoint
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint.source)
        self.end_tokens = {self.tokenizer.eos_token_id}

    def describe(self):
        return {"name": "canned", "revision": None, "dtype": "none", "digest": "0", "backend": "canned"}

    def respond(self, prompts, *, max_new_tokens, temperature, top_p, seed):
        answer = self.tokenizer("<answer>7</answer>", add_special_tokens=False).input_ids
        ended = Generation([*answer, self.tokenizer.eos_token_id], finished=True)
        endless = Generation(answer * max_new_tokens, finished=False)
        return [ended, *[endless] * (len(prompts) - 1)]


@pytest.fixture
def canned():
    backend = Backend(CannedEngine, batch_size=2, is_multiprocess=True, distributions=("pytest",))
    register_backend("canned", backend)
    yield backend
    del BACKENDS["canned"]


def test_a_registered_backend_writes_an_evaluation(tmp_path, canned):
    options = EvaluateOptions(n=1, max_new_tokens=60, backend="canned")
    suite = load_suite("lab:sums", problems=4)
    (result,) = evaluate(["r=lab:qwen2/reasoning"], [suite], output=tmp_path, **vars(options)).evaluations
    assert result.model["name"] == result.model["backend"] == "canned"
    assert result.settings["batch_size"] == 2
    assert result.versions["pytest"] == pytest.__version__
    assert result.generations["response"].to_list()[::2] == ["<answer>7</answer>"] * 2
    assert result.generations["n_tokens"].to_list()[1::2] == [60, 60]
    assert result.generations["finished"].to_list() == [True, False] * 2
    assert result.generations["answer"].to_list()[::2] == ["7", "7"]


def test_a_backend_with_processes_of_its_own_has_all_devices_in_this_process(tmp_path, canned):
    options = EvaluateOptions(n=1, max_new_tokens=8, backend="canned")
    suite = load_suite("lab:sums", problems=1)
    words = ["r=lab:qwen2/reasoning", "b=lab:qwen2/base"]
    done = evaluate(words, [suite], output=tmp_path, processes=2, **vars(options))
    assert len(done.evaluations) == 2  # another process would not know the backend


def test_a_name_is_taken_once_and_an_unknown_one_is_reported(canned):
    assert find_backend("canned") is canned
    with pytest.raises(BadInputError, match="there is a backend 'vllm' already"):
        register_backend("vllm", canned)
    with pytest.raises(CorrpoError, match="backend 'canon' is unknown; .*did you mean canned"):
        EvaluateOptions(backend="canon")
