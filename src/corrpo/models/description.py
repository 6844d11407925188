"""What identifies a model: its name, architecture, size, dtype and a digest of its weights."""

import hashlib
from typing import Any

from torch import nn
from torch.distributed.fsdp import FSDPModule

from corrpo.models.loading import check_present
from corrpo.models.peft_adapters import adapter_record


def describe_model(model: Any, name: str | None = None, revision: str | None = None) -> dict[str, Any]:
    """What identifies a model in a fingerprint, JSON-safe.

    name, revision (the hub's commit where known), architecture, parameters, dtype, digest (`model_digest`);
    where there are any, adapter (`adapter_record`), quantization (the library's method) and gguf
    (quantization and SHA-256 of the file that the weights were dequantized from). A compiled model is
    described as what was compiled. Offloaded weights are refused; see `check_present`.
    """
    check_present(model)
    model = getattr(model, "_orig_mod", model)
    adapter, quantized = adapter_record(model), getattr(model.config, "quantization_config", None)
    beneath = model.get_base_model() if hasattr(model, "get_base_model") else model
    described = {
        "name": name or getattr(model.config, "_name_or_path", "") or type(model).__name__,
        "revision": getattr(model.config, "_commit_hash", None) or revision,
        "architecture": architecture_name(beneath),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "digest": model_digest(model),
    }
    if adapter is not None:
        described["adapter"] = adapter
    if quantized is not None:
        described["quantization"] = _method_of(quantized)
    if (file := getattr(model, "gguf", None)) is not None:
        described["gguf"] = file
    return described


def architecture_name(model: nn.Module) -> str:
    """The name of a model's class; under FSDP2 that of the class beneath.

    >>> architecture_name(nn.Linear(2, 2))
    'Linear'
    """
    return next(kind for kind in type(model).__mro__ if not issubclass(kind, FSDPModule)).__name__


def _method_of(quantized: Any) -> str:
    """bitsandbytes, gptq, ... of a quantization config, which is an object or what it was read from."""
    method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized.quant_method
    return str(getattr(method, "value", method))


def model_digest(model: nn.Module) -> str:
    """SHA-256 of each parameter's name, shape and 64 to 127 evenly spaced values: other weights show."""
    digest = hashlib.sha256()
    for name, parameter in model.named_parameters():
        flat = parameter.detach().reshape(-1)
        step = max(1, flat.numel() // 64)
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        values = flat[::step].clone()  # an array of the parameter itself would keep FSDP2 from freeing it
        digest.update(values.float().cpu().numpy().tobytes())
    return digest.hexdigest()
