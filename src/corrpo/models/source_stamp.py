"""What a checkpoint's results were read from: sizes and times of its files, or the commit of a hub name."""

from pathlib import Path
from typing import Any

from corrpo.errors import BadInputError
from corrpo.models.checkpoints import Checkpoint
from corrpo.models.load_options import LoadOptions
from corrpo.models.peft_adapters import base_of, is_adapter
from corrpo.models.saved_model import file_stamps

SOURCE = "source.json"
"""Tells, beside the results of a checkpoint, what they were read from."""
_COMMIT_LENGTH = 40


def source_stamp(checkpoint: Checkpoint, loading: LoadOptions) -> dict[str, Any] | None:
    """What changes when a checkpoint does: sizes and times of its files, or the commit of a hub name.

    An adapter's holds those of its base model too, if that is a local folder. None where it is not known, as
    for files that have gone: then loading the model decides.
    """
    folder = Path(checkpoint.source)
    if folder.exists():
        try:
            stamp: dict[str, Any] = {"files": file_stamps(folder)}
            if is_adapter(folder):
                base = base_of(folder, loading.base)
                stamp["base"] = file_stamps(Path(base)) if Path(base).exists() else base
        except (OSError, BadInputError):
            return None
        return stamp
    revision = checkpoint.revision or ""
    if len(revision) == _COMMIT_LENGTH and set(revision) <= set("0123456789abcdef"):
        return {"name": checkpoint.source, "commit": revision}
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            checkpoint.source, revision=checkpoint.revision, trust_remote_code=loading.trust_remote_code
        )
    except (OSError, ValueError, KeyError):
        return None
    commit = getattr(config, "_commit_hash", None)
    return None if commit is None else {"name": checkpoint.source, "commit": commit}
