"""Checksums within the files of results, so that a bit that a disk or a copy has changed is noticed.

A Parquet file holds, among the key-value metadata of its footer, the SHA-256 of all of its bytes with zeros
where the digest stands. A JSON record holds that of its content in its last entry, `CHECKSUM`. Files without
one, of versions before 0.3, are read as they are.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from corrpo.errors import DamagedFileError

CHECKSUM = "checksum"
"""The entry of a JSON record with the SHA-256 of all others."""
PARQUET_KEY = "corrpo_sha256"
"""The key in a Parquet file's metadata."""
BLANK = "0" * 64

_DIGEST = re.compile(PARQUET_KEY.encode() + rb"[\s\S]{2}([\s\S]{64})")


def sealed(parquet: bytes) -> bytes:
    """A Parquet file that holds `BLANK` under `PARQUET_KEY`, with its digest there."""
    start = _digest_place(parquet)
    assert start is not None
    digest = hashlib.sha256(parquet).hexdigest().encode()
    return parquet[:start] + digest + parquet[start + 64 :]


def check_parquet(path: Path, parquet: bytes) -> None:
    """Raise `DamagedFileError` if a file's bytes have not the digest that it holds."""
    start = _digest_place(parquet)
    if start is None:
        return
    blank = parquet[:start] + BLANK.encode() + parquet[start + 64 :]
    if hashlib.sha256(blank).hexdigest().encode() != parquet[start : start + 64]:
        raise damaged(path)


def with_checksum(record: dict[str, Any]) -> dict[str, Any]:
    """A JSON record with its digest as the last entry."""
    content = {name: value for name, value in record.items() if name != CHECKSUM}
    return content | {CHECKSUM: _canonical_digest(content)}


def without_checksum(path: Path, record: Any) -> Any:
    """What was given to `with_checksum`; anything else as it is.

    Raises:
        DamagedFileError: the digest is not that of the content.
    """
    if not isinstance(record, dict) or not record:
        return record
    name = CHECKSUM if CHECKSUM in record else next(reversed(record))
    if not _is_near(name, CHECKSUM):
        return record  # of a version without checksums
    content = {key: value for key, value in record.items() if key != name}
    if name != CHECKSUM or record[name] != _canonical_digest(content):
        raise damaged(path, f", or take out its {name!r} if you changed it yourself")
    return content


def _is_near(name: str, whole: str) -> bool:
    """Whether a name is `whole`, or may have become what it is by a few flipped bits."""
    return len(name) == len(whole) and sum(a != b for a, b in zip(name, whole, strict=True)) <= 3


def check_content(path: Path, content: bytes, digest: str | None) -> None:
    """Raise `DamagedFileError` if the bytes of a file have another SHA-256 than is known of it."""
    if digest is not None and hashlib.sha256(content).hexdigest() != digest:
        raise damaged(path)


def damaged(path: Path, otherwise: str = "") -> DamagedFileError:
    """The error about a file that is not as it was written."""
    return DamagedFileError(
        f"{path} was changed since it was written: its checksum does not match. Put back a copy{otherwise}, "
        "or remove it and run the same command again"
    )


def _digest_place(parquet: bytes) -> int | None:
    """Where the digest begins in the footer of a Parquet file; its length stands before the last 4 bytes."""
    footer = max(0, len(parquet) - 8 - int.from_bytes(parquet[-8:-4], "little"))
    found = list(_DIGEST.finditer(parquet, footer))
    return found[-1].start(1) if found else None


def _canonical_digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    plain = json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))  # keys and tuples as JSON's
    return hashlib.sha256(plain.encode()).hexdigest()
