"""CorR-PO on verl 0.9.1: the trainer "corrpo" and the worker that measures its rollouts.

verl loads `corrpo_verl.plugin` while it is imported, and the modules of this package import verl: it comes
first here, so that a process may begin with either.
"""

import verl  # noqa: F401
