"""Half precision, quantized weights and attention backends: what they cost, and what is refused."""

from copy import deepcopy

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from corrpo.errors import NonFiniteError, UnsupportedModelError
from corrpo.measurement.measured_model import describe_measured_model
from corrpo.models.description import model_digest
from corrpo.strength.estimators import ESTIMATORS
from corrpo.strength.gradient_norms import logit_gradient_norms
from problems import LENGTH, PROBLEMS, Problem
from shared_models import shared_model

LLAMA = Problem("llama", "Llama")
QWEN2 = Problem("qwen2", "Qwen2")
SOME = [p for p in PROBLEMS if not p.padding and p.family in ("Llama", "Mistral", "Qwen3", "Gemma2", "GPT2")]
IDS, _, POSITIONS = LLAMA.sequence()
MEDIAN_ERROR = {torch.bfloat16: 0.03, torch.float16: 0.004}
RANK_AGREEMENT = {torch.bfloat16: 0.95, torch.float16: 0.99}


def strengths(model: nn.Module, problem: Problem, estimator: str) -> tuple[Tensor, Tensor]:
    """Norms of every token that sees two or more, and their mean over layers and projections."""
    ids, mask, _ = problem.sequence()
    first = int(mask.argmax())
    positions = torch.arange(first + 2, first + LENGTH)
    norms = logit_gradient_norms(model, ids, positions, attention_mask=mask, estimator=estimator).double()
    return norms, norms.mean((1, 2))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", MEDIAN_ERROR, ids=str)
@pytest.mark.parametrize("problem", SOME, ids=lambda problem: problem.name)
def test_half_precision_keeps_the_order_of_the_tokens(problem, dtype):
    model = shared_model(problem)
    half = deepcopy(model).to(dtype)
    for estimator in problem.fits:
        norms, order = strengths(half, problem, estimator)
        truth, true_order = strengths(model, problem, estimator)
        assert norms.isfinite().all()
        assert ((norms - truth).abs() / truth).median() < MEDIAN_ERROR[dtype]
        assert spearmanr(order, true_order).statistic > RANK_AGREEMENT[dtype]


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_an_overflow_of_float16_is_reported_with_a_way_out(estimator):
    model = LLAMA.model(torch.float32)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.mul_(1e5)
    assert logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator).isfinite().all()
    with pytest.raises(NonFiniteError, match="NaN or infinite.*try a wider dtype .float32"):
        logit_gradient_norms(model.half(), IDS, POSITIONS, estimator=estimator)


class _Dequantizing(torch.autograd.Function):
    """x W^T of packed weights; the backward unpacks them again, as bitsandbytes' does."""

    @staticmethod
    def forward(ctx, inputs: Tensor, module: "Packed") -> Tensor:
        ctx.module = module
        return inputs @ module.dequantized().to(inputs.dtype).T

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] @ ctx.module.dequantized().to(gradients[0].dtype), None


