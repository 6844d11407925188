"""A second device that is not there: tensors that say they are on it and are computed by the CPU.

A tensor on "twin:0" and one on "cpu" are refused together, as those of two GPUs are, so that a model spread
over both shows what a model spread over two GPUs would. Registers a backend of torch, so it needs a process
of its own: `python twin_device.py` prints, as JSON, how far such a model is from a plain one.
"""

import copy
import json
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import corrpo
from corrpo import load_model
from corrpo.rewards.inversion_settings import InversionSettings
from corrpo.rewards.rollouts import RolloutMeter, RolloutSignals
from corrpo.rewards.strength_fit import StrengthFit
from corrpo.strength.derivatives import differentiation_plan
from corrpo.strength.estimators import ESTIMATORS

CPU, TWIN = "cpu", "twin:0"
IDS = [3, 14, 15, 9, 26, 5, 7, 8]


class _Backend(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]


class Twin(Tensor):
    """A tensor on the twin: `on_cpu` holds its numbers."""

    on_cpu: Tensor

    @staticmethod
    def __new__(cls, on_cpu: Tensor):
        twin = Tensor._make_wrapper_subclass(
            cls,
            on_cpu.shape,
            strides=on_cpu.stride(),
            storage_offset=on_cpu.storage_offset(),
            dtype=on_cpu.dtype,
            device=TWIN,
            requires_grad=on_cpu.requires_grad,
        )
        twin.on_cpu = on_cpu
        return twin

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), options=None):
        return _run(function, arguments, options or {})

    def __repr__(self):
        return f"Twin({self.on_cpu})"

    def tolist(self):
        return self.on_cpu.tolist()

    def new_tensor(self, data, **options):
        return torch.tensor(data, **{"dtype": self.dtype, **options}).to(TWIN)

    def __getitem__(self, places):
        return super().__getitem__(torch.tensor(places) if isinstance(places, list) else places)

    def __setitem__(self, places, values):
        super().__setitem__(torch.tensor(places) if isinstance(places, list) else places, values)


def _run(function: Any, arguments: Any, options: dict[str, Any]) -> Any:
    """An operation by the CPU, and where its result is; an error for tensors on both devices."""
    tensors = [leaf for leaf in tree_leaves((arguments, options)) if isinstance(leaf, Tensor)]
    given = options.get("device")
    if given is not None:
        on_twin = torch.device(given).type == "twin"
        options = options | {"device": CPU}
    else:
        on_twin = any(isinstance(tensor, Twin) for tensor in tensors)
        name, compared = str(function), [tensor for tensor in tensors if tensor.dim()]
        if "aten.index" in name and isinstance(tensors[0], Twin):
            compared = tensors[:1]  # indices may be on the CPU
        if name != "aten.copy_.default" and len({tensor.device for tensor in compared}) > 1:
            raise RuntimeError(f"{name}: tensors on two devices")
    known = {id(tensor.on_cpu): tensor for tensor in tensors if isinstance(tensor, Twin)}
    result = function(*tree_map(_on_cpu, arguments), **tree_map(_on_cpu, options))
    if not on_twin:
        return result
    return tree_map(lambda leaf: _placed(leaf, known), result)


def _on_cpu(leaf: Any) -> Any:
    return leaf.on_cpu if isinstance(leaf, Twin) else leaf


def _placed(leaf: Any, known: dict[int, Tensor]) -> Any:
    """A result on the twin; the very tensor that an operation in place was given."""
    if not isinstance(leaf, Tensor):
        return leaf
    return known[id(leaf)] if id(leaf) in known else Twin(leaf)


class TwoDevices(TorchDispatchMode):
    """Inside, tensors can be made on the twin."""

    def __enter__(self):
        self._tensor = real = torch.tensor

        def tensor(data, *, device=None, **options):
            if device is None or torch.device(device).type != "twin":
                return real(data, device=device, **options)
            return real(data, **options).to(TWIN)

        torch.tensor = tensor
        return super().__enter__()

    def __exit__(self, *error):
        torch.tensor = self._tensor
        return super().__exit__(*error)

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        return _run(function, arguments, options or {})


def spread(model: nn.Module, first: str, last: str) -> nn.Module:
    """A copy of a model of four layers with its upper half on another device, and accelerate's hooks."""
    model = copy.deepcopy(model)
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    lower = ("model.embed_tokens", "model.rotary_emb", "model.layers.0", "model.layers.1")
    places = dict.fromkeys(lower, first)
    places |= dict.fromkeys(("model.layers.2", "model.layers.3", "model.norm", "lm_head"), last)
    for name, place in places.items():
        add_hook_to_module(model.get_submodule(name).to(place), AlignDevicesHook(place))
    add_hook_to_module(model, AlignDevicesHook(first, io_same_device=True))
    model.hf_device_map = places
    return model


def norms(model: nn.Module, tokenizer: Any, estimator: str) -> Tensor:
    return corrpo.logit_gradient_norms(model, torch.tensor(IDS), [3, 5, 7], estimator=estimator)


def tokens(model: nn.Module, tokenizer: Any) -> Tensor:
    samples = [{"prompt": "The dog ", "response": "walked to the river."}, {"prompt": "One and "}]
    found = corrpo.measure(
        model, tokenizer, samples, resamples=0, permutations=0, max_new_tokens=8, max_tokens=4
    )
    return torch.tensor(found.tokens.select("entropy_bits", "logprob", "rank").to_numpy())


def rollouts(model: nn.Module, tokenizer: Any, settings: dict[str, Any]) -> Tensor:
    prompts, answers = [IDS[:4], IDS[4:7]] * 4, [list(range(8, 20)), list(range(20, 30))] * 4
    meter, fit = RolloutMeter(model, InversionSettings(**settings)), StrengthFit()
    if meter.fits:
        fit.add(meter.judge(model, prompts, answers, fit))
    found: RolloutSignals = meter(model, prompts, answers, fit=fit)
    return found.stacked()


def main() -> None:
    plain, tokenizer = load_model("lab:qwen2/base", device="cpu")
    differentiation_plan._graph_bytes = lambda *_: (0, 1000)  # asks storages for their addresses
    tried: list[tuple[str, Any, tuple[Any, ...]]] = [
        *((estimator, norms, (estimator,)) for estimator in ESTIMATORS),
        ("measure", tokens, ()),
        ("rewards, fitted", rollouts, ({},)),
        ("rewards, own", rollouts, ({"inversion_fit_tokens": 0},)),
        ("rewards, exact", rollouts, ({"inversion_estimator": "exact"},)),
    ]
    differences = {}
    with TwoDevices():
        for name, measure, given in tried:
            truth = measure(plain, tokenizer, *given)
            for first, last in ((TWIN, CPU), (CPU, TWIN)):
                found = measure(spread(plain, first, last), tokenizer, *given).cpu()
                error = (found - truth).abs().max() / truth.abs().max()
                differences[f"{name}, {first} first"] = float(error)
    print(json.dumps(differences))


if __name__ == "__main__":
    backend_registration._setup_privateuseone_for_python_backend("twin", backend_module=_Backend())
    main()
