"""The one exception family of corrpo: what was given, what was expected, what to do next."""


class CorrpoError(Exception):
    """Base of every error that corrpo raises on purpose; the command line prints it without a traceback.

    Attributes:
        process: the rank of the process that it happened in, and that tells it, if that is another one.
    """

    process: int | None = None


class UnsupportedModelError(CorrpoError):
    """A model, or an estimator on that model, is outside what corrpo can measure."""


class BadInputError(CorrpoError, ValueError):
    """An argument, a sample or a file does not have the form it must have."""


class NonFiniteError(CorrpoError):
    """A model produced NaN or infinite values where numbers were needed.

    Attributes:
        row: the number of the prompt in a batch that was being answered, if known.
    """

    row: int | None = None


class OutputFolderError(CorrpoError):
    """An output folder cannot be used: other settings, another run, or no room on the disk."""
