"""Why a checkpoint could not be saved, told from the errors of the three libraries that write its files."""

import errno
import os
import re

from safetensors import SafetensorError

from corrpo.errors import first_line

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def why_not_saved(error: BaseException) -> str | None:
    """What kept a file from being written, such as a full disk; None for an error of another kind.

    Python gives an `OSError`; safetensors has the system's number in its message; torch tells no cause.

    >>> why_not_saved(OSError(28, "No space left on device"))
    'No space left on device'
    >>> why_not_saved(FileNotFoundError(2, "No such file or directory")) is None
    True
    """
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno in _OF_THE_DISK else None
    if isinstance(error, SafetensorError):
        number = re.search(r"os error (\d+)", str(error))
        return os.strerror(int(number[1])) if number else first_line(error)
    if isinstance(error, RuntimeError) and "inline_container" in str(error):
        return "torch could not write a file, as on a full disk"
    return None