class Packed(nn.Linear):
    """A stand-in for bitsandbytes' Linear4bit and Linear8bitLt.

    The weight is a uint8 parameter that needs no gradient, of 4 bits two to a byte or of 8 bits, with a scale
    to each block of 8 weights.
    """

    def __init__(self, linear: nn.Linear, bits: int):
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None, device="meta")
        self.bits, self.levels = bits, 2 ** (bits - 1) - 1
        blocks = linear.weight.detach().reshape(-1, 8)
        scale = blocks.abs().amax(1, keepdim=True) / self.levels
        codes = (blocks / scale).round().add(self.levels).to(torch.uint8).flatten()
        if bits == 4:
            codes = codes[::2] * 16 + codes[1::2]
        self.register_buffer("scale", scale)
        self.weight = nn.Parameter(codes[:, None], requires_grad=False)
        if linear.bias is not None:
            self.bias = nn.Parameter(linear.bias.detach().clone())

    def dequantized(self) -> Tensor:
        """The weight [d_out, d_in] that the module stands for."""
        codes = self.weight[:, 0]
        if self.bits == 4:
            codes = torch.stack([codes // 16, codes % 16], dim=1).flatten()
        blocks = (codes.to(self.scale.dtype) - self.levels).reshape(-1, 8) * self.scale
        return blocks.reshape(self.out_features, self.in_features)

    def forward(self, input: Tensor) -> Tensor:
        output = _Dequantizing.apply(input, self)
        return output if self.bias is None else output + self.bias


def quantized(problem: Problem, bits: int, *, head: bool = False) -> tuple[nn.Module, nn.Module]:
    """A model with packed weights, and the dense model of the same weights; the head stays as it is."""
    packed, dense = problem.model(torch.float64), problem.model(torch.float64)
    for name, module in list(packed.named_modules()):
        if type(module) is nn.Linear and (head or name != "lm_head"):
            parent, _, last = name.rpartition(".")
            packing = Packed(module, bits)
            setattr(packed.get_submodule(parent), last, packing)
            dense.get_submodule(name).weight.data.copy_(packing.dequantized())
    return packed.eval(), dense


@pytest.mark.parametrize("head", [False, True], ids=["plain head", "packed head"])
@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("problem", [LLAMA, QWEN2], ids=lambda problem: problem.name)
def test_quantized_weights_give_the_norms_of_the_dense_weights_they_stand_for(problem, bits, head):
    packed, dense = quantized(problem, bits, head=head)
    original = logit_gradient_norms(problem.model(torch.float64), IDS, POSITIONS)
    truth = logit_gradient_norms(dense, IDS, POSITIONS, estimator="reference")
    assert ((original - truth).abs() / truth).max() > 1e-4, "quantizing must change what is measured"
    for estimator in ("exact", "last", "own"):
        norms = logit_gradient_norms(packed, IDS, POSITIONS, estimator=estimator)
        expected = logit_gradient_norms(dense, IDS, POSITIONS, estimator=estimator)
        torch.testing.assert_close(norms, expected, rtol=1e-5, atol=0)
    exact = logit_gradient_norms(packed, IDS, POSITIONS, estimator="exact")
    torch.testing.assert_close(exact, truth, rtol=1e-5, atol=0)


def test_reference_says_why_it_does_not_measure_quantized_weights():
    packed, _ = quantized(LLAMA, 4)
    with pytest.raises(
        UnsupportedModelError, match="floating-point weight.*a Packed in .*'exact', 'last' or"
    ):
        logit_gradient_norms(packed, IDS, POSITIONS, estimator="reference")


def test_quantized_weights_are_part_of_what_identifies_a_model():
    packed, _ = quantized(LLAMA, 4)
    before = model_digest(packed)
    packed.model.layers[0].self_attn.q_proj.weight[0] += 1
    assert model_digest(packed) != before
    assert describe_measured_model(packed)["attention_layers"] == 3


@pytest.mark.parametrize("backend", ["sdpa", "eager", "flex_attention", "flash_attention_2"])
@pytest.mark.parametrize("estimator", ["exact", "last", "own"])
def test_the_attention_backend_of_a_model_does_not_matter_and_stays(estimator, backend):
    """The library of flash attention need not be there: the estimators bring their own attention."""
    model = LLAMA.model()
    expected = logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
    model.config._attn_implementation = backend
    norms = logit_gradient_norms(model, IDS, POSITIONS, estimator=estimator)
    torch.testing.assert_close(norms, expected, rtol=0, atol=0)
    assert model.config._attn_implementation == backend


def test_reference_runs_the_attention_that_the_model_has():
    model = LLAMA.model()
    expected = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    model.set_attn_implementation("eager")
    norms = logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
    torch.testing.assert_close(norms, expected, rtol=1e-3, atol=0)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize("error", [ImportError("no kernels"), NotImplementedError("no backward on CPU")])
def test_reference_says_that_the_attention_of_the_model_does_not_run_here(monkeypatch, error):
    """As flash attention without its library, and flex attention, which has no backward on a CPU."""
    model = LLAMA.model()

    def fails(**_inputs):
        raise error

    monkeypatch.setattr(model, "forward", fails)
    with pytest.raises(
        UnsupportedModelError, match="'sdpa', which fails here .no .*'exact', 'last' or 'own'"
    ):
        logit_gradient_norms(model, IDS, POSITIONS, estimator="reference")
