"""What a record of results tells of the call that made them: when, on what, how long, by which command."""

import re
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

_SECRET = re.compile(r"--\S*(token|key|secret|password)", re.IGNORECASE)
"""Options whose values are not written down: --hub_token, but not --max-tokens."""


def hardware(device: torch.device) -> dict[str, Any]:
    """The device of a model in words, and the threads of torch, here and now; JSON-safe.

    >>> hardware(torch.device("cpu"))["device"]
    'cpu'
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": str(device) if name is None else f"{device} ({name})",
        "threads": torch.get_num_threads(),
    }


def run_record(where: dict[str, Any], began: float, processes: int = 1) -> dict[str, Any]:
    """The call that is about to end, JSON-safe; it changes with every call, and decides no result.

    Args:
        where: `hardware` of the model.
        began: `time.monotonic()` at its start.
        processes: that shared the work.

    Returns:
        date (UTC, to the second), seconds (of this call alone, where an earlier one had done a part), device,
        threads (of torch, a process), processes, command.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.monotonic() - began, 1),
        **where,
        "processes": processes,
        "command": command_line(sys.argv),
    }


def command_line(words: Sequence[str]) -> str:
    """A command as it would be typed, without the folder of the program and the values of secrets.

    >>> command_line(["/usr/bin/corrpo", "train", "sft", "--hub_token", "abc", "--max_tokens", "64", "a b"])
    "corrpo train sft --hub_token ... --max_tokens 64 'a b'"
    """
    program = Path(words[0])
    name = f"python -m {program.parent.name}" if program.name == "__main__.py" else program.name
    shown, secret = [name], False
    for word in words[1:]:
        option, equals, _ = word.partition("=")
        if secret:
            shown.append("...")
        else:
            hidden = equals and _SECRET.fullmatch(option)
            shown.append(f"{option}=..." if hidden else shlex.quote(word))
        secret = not secret and bool(_SECRET.fullmatch(word))
    return " ".join(shown)
