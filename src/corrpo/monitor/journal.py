"""Work over the lines of a file: it stands in a file of its own until it is done, and can be gone on with."""

import hashlib
import json
import logging
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

from corrpo.errors import OutputFolderError
from corrpo.jobs.files import whole_file
from corrpo.jobs.folder_lock import lock_file
from corrpo.jobs.run_folder import check_output
from corrpo.jobs.settings_differences import differences_between

logger = logging.getLogger(__name__)


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
        self._file: FileIO | None = None

    def __enter__(self) -> "Journal":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # unbuffered: what a full disk has refused must not be tried again while closing
            self._file = self.path.open("a+b", buffering=0)
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
            self._write(_line(record))
        except OSError as error:
            raise self._cannot_write(error) from error
        self.done[record["line"]] = record

    def become(self, output: Path) -> None:
        """The records, in order and without the header, become `output`; the journal is removed."""
        with whole_file(output) as temporary, temporary.open("w", encoding="utf-8") as target:
            target.writelines(json.dumps(self.done[line]) + "\n" for line in sorted(self.done))
        self.path.unlink(missing_ok=True)

    def _go_on(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        content = self._file.read()
        complete = content[: content.rfind(b"\n") + 1]
        header = _line(self.header)
        if header.startswith(content):
            self._file.truncate(0)
            self._write(header)
            return
        lines = complete.split(b"\n")[:-1]
        known = _record(lines[0]) if lines else None
        read = [_record(line) for line in lines[1:]]
        whole = [record for record in read if record is not None]
        if not isinstance(known, dict) or not all(isinstance(r, dict) and "line" in r for r in whole):
            raise OutputFolderError(f"{self.path} is damaged, or not the work of corrpo monitor; remove it")
        self.done = {record["line"]: record for record in whole}
        if bad := len(read) - len(whole):
            logger.warning("%s has %d damaged lines; their work is done again", self.path, bad)
        differences = differences_between(known, json.loads(json.dumps(self.header)))
        if differences:
            raise OutputFolderError(
                f"{self.path} holds work that was done otherwise: {'; '.join(differences)}. Remove it, or "
                "give another --output"
            )
        self._file.truncate(len(complete))

    def _write(self, content: bytes) -> None:
        assert self._file is not None
        while content:  # a disk that fills up takes a part
            content = content[self._file.write(content) :]

    def _cannot_write(self, error: OSError) -> OutputFolderError:
        return OutputFolderError(
            f"cannot write {self.path}: {error.strerror or error}; what is done is kept, and the same "
            "command goes on from there"
        )

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()


def _line(record: dict[str, Any]) -> bytes:
    """JSON, a tab (there is none in JSON), the SHA-256 of the JSON, and the end of the line."""
    text = json.dumps(record, allow_nan=False).encode()
    return text + b"\t" + hashlib.sha256(text).hexdigest().encode() + b"\n"


def _record(line: bytes) -> Any:
    """What a line holds; None if it is not as it was written. Lines of 0.2 have no checksum."""
    text, tab, digest = line.partition(b"\t")
    if tab and hashlib.sha256(text).hexdigest().encode() != digest:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None


def refuse_existing(output: Path) -> None:
    """Raise `OutputFolderError` on an output that is there, or that cannot be written."""
    if output.exists():
        raise OutputFolderError(f"{output} exists; give another file, or remove it")
    check_output(output.parent)


def journal_beside(output: Path, ending: str, header: dict[str, Any]) -> Journal:
    """The journal OUTPUT.ENDING of an output that is not there yet.

    Raises:
        OutputFolderError: the output exists, or cannot be written.
    """
    refuse_existing(output)
    return Journal(output.with_name(f"{output.name}.{ending}"), header)
