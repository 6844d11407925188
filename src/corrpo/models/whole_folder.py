"""The folder of a model, written whole or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from safetensors import SafetensorError

from corrpo.errors import OutputFolderError, first_line

LAST = "config.json"
"""Without it nobody takes a folder for a model."""


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A folder to write to, whose files are those of `output` in the end; it vanishes on an error.

    Where there is no `output` yet, the folder gets that name in one step. A folder that is there already may
    be a link, a mount or where a shell is, and stays: files are moved into it, `config.json` last.

    Args:
        output: no folder yet, or an empty one.

    Raises:
        OutputFolderError: there is something at `output`, also by the end; or it cannot be written to, which
            is found out at the beginning as far as it can be.
    """
    temporary = None
    try:
        target = output.resolve()
        is_there = target.exists()
        if is_there and (not target.is_dir() or any(target.iterdir())):
            raise _holds_something(output)
        parent = target if is_there else target.parent
        parent.mkdir(parents=True, exist_ok=True)
        temporary = parent / f".{target.name}.{uuid4().hex[:8]}.partial"
        temporary.mkdir()
        yield temporary
        if is_there:
            _move(temporary, target, output)
        else:
            _rename(temporary, target, output)
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise OutputFolderError(
            f"cannot write {output}: {reason}; nothing of it is kept: see that it is a folder that can be "
            "written to, with room on the disk, or give another"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _move(temporary: Path, target: Path, output: Path) -> None:
    if [path for path in target.iterdir() if path != temporary]:
        raise _holds_something(output)
    for path in sorted(temporary.iterdir(), key=lambda path: path.name == LAST):
        path.rename(target / path.name)


def _rename(temporary: Path, target: Path, output: Path) -> None:
    try:
        temporary.rename(target)
    except OSError as error:
        if target.exists():
            raise _holds_something(output) from error
        raise


def _holds_something(output: Path) -> OutputFolderError:
    return OutputFolderError(f"{output} holds something; give a new or an empty folder")
