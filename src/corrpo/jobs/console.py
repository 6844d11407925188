"""Consoles of rich that leave a reader who goes away to the caller, as `print` does."""

import rich.console


class Console(rich.console.Console):
    """rich's, which would end the program with status 1 where nobody reads the output any more."""

    def on_broken_pipe(self) -> None:
        """Raise the `BrokenPipeError` that rich caught."""
        raise  # noqa: PLE0704 - rich calls this while it handles the error
