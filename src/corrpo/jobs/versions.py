"""Versions of the libraries that decide the numbers, as every record of a run keeps them."""

import platform
from importlib.metadata import version

TRAINING_LIBRARIES = ("trl", "accelerate", "datasets", "peft")
"""What a training's numbers depend on beside what a measurement's do."""


def library_versions(*more: str) -> dict[str, str]:
    """Versions of corrpo, torch, transformers and Python, then those of `more` packages.

    >>> list(library_versions("numpy"))
    ['corrpo', 'torch', 'transformers', 'python', 'numpy']
    """
    libraries = {name: version(name) for name in ("corrpo", "torch", "transformers")}
    return libraries | {"python": platform.python_version()} | {name: version(name) for name in more}
