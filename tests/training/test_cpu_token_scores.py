"""The scores of written tokens on a CPU beside TRL's own, and beside plain logits in float64."""

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig
from trl.trainer.utils import add_fused_lm_head

from corrpo.training import cpu_token_scores
from corrpo.training.cpu_token_scores import token_scores_on_cpu

OUTPUTS = ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1")
SHAPE = {
    "vocab_size": 20_011,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
}


def gemma3():
    torch.manual_seed(0)
    return Gemma3ForCausalLM(Gemma3TextConfig(**SHAPE))


def gemma2():
    torch.manual_seed(0)
    return Gemma2ForCausalLM(Gemma2Config(**SHAPE))


def batch():
    """Ids [3, 90], and labels that leave out a prompt of 20 tokens and some padding."""
    torch.manual_seed(1)
    ids = torch.randint(0, SHAPE["vocab_size"], (3, 90))
    labels = ids.clone()
    labels[:, :20], labels[1, 70:] = -100, -100
    return ids, labels


def scores(model, device="cpu", temperature=0.7):
    """The outputs of TRL's fused head within the block, and the gradients of a loss of both."""
    add_fused_lm_head(model, temperature=temperature, outputs=OUTPUTS)
    ids, labels = batch()
    with token_scores_on_cpu(torch.device(device)):
        out = model(input_ids=ids, labels=labels, fused_lm_head=True)
    (out.loss + 0.3 * out.entropy.sin().sum()).backward()
    return out, {name: weight.grad for name, weight in model.named_parameters()}


def assert_gradients_close(ours, theirs):
    for name, gradient in theirs.items():
        rounding = 1e-6 * gradient.abs().max().item()
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=rounding)


@pytest.mark.parametrize("most_kept", [2**30, 0])
def test_scores_and_gradients_are_trls(most_kept, monkeypatch):
    monkeypatch.setattr(cpu_token_scores, "MOST_KEPT", most_kept)
    theirs, their_gradients = scores(gemma3(), device="meta")
    ours, gradients = scores(gemma3())
    for name in ("loss", *OUTPUTS):
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-5, atol=1e-5)
    for name, gradient in their_gradients.items():
        torch.testing.assert_close(
            gradients[name], gradient, rtol=1e-4, atol=1e-6 * gradient.abs().max().item()
        )


def test_scores_are_those_of_plain_logits_in_float64():
    ours, _ = scores(gemma3())
    ids, labels = batch()
    logits = gemma3().double()(input_ids=ids).logits[:, :-1] / 0.7
    logps = logits.log_softmax(-1)
    scored = labels[:, 1:] != -100
    expected = logps.gather(-1, ids[:, 1:, None])[..., 0]
    entropy = -(logps.exp() * logps).sum(-1)
    torch.testing.assert_close(ours.log_probs[scored].double(), expected[scored], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.entropy[scored].double(), entropy[scored], rtol=0, atol=1e-5)
    assert not ours.log_probs[~scored].any()


def test_only_labelled_positions_reach_the_head_and_soft_capping_stays_trls(monkeypatch):
    seen = []
    own = cpu_token_scores.ChunkedLogProbFunction

    class Seen:
        @staticmethod
        def apply(hidden, *rest):
            seen.append(len(hidden))
            return own.apply(hidden, *rest)

    monkeypatch.setattr(cpu_token_scores, "ChunkedLogProbFunction", Seen)
    theirs, their_gradients = scores(gemma2(), device="meta")
    assert not seen
    ours, gradients = scores(gemma2())
    assert seen == [int((batch()[1][:, 1:] != -100).sum())]
    torch.testing.assert_close(ours.log_probs, theirs.log_probs, rtol=1e-5, atol=1e-5)
    for name, gradient in their_gradients.items():
        torch.testing.assert_close(
            gradients[name], gradient, rtol=1e-4, atol=1e-6 * gradient.abs().max().item()
        )


def test_a_frozen_head_gets_no_gradient_and_a_batch_without_labels_none_at_all():
    model = gemma3()
    model.get_output_embeddings().weight.requires_grad_(False)
    _, gradients = scores(model)
    assert gradients["model.embed_tokens.weight"] is None
    add_fused_lm_head(model)
    ids, labels = batch()
    with token_scores_on_cpu(torch.device("cpu")):
        loss = model(input_ids=ids, labels=torch.full_like(labels, -100), fused_lm_head=True).loss
    loss.backward()
    assert loss == 0
