"""A GGUF file written out as the folder of a model: config, safetensors, tokenizer, chat template."""

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from corrpo.errors import BadInputError
from corrpo.models.gguf import is_gguf
from corrpo.models.load_options import Dtype
from corrpo.models.loading import load_model
from corrpo.models.whole_folder import whole_folder

RECORD = "gguf.json"
_PROBE = "17 + 25 = 42, 3.14e-7;\n\n\tdef f(x):  # naïve, e\u0301, Ελλάδα, 東京, 🙂\r\n  it's  I'LL\n"
"""Numbers, newlines, runs of spaces, accents as one character and as two, other scripts."""


def convert(file: Path, output: Path, *, dtype: Dtype = "auto") -> Path:
    """Write the model in a GGUF file as a folder of `save_pretrained`, dequantized, with its tokenizer.

    Args:
        file: a whole .gguf file.
        output: a folder that is empty or does not exist yet; written whole or not at all.
        dtype: of the weights; float32 for "auto".

    Returns:
        `output`. Its gguf.json names the file, its quantization and its SHA-256.

    Raises:
        BadInputError: not a GGUF file, or one that `load_model` refuses; a tokenizer that transformers would
            read back from a folder as another.
        UnsupportedModelError: see `load_model`.
        OutputFolderError: there is something at `output`, or it cannot be written to.
    """
    if not is_gguf(file):
        raise BadInputError(f"{file} is no .gguf file, which is what can be converted")
    with whole_folder(output) as folder:
        model, tokenizer = load_model(str(file), dtype=dtype, device="cpu")
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _check_tokenizer(tokenizer, folder, file)
        (folder / RECORD).write_text(json.dumps({"file": file.name, **model.gguf}, indent=2) + "\n")
    return output


def _check_tokenizer(tokenizer: Any, folder: Path, file: Path) -> None:
    """A folder's tokenizer is rebuilt by the class of its model; refuse one that reads another text then."""
    read_back = AutoTokenizer.from_pretrained(folder)
    if read_back(_PROBE).input_ids != tokenizer(_PROBE).input_ids:
        raise BadInputError(
            f"the tokenizer of {file} is not as a {type(read_back).__name__} would have it, which is what "
            "transformers would read it back as; use the file itself"
        )
