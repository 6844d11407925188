"""The one exception family of corrpo: what was given, what was expected, what to do next.

And look-ups by name, which raise it alike, and how the text of others is printed.
"""

import difflib
import unicodedata
from collections.abc import Callable, Collection
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_MOST_LISTED = 24
"""Names beyond which a message gives the nearest one alone, if there is one."""


class CorrpoError(Exception):
    """Base of every error that corrpo raises on purpose; the command line prints it without a traceback.

    What it says is one line, with whatever comes from files made visible (`in_one_line`).

    Attributes:
        process: the rank of the process that it happened in, and that tells it, if that is another one.
    """

    process: int | None = None

    def __str__(self) -> str:
        return in_one_line(super().__str__())


class UnsupportedModelError(CorrpoError):
    """A model, or an estimator on that model, is outside what corrpo can measure."""


class BadInputError(CorrpoError, ValueError):
    """An argument, a sample or a file does not have the form it must have."""


class DamagedFileError(BadInputError):
    """A file of results is not as it was written: its checksum is another, or it cannot be read."""


class NonFiniteError(CorrpoError):
    """A model produced NaN or infinite values where numbers were needed.

    Attributes:
        row: the number of the prompt in a batch that was being answered, if known.
    """

    row: int | None = None


class OutOfMemoryError(CorrpoError, MemoryError):
    """Memory ran out, of a GPU or of the machine."""


class OutputFolderError(CorrpoError):
    """An output folder cannot be used: other settings, another run, or no room on the disk."""


def unknown_name(what: str, name: object, known: Collection[str]) -> BadInputError:
    """The error about a name that is not in a table of names; the caller raises it.

    Args:
        what: what the name should have been the name of, for example "norm".
        name: as it was given.
        known: the names of the table, in the order in which they are listed.

    >>> print(unknown_name("norm", "nuclaer", ("nuclear", "frobenius")))
    norm 'nuclaer' is unknown; expected one of nuclear, frobenius; did you mean nuclear?
    """
    hint = did_you_mean(name, known)
    if hint and len(known) > _MOST_LISTED:
        return BadInputError(f"{what} {name!r} is unknown{hint}")
    return BadInputError(f"{what} {name!r} is unknown; expected one of {', '.join(known)}{hint}")


def did_you_mean(name: object, known: Collection[str], *, prefix: str = "") -> str:
    """The end of an error's sentence with the nearest known name, after a prefix; empty if none is near.

    >>> did_you_mean("max_stesp", ["max_steps", "seed"])
    '; did you mean max_steps?'
    """
    nearest = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {prefix}{nearest[0]}?" if nearest else ""


def first_line(error: BaseException) -> str:
    """The first line of what an error says, with the next where it ends in a colon; its kind if nothing.

    >>> first_line(ValueError("no such weights\\nin the file")), first_line(MemoryError())
    ('no such weights', 'MemoryError')
    >>> first_line(ValueError("Field 'hidden_size':\\n  expected int"))
    "Field 'hidden_size': expected int"
    """
    first, *rest = (str(error).strip() or type(error).__name__).splitlines()
    return f"{first} {rest[0].strip()}" if first.endswith(":") and rest else first


def visible(text: str) -> str:
    r"""`text` with every character that does not show, or reorders others, written as its escape.

    These are controls, formats (among them the bidirectional ones), lone surrogates, private and unassigned
    code points, and line separators. The result is valid in UTF-8, HTML and XML.

    >>> print(visible("a\x00b\u202ec\ud800"))
    a\x00b\u202ec\ud800
    """
    return "".join(
        char.encode("unicode_escape").decode()
        if unicodedata.category(char)[0] == "C" or unicodedata.category(char) in ("Zl", "Zp")
        else char
        for char in text
    )


def in_one_line(text: object) -> str:
    r"""What an error or a file says, `visible` and in one line.

    >>> print(in_one_line("mapping values\n  are not allowed \x1b[31mhere"))
    mapping values are not allowed \x1b[31mhere
    """
    return visible(" ".join(line.strip() for line in str(text).splitlines()))


def check_known(what: str, name: object, known: Collection[str]) -> None:
    """Raise `unknown_name` of a name that is not in a table of names."""
    if not isinstance(name, str) or name not in known:
        raise unknown_name(what, name, known)


class RecordTable(dict[str, Any]):
    """The records of one kind by name: the module that defines each, or a record itself.

    A module is imported when its record is asked for. A program can add entries of its own, in every process
    that uses them.

    Args:
        what: the name of one, for errors: "norm".
        attribute: what modules call their record: "NORM".
        modules: of each name.
    """

    def __init__(self, what: str, attribute: str, modules: dict[str, str]):
        super().__init__(modules)
        self.what, self.attribute = what, attribute

    def find(self, name: str) -> Any:
        """The record of a name.

        Raises:
            BadInputError: there is none; names those there are.
        """
        check_known(self.what, name, self)
        place = self[name]
        return getattr(import_module(place), self.attribute) if isinstance(place, str) else place


def lazy_attributes(package: str, names: dict[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names are imported from its modules when they are first used.

    Args:
        package: its `__name__`.
        names: what each module defines, with spaces between.
    """
    modules = {name: f"{package}.{module}" for module, defined in names.items() for name in defined.split()}

    def attribute(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    return attribute


def install_command(extra: str) -> str:
    """What brings the packages of an optional part of corrpo.

    >>> install_command("train")
    "pip install -c constraints.txt '.[train]' in a checkout of corrpo"
    """
    return f"pip install -c constraints.txt '.[{extra}]' in a checkout of corrpo"


def require_packages(what: str, *modules: str, extra: str | None = None, instead: str = "") -> None:
    """Raise `BadInputError` if `what` needs a module that is not installed, with the command to install it.

    Args:
        what: what needs them, as in "training".
        modules: their import names.
        extra: the optional dependencies of corrpo that bring them; the packages themselves if not given.
        instead: another way, said after the command.

    >>> require_packages("reading", "json")
    >>> require_packages("flying", "json", "broom_stick", extra="train")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    corrpo.errors.BadInputError: flying needs broom-stick, which is not installed: pip install ...
    """
    missing = [module.replace("_", "-") for module in modules if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        command = f"pip install {' '.join(missing)}" if extra is None else install_command(extra)
        raise BadInputError(
            f"{what} needs {', '.join(missing)}, which {verb} not installed: {command}{instead}"
        )
