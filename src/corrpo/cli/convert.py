"""`corrpo convert FILE.gguf FOLDER`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from corrpo.cli.printing import Printed
from corrpo.models.load_options import Dtype


@dataclass(frozen=True, kw_only=True)
class Convert(Printed):
    """Write a GGUF file as the folder of a model that every tool reads, and that loads in a moment.

    corrpo convert qwen2.5-0.5b-instruct-q8_0.gguf out/qwen2.5-0.5b

    The folder holds the dequantized weights, config, tokenizer, chat template and end tokens.
    """

    file: Annotated[Positional[Path], arg(metavar="FILE.gguf")]
    """A .gguf file that is whole; of one in parts, the parts joined."""
    output: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Folder of the model: new, or empty."""
    dtype: Dtype = "auto"
    """Of the weights: float32 (auto), which holds every dequantized number as it is, bfloat16, ..."""


def run(options: Convert) -> dict[str, Any]:
    """Convert, and print the folder."""
    from corrpo.models.gguf_conversion import convert

    folder = convert(options.file, options.output, dtype=options.dtype)
    print(folder)
    return {"model": str(folder)}
