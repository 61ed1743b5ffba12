"""Request bodies as they stream in: counted against their limit, multipart taken apart on the fly.

With a spool folder files go to disk as they arrive, so that memory does not grow with them.
"""

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartState, parse_options_header
from starlette.requests import ClientDisconnect, Request

from service.intake.room import Share
from service.problems import Problem, unreadable, wrong
from stream.files import storage_errors

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

CHUNK_BYTES = 1 << 18
"""So much is gathered before it is parsed and written, away from the event loop."""

MAX_TEXT_BYTES = 16_384
MAX_TEXTS_BYTES = 64 << 20
"""Of all text fields of a form together: labels of as many images as a request may have, at their longest."""

MAX_PARTS = 200_000
MAX_OPTIONS = 64
"""Of a header; the time of taking it apart grows with the square of them."""


@dataclass(frozen=True)
class Part:
    """One part of a form: bytes in memory, or the path of a spooled file. `filename` None: a plain field."""

    name: str
    filename: str | None
    content: bytes | Path

    def text(self, field_name: str | None = None) -> str:
        """The part as UTF-8 text; Problem 422 where it is a file or no text."""
        named = field_name or self.name
        if isinstance(self.content, Path):
            raise wrong(named, "a text is expected here, not a file")
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            raise wrong(named, "the text is not UTF-8") from None


@dataclass(frozen=True)
class Form:
    """All parts of a form, in the order in which they came."""

    parts: tuple[Part, ...]

    def named(self, name: str) -> list[Part]:
        """The parts of this name, in order."""
        return [part for part in self.parts if part.name == name]

    def refuse_others(self, known: frozenset[str]) -> None:
        """Problem 422 naming the first part that is none of `known`."""
        for part in self.parts:
            if part.name not in known:
                raise wrong(part.name or "(unnamed)", "there is no such form field")


@contextlib.asynccontextmanager
async def spool(folder: Path) -> AsyncIterator[Path]:
    """A fresh folder for the files of one request, gone with what is left in it when the request ends.

    Raises StorageFull and Unavailable where the disk does not take it.
    """
    place = folder / f"upload-{secrets.token_hex(8)}"
    with storage_errors(folder):
        place.mkdir(parents=True)
    try:
        yield place
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)


async def read_body(request: Request, most_bytes: int, share: Share | None = None) -> bytes:
    """The whole body in memory, of which `share` takes account.

    Raises Problem: 413 as soon as it is longer than `most_bytes`, 429 where the share may not grow.
    """
    return b"".join([chunk async for chunk in chunks(request, most_bytes, share)])


async def read_form(request: Request, most_bytes: int, place: Path | None = None, share: Share | None = None) -> Form:
    """A multipart form; its files under `place`, or in memory, of which `share` takes account, where that is None.

    Raises Problem: 413 too long, 415 not multipart, 400 not readable, 429 where the share may not grow; StorageFull
    and Unavailable where the disk does not take the files.
    """
    collector = Collector(place)
    parser = MultipartParser(boundary(request), collector.callbacks(), max_header_size=MAX_TEXT_BYTES)
    with collector, contextlib.nullcontext() if place is None else storage_errors(place):
        async for chunk in gathered(chunks(request, most_bytes, share)):
            if len(chunk) < CHUNK_BYTES:
                feed(parser, chunk)
            else:
                await asyncio.to_thread(feed, parser, chunk)
    if parser.state != MultipartState.END:
        raise unreadable("the form ends before its last boundary")
    return Form(tuple(collector.parts))


def boundary(request: Request) -> bytes:
    """The boundary that the content type names."""
    kind, options = _options(request.headers.get("content-type"))
    if kind != b"multipart/form-data":
        raise Problem(415, "the body must be multipart/form-data")
    if not options.get(b"boundary"):
        raise unreadable("the content type names no boundary")
    return options[b"boundary"]


def _options(value: str | bytes | None) -> tuple[bytes, dict[bytes, bytes]]:
    """A header's value and its options; Problem 400 where it has so many that taking it apart would take its time."""
    if value is not None:
        given = value.encode("latin-1", "replace") if isinstance(value, str) else value
        if given.count(b";") > MAX_OPTIONS:
            raise unreadable("a header of the form has more options than any that a client makes")
    return parse_options_header(value)


def feed(parser: MultipartParser, chunk: bytes) -> None:
    """Parse on; Problem 400 where the form is not well made."""
    try:
        parser.write(chunk)
    except FormParserError as error:
        raise unreadable(f"the form cannot be read: {error}") from None


async def chunks(request: Request, most_bytes: int, share: Share | None = None) -> AsyncIterator[bytes]:
    """The body as it arrives.

    Raises Problem: 413 once it is longer than allowed, by its header or by count; 429 where the share may not grow.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most_bytes:
        raise _too_long(most_bytes)
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > most_bytes:
                raise _too_long(most_bytes)
            if share is not None:
                share.grow(len(chunk))
            yield chunk
    except ClientDisconnect:
        raise unreadable("the client went away before the body was complete") from None


async def gathered(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of at least CHUNK_BYTES, but for the last."""
    waiting: list[bytes] = []
    size = 0
    async for chunk in stream:
        waiting.append(chunk)
        size += len(chunk)
        if size >= CHUNK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def _too_long(most_bytes: int) -> Problem:
    return Problem(413, f"the body is longer than the {most_bytes} bytes allowed")


@dataclass
class Collector:
    """What the push parser calls: makes parts of names, values and data."""

    place: Path | None
    parts: list[Part] = field(default_factory=list)
    _headers: dict[str, bytes] = field(default_factory=dict)
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _memory: bytearray = field(default_factory=bytearray)
    _file: BinaryIO | None = None
    _path: Path | None = None
    _field: str = ""
    _filename: str | None = None
    _texts_bytes: int = 0

    def callbacks(self) -> "MultipartCallbacks":
        """The parser's callbacks."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_headers_finished": self._opened,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def __enter__(self) -> "Collector":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        if len(self.parts) >= MAX_PARTS:
            raise Problem(413, f"the form has more than {MAX_PARTS} parts")
        self._headers = {}
        self._memory = bytearray()
        self._file = self._path = None

    def _header(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _opened(self) -> None:
        kind, options = _options(self._headers.get("content-disposition"))
        if kind != b"form-data" or b"name" not in options:
            raise unreadable(f"part {len(self.parts)} of the form has no name")
        self._field = options[b"name"].decode("utf-8", "replace")
        filename = options.get(b"filename")
        self._filename = None if filename is None else filename.decode("utf-8", "replace")
        if self.place is not None and self._filename is not None:
            self._path = self.place / f"part-{len(self.parts):06d}"
            self._file = self._path.open("xb")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])
            return
        self._memory += data[start:end]
        if self._filename is None:
            self._texts_bytes += end - start
            if self._texts_bytes > MAX_TEXTS_BYTES:
                raise Problem(413, f"the text fields of the form are longer than {MAX_TEXTS_BYTES} bytes")
        if self._filename is None and len(self._memory) > MAX_TEXT_BYTES:
            raise Problem(413, f"the form field {self._field} is longer than {MAX_TEXT_BYTES} bytes")

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
        content = bytes(self._memory) if self._path is None else self._path
        self.parts.append(Part(self._field, self._filename, content))
