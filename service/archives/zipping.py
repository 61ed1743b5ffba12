"""A zip archive made while it is sent: nothing of it is held but a piece at a time."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20
WHEN = (1980, 1, 1, 0, 0, 0)
"""The time of every entry, so that the same version gives the same archive."""


@dataclass(frozen=True)
class Entry:
    """A file of the archive: its name there, and its bytes or where they lie."""

    name: str
    content: bytes | Path


class Outlet(io.RawIOBase):
    """Where the archive is written to and taken from, piece by piece; cannot be rewound, and need not be."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        """Keep the bytes until they are taken."""
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last time."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def stream_zip(folder: str, entries: Sequence[Entry]) -> Iterator[bytes]:
    """The archive, all entries in one folder, not compressed: weights hardly shrink."""
    outlet = Outlet()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            info = zipfile.ZipInfo(f"{folder}/{entry.name}", WHEN)
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as target:
                for chunk in chunks(entry.content):
                    target.write(chunk)
                    yield outlet.taken()
            yield outlet.taken()
    yield outlet.taken()


def chunks(content: bytes | Path) -> Iterator[bytes]:
    """The bytes in pieces."""
    with io.BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
