"""`corrpo view DIR`: read responses token by token on a local page."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from corrpo.cli.printing import Quietable
from corrpo.errors import require_packages

if TYPE_CHECKING:
    from corrpo.viewer.fingerprint_view import ViewedFingerprint


@dataclass(frozen=True)
class View(Quietable):
    """Read responses token by token, on a page that only this machine can open.

    corrpo view out/qwen

    Prints the address and opens the browser. Colour by entropy, strength or their disagreement; click a token
    for its probability, rank and layer x projection map; j and k jump between tokens of high entropy and low
    gradient. Ctrl-C ends it.
    """

    folder: Annotated[Positional[Path], arg(metavar="DIR")]
    """A folder that corrpo measure wrote, or one with such folders below, as corrpo track writes."""
    port: int = 0
    """Of 127.0.0.1; 0 takes any free one. An SSH tunnel must have the same port at both ends."""
    check: Literal["exact", "math", "none"] = "exact"
    """How a response is found right or wrong, where its sample has an answer: exact compares the last
    <answer>...</answer>, or else the last \\boxed{...}, as text or decimal number; math asks math-verify,
    and where that fails the response is neither; none leaves it."""
    no_browser: bool = False
    """Leave the browser alone: print the address, and do not open the page."""


def run(options: View) -> None:
    """Read every fingerprint, print the address, and serve until Ctrl-C.

    Raises:
        BadInputError: a folder without fingerprints, results that cannot be read, or a port that is taken.
    """
    with suppress(KeyboardInterrupt):
        _view(options)


def _view(options: View) -> None:
    import webbrowser

    require_packages("the page of tokens", "starlette", "uvicorn", extra="serve")
    from corrpo.viewer.fingerprint_view import viewed_fingerprints
    from corrpo.viewer.server import HOST, listening, serve

    fingerprints = viewed_fingerprints(options.folder, options.check)
    with listening(options.port) as opened:
        _prepare(fingerprints)
        address = f"http://{HOST}:{opened.getsockname()[1]}/"
        print(f"{address}  (Ctrl-C ends it)", flush=True)
        if not options.no_browser:
            webbrowser.open(address)
        serve(fingerprints, opened)


def _prepare(fingerprints: "list[ViewedFingerprint]") -> None:
    from corrpo.jobs.progress_bar import progress_bar

    with progress_bar(shown=True, transient=True) as progress:
        task = progress.add_task("reading", total=len(fingerprints))
        for number, fingerprint in enumerate(fingerprints):
            for share in fingerprint.prepare():
                progress.update(task, completed=number + share)
