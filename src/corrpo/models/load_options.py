"""How models are loaded: the settings of `corrpo.load_model`, and of every command that loads one or several.

Nothing heavy is imported here, so that a command's options can be shown quickly.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from corrpo.errors import check_known

Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64", "fp32", "bf16", "fp16"]
_SHORT_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
DeviceMap = Literal["auto", "balanced", "balanced_low_0", "sequential"]
Quantization = Literal["none", "8bit", "4bit"]


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is loaded.

    Raises:
        BadInputError: an unknown dtype, device map or quantization.
    """

    revision: str | None = None
    """Branch, tag or commit on the hub."""
    dtype: Dtype = "auto"
    """Weights as saved (auto; float32 for a .gguf file), or float32 (fp32), bfloat16 (bf16), float16 (fp16),
    float64."""
    device: str = "auto"
    """GPUs if there are any (auto: one GPU a model), or cpu, cuda:1, ..."""
    device_map: DeviceMap | None = None
    """auto spreads one model over all GPUs of this machine, for models that do not fit on one, in place of
    device; or another of accelerate's: balanced, balanced_low_0, sequential."""
    trust_remote_code: bool = False
    """Run code that comes with the model."""
    quantization: Quantization = "none"
    """Weights as saved (none), or quantized by bitsandbytes while they are loaded: 8bit, 4bit."""
    base: str | None = None
    """The base model of an adapter, in place of what its adapter_config.json tells."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", _SHORT_DTYPES.get(self.dtype, self.dtype))
        known = {"dtype": Dtype, "quantization": Quantization, "device_map": DeviceMap}
        for name, names in known.items():
            value = getattr(self, name)
            if (name, value) != ("device_map", None):
                check_known(name, value, get_args(names))


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """Where work is done that is more than one process's."""

    processes: int | None = None
    """Processes that share the work; by GPUs or cores and free memory if not given."""
    cluster: str | None = None
    """A Ray cluster that does the work in place of this machine: auto (RAY_ADDRESS, or the one this machine
    belongs to) or HOST:PORT. Its nodes need the same versions; this machine alone writes the results."""


@dataclass(frozen=True, kw_only=True)
class CheckpointOptions(LoadOptions, WorkerOptions):
    """How many checkpoints are loaded and worked on, one after another or at once.

    Raises:
        BadInputError: see `LoadOptions`.
    """

    output: Path
    """Folder of the results, new or of the same settings; the same command goes on where it stopped."""
    start: str | None = None
    """The model that training began from: step 0 of the first stage."""
    processes: int | None = None
    """Checkpoints worked on at once; by GPUs or cores and free memory if not given (1 with vllm, which
    evaluate has)."""
