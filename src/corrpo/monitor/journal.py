"""Work over the lines of a file: it stands in a file of its own until it is done, and can be gone on with."""

import json
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from corrpo.errors import OutputFolderError
from corrpo.jobs.files import whole_file
from corrpo.jobs.folder_lock import lock_file
from corrpo.jobs.settings_differences import differences_between


class Journal:
    """A JSONL file: what decides the work, then a record of each line that is done.

    A context, in which one process holds the file, made if missing. A record that was cut short is taken off.
    Work is gone on with only where `header` is the same; else an `OutputFolderError` names the difference.

    Attributes:
        done: the records that are there, by the number of their line.
    """

    def __init__(self, path: Path, header: dict[str, Any]):
        self.path, self.header = path, header
        self.done: dict[int, dict[str, Any]] = {}
        self._file: BinaryIO | None = None

    def __enter__(self) -> "Journal":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b")
            lock_file(self._file, self.path)
            self._go_on()
        except OSError as error:
            self._close()
            raise self._cannot_write(error) from error
        except OutputFolderError:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def add(self, record: dict[str, Any]) -> None:
        """Write the record of a line, which has its number as "line"."""
        assert self._file is not None
        try:
            self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._cannot_write(error) from error
        self.done[record["line"]] = record

    def become(self, output: Path) -> None:
        """The records, without the header, become `output`; the journal is removed."""
        with whole_file(output) as temporary, self.path.open("rb") as source, temporary.open("wb") as target:
            next(source)
            for line in source:
                target.write(line)
        self.path.unlink()

    def _go_on(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        content = self._file.read()
        complete = content[: content.rfind(b"\n") + 1]
        header = json.dumps(self.header).encode() + b"\n"
        if header.startswith(content):
            self._file.truncate(0)
            self._file.write(header)
            self._file.flush()
            return
        try:
            first, *records = (json.loads(line) for line in complete.split(b"\n")[:-1])
            self.done = {record["line"]: record for record in records}
        except (ValueError, TypeError, KeyError) as error:
            raise OutputFolderError(f"{self.path} is not the work of corrpo monitor; remove it") from error
        differences = differences_between(first, json.loads(json.dumps(self.header)))
        if differences:
            raise OutputFolderError(
                f"{self.path} holds work that was done otherwise: {'; '.join(differences)}. Remove it, or "
                "give another --output"
            )
        self._file.truncate(len(complete))

    def _cannot_write(self, error: OSError) -> OutputFolderError:
        return OutputFolderError(
            f"cannot write {self.path}: {error.strerror or error}; what is done is kept, and the same "
            "command goes on from there"
        )

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()


def journal_beside(output: Path, ending: str, header: dict[str, Any]) -> Journal:
    """The journal OUTPUT.ENDING of an output that is not there yet.

    Raises:
        OutputFolderError: the output exists.
    """
    if output.exists():
        raise OutputFolderError(f"{output} exists; give another file, or remove it")
    return Journal(output.with_name(f"{output.name}.{ending}"), header)
