"""Two threads that measure models of one config, and a forward pass that keeps no graph of the embedding."""

from threading import Thread

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from corrpo.strength.derivatives.block_chain import blocks_of, chain_forward
from corrpo.strength.derivatives.model_state import frozen_eval_mode
from corrpo.strength.derivatives.request import GradientRequest
from corrpo.strength.gradient_norms import logit_gradient_norms
from corrpo.strength.projections.mixers import find_attention_layers
from corrpo.strength.spec import GradientSpec
from problem import SHAPE, Problem

IDS, _, POSITIONS = Problem("llama", "Llama").sequence()


def test_threads_take_turns_and_leave_a_shared_config_as_found():
    config = LlamaConfig(**SHAPE)
    models = [LlamaForCausalLM(config).double().eval() for _ in range(2)]
    jobs = [(models[0], "exact"), (models[1], "last"), (models[0], "own")]
    truth = [logit_gradient_norms(m, IDS, POSITIONS, estimator=e) for m, e in jobs]
    results = [[] for _ in jobs]

    def work(i: int) -> None:
        for _ in range(8):
            results[i].append(logit_gradient_norms(jobs[i][0], IDS, POSITIONS, estimator=jobs[i][1]))

    threads = [Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, expected in zip(results, truth, strict=True):
        assert len(result) == 8
        for norms in result:
            torch.testing.assert_close(norms, expected, rtol=1e-9, atol=1e-12)
    assert config._attn_implementation == "sdpa"


def test_a_pass_that_keeps_no_graph_keeps_none_of_an_embedding_that_requires_grad():
    model = Problem("llama", "Llama").model()
    model.enable_input_require_grads()
    with frozen_eval_mode(model):
        layers = find_attention_layers(model)
        query = GradientRequest(model, IDS[None], POSITIONS.sort().values, layers, GradientSpec())
        pieces, _, _ = chain_forward(query, blocks_of(model, layers) or [], query.positions, 21, False)
    assert [piece.output.grad_fn for piece in pieces] == [None] * 3
