"""One model in several threads: calls wait for one another and give what they give one by one."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import pytest
import torch

from corrpo import logit_gradient_norms, measure
from corrpo.errors import BadInputError, NonFiniteError
from corrpo.models.generation.backends.transformers import generate
from corrpo.models.turns import model_turn
from corrpo.monitor import Monitor
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.rollouts import RolloutMeter
from shared_models import lab_copies

QUICK = {"template": "plain", "resamples": 20, "permutations": 20}
IDS = torch.arange(5, 19)


def state(model):
    return {
        "modes": [module.training for module in model.modules()],
        "requires_grad": [parameter.requires_grad for parameter in model.parameters()],
        "hooks": [len(module._forward_hooks) + ("forward" in module.__dict__) for module in model.modules()],
        "generation": model.generation_config.to_dict(),
        "attention": model.config._attn_implementation,
    }


def jobs(model, tokenizer):
    """Public calls on one model, each to something that can be compared."""
    asked = [{"id": f"s{i}", "prompt": f"What is {i * 7 + 3} + {i}?"} for i in range(3)]
    given = [{"id": "g", "prompt": "1 + 1 = ", "response": "2, or so they say"}]
    monitor = Monitor(model, tokenizer)
    meters = [RolloutMeter(model, InversionSettings(inversion_estimator=name)) for name in ("own", "last")]
    return {
        "measure": partial(measure, model, tokenizer, asked, max_new_tokens=12, **QUICK),
        "measure given": partial(measure, model, tokenizer, given, untrained=True, **QUICK),
        "norms": lambda: logit_gradient_norms(model, IDS, [3, 9]).tolist(),
        "generate": lambda: generate(model, tokenizer, [[5, 6, 7], [8]], max_new_tokens=10, seed=3),
        "monitor": lambda: [watched.strength for watched in monitor.watch("2 + 2 = ", max_new_tokens=8)],
        "score": lambda: [float(x) for x in monitor.meter.score([5, 6], [7, 8, 9])[1]],
        "rollouts": lambda: [
            meter(model, [[5, 6]], [[7, 8, 9, 10]]).strength_mean.tolist() for meter in meters
        ],
        "refused": lambda: refusal(model, tokenizer),
    }


def refusal(model, tokenizer):
    with pytest.raises(BadInputError) as caught:
        measure(model, tokenizer, [{"prompt": "x"}], layers=(99,), **QUICK)
    return str(caught.value)


def test_calls_from_several_threads_give_what_they_give_one_by_one_and_leave_the_model_as_found():
    model, tokenizer = lab_copies("qwen2", "base")
    model.generation_config.temperature, model.generation_config.do_sample = 0.37, True
    model.train()
    model.lm_head.weight.requires_grad_(False)
    work = jobs(model, tokenizer)
    alone = {name: job() for name, job in work.items()}
    before, random = state(model), torch.get_rng_state()
    together = Barrier(len(work))

    def run(name):
        together.wait()
        return work[name]()

    for _ in range(2):
        with ThreadPoolExecutor(len(work)) as pool:
            results = dict(zip(work, pool.map(run, work), strict=True))
        for name, result in results.items():
            assert result == alone[name], name
        assert state(model) == before
        assert torch.equal(torch.get_rng_state(), random)


def test_a_call_that_fails_gives_its_turn_and_the_model_back():
    model, tokenizer = lab_copies("qwen2", "base")
    before = state(model)
    weights = model.model.norm.weight
    with torch.no_grad():
        weights.fill_(float("nan"))
    with pytest.raises(NonFiniteError):
        measure(model, tokenizer, [{"id": "a", "prompt": "x"}], max_new_tokens=3, **QUICK)
    with ThreadPoolExecutor(1) as pool, pytest.raises(NonFiniteError):
        pool.submit(logit_gradient_norms, model, IDS, [3]).result(timeout=60)
    assert state(model) == before


def test_an_adapter_takes_the_turn_of_its_base_and_another_model_has_its_own():
    peft = pytest.importorskip("peft")
    base, other = lab_copies("qwen2", "base")[0], lab_copies("qwen2", "base")[0]
    adapted = peft.get_peft_model(base, peft.LoraConfig(target_modules=["q_proj"], r=2))
    started = []

    def take(model):
        with model_turn(model):
            started.append(model)

    with ThreadPoolExecutor(2) as pool:
        with model_turn(base), model_turn(base):
            waiting = pool.submit(take, adapted)
            pool.submit(take, other).result(timeout=60)
            assert started == [other]
        waiting.result(timeout=60)
    assert started == [other, adapted]
