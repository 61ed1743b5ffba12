"""Bodies of type multipart/form-data that are made while they are sent: one file is open at a time, none is held."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

CHUNK_BYTES = 256 * 1024

Sent = Callable[[int, int], None]


@dataclass(frozen=True)
class Text:
    """A form field."""

    name: str
    value: str


@dataclass(frozen=True)
class File:
    """A file of a form: bytes, or a path that is read while it is sent."""

    name: str
    filename: str
    content: bytes | Path

    @property
    def size_bytes(self) -> int:
        """How many bytes the content has."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


class Multipart:
    """A form of texts and files that can be sent again: every iteration gives the same bytes.

    `on_sent(bytes sent, bytes in all)` is called as the parts go out. A file that shrinks or grows between the count
    and the sending raises OSError.
    """

    def __init__(self, parts: Sequence[Text | File], on_sent: Sent | None = None) -> None:
        self._boundary = uuid.uuid4().hex
        self._parts = parts
        self._heads = [self._head(part) for part in parts]
        self._tail = f"--{self._boundary}--\r\n".encode()
        self._on_sent = on_sent
        self._sizes = [len(part.value.encode()) if isinstance(part, Text) else part.size_bytes for part in parts]
        self.length_bytes = sum(self._sizes) + sum(len(head) + len(b"\r\n") for head in self._heads) + len(self._tail)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that describe this body."""
        return {
            "Content-Type": f"multipart/form-data; boundary={self._boundary}",
            "Content-Length": str(self.length_bytes),
        }

    def __iter__(self) -> Iterator[bytes]:
        sent_bytes = 0
        for chunk in self._chunks():
            yield chunk
            sent_bytes += len(chunk)
            if self._on_sent is not None:
                self._on_sent(sent_bytes, self.length_bytes)

    def _chunks(self) -> Iterator[bytes]:
        for head, part, size_bytes in zip(self._heads, self._parts, self._sizes, strict=True):
            yield head
            if isinstance(part, Text):
                yield part.value.encode()
            elif isinstance(part.content, bytes):
                yield part.content
            else:
                yield from _file_chunks(part.content, size_bytes)
            yield b"\r\n"
        yield self._tail

    def _head(self, part: Text | File) -> bytes:
        disposition = f'form-data; name="{_quoted(part.name)}"'
        if isinstance(part, Text):
            return f"--{self._boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
        return (
            f'--{self._boundary}\r\nContent-Disposition: {disposition}; filename="{_quoted(part.filename)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()


def _quoted(text: str) -> str:
    """As browsers write names: quotes and line ends percent-encoded, all else as it is (WHATWG HTML)."""
    return "".join(quote(c) if c in '"\r\n' else c for c in text)


def _file_chunks(path: Path, size_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            size_bytes -= len(chunk)
            if size_bytes < 0:
                break
            yield chunk
    if size_bytes:
        raise OSError(f"{path} changed its size while it was being sent")
