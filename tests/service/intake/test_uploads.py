"""Bodies as they stream in: taken apart on the fly, counted, refused as soon as they are too long."""

import asyncio
import re
import resource
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from service.intake.uploads import CHUNK_BYTES, MAX_TEXTS_BYTES, Form, read_body, read_form, spool
from service.problems import Problem
from stream.errors import StorageFull
from tests.service.asgi import scope

MULTIPART = "multipart/form-data; boundary=XX"
MUCH = 1 << 30


def request(chunks: Iterable[bytes], headers: dict[str, str] | None = None, *, breaks_off: bool = False) -> Request:
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"} if breaks_off else {"type": "http.request", "body": b""}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or breaks_off}

    return Request(scope("POST", headers=headers or {"content-type": MULTIPART}), receive)


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    called = "" if filename is None else f'; filename="{filename}"'
    head = f'--XX\r\nContent-Disposition: form-data; name="{name}"{called}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--XX--\r\n"


def spooled(folder: Path, body: Request, look: Callable[[Form], None]) -> None:
    """Read the form into a spool of this folder, and look at it while that is there."""

    async def run() -> None:
        async with spool(folder) as place:
            look(await read_form(body, MUCH, place))

    asyncio.run(run())


def read(body: Request, place: Path | None = None, most_bytes: int = MUCH) -> Form:
    return asyncio.run(read_form(body, most_bytes, place))


def refused(call: Callable[[], Awaitable[object] | object]) -> Problem:
    with pytest.raises(Problem) as caught:
        result = call()
        if isinstance(result, Awaitable):
            asyncio.run(result)  # type: ignore[arg-type]
    return caught.value


def test_parts_come_in_order_with_names_and_contents() -> None:
    body = form(part("labels", "Möwe".encode()), part("images", b"\x00\r\n--X", "a b.png"), part("labels", b"b"))
    found = read(request([body]))
    assert [found.parts[0].text(), found.parts[2].text()] == ["Möwe", "b"]
    assert [one.content for one in found.named("images")] == [b"\x00\r\n--X"]
    assert found.named("images")[0].filename == "a b.png"


@settings(max_examples=50, deadline=None)
@given(
    contents=st.lists(st.binary(max_size=200), max_size=5),
    cuts=st.lists(st.integers(min_value=1, max_value=60), min_size=1, max_size=30),
)
def test_however_the_network_cuts_it_a_form_is_the_same(contents: list[bytes], cuts: list[int]) -> None:
    body = form(*[part("images", content, "f") for content in contents]) if contents else b"--XX--\r\n"
    chunks, at = [], 0
    while at < len(body):
        size = cuts[len(chunks) % len(cuts)]
        chunks.append(body[at : at + size])
        at += size
    assert [one.content for one in read(request(chunks)).parts] == contents


def test_files_go_to_disk_and_are_gone_with_the_request(tmp_path: Path) -> None:
    content = bytes(range(256)) * 3000

    def look(found: Form) -> None:
        path = found.parts[0].content
        assert isinstance(path, Path)
        assert path.read_bytes() == content
        assert found.parts[1].content == b"x"

    spooled(tmp_path, request([form(part("images", content, "big"), part("labels", b"x"))]), look)
    assert list(tmp_path.iterdir()) == []


def test_large_forms_are_read_in_pieces(tmp_path: Path) -> None:
    content = b"0123456789abcdef" * (CHUNK_BYTES // 4)
    body = form(part("images", content, "big"))
    pieces = [body[start : start + 65536] for start in range(0, len(body), 65536)]

    def look(found: Form) -> None:
        path = found.parts[0].content
        assert isinstance(path, Path)
        assert path.read_bytes() == content

    spooled(tmp_path, request(pieces), look)


def test_a_body_is_refused_by_its_announced_length() -> None:
    problem = refused(lambda: read_body(request([b"x"], {"content-length": "11"}), 10))
    assert problem.status == 413


def test_a_body_is_refused_as_soon_as_it_is_too_long_and_no_sooner() -> None:
    assert asyncio.run(read_body(request([b"12345", b"67890"], {}), 10)) == b"1234567890"
    assert refused(lambda: read_body(request([b"12345", b"678901"], {}), 10)).status == 413


def test_a_client_that_goes_away_is_no_error_of_the_server() -> None:
    assert refused(lambda: read_body(request([b"12345"], {}, breaks_off=True), 10)).status == 400


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", MULTIPART, 400),
        (b"--YY--\r\n", MULTIPART, 400),
        (part("images", b"cut", "short"), MULTIPART, 400),
        (b"--XX\r\n\r\nnameless\r\n--XX--\r\n", MULTIPART, 400),
        (b"--XX\r\nContent-Disposition: attachment\r\n\r\nx\r\n--XX--\r\n", MULTIPART, 400),
        (b"--XX\r\nbad header\r\n\r\nx\r\n--XX--\r\n", MULTIPART, 400),
        (form(part("note", b"x" * 20_000)), MULTIPART, 413),
        (b"{}", "application/json", 415),
        (b"", "multipart/form-data", 400),
    ],
)
def test_forms_that_are_none_are_refused(body: bytes, content_type: str, status: int) -> None:
    assert refused(lambda: read(request([body], {"content-type": content_type}))).status == status


def test_a_form_that_breaks_off_leaves_no_open_file(tmp_path: Path) -> None:
    body = request([part("images", b"x" * 100, "f")[:-50]], breaks_off=True)
    assert refused(lambda: read(body, tmp_path)).status == 400


def test_fields_that_nobody_knows_are_named() -> None:
    found = read(request([form(part("image", b"x", "f"))]))
    assert re.search("image: there is no such form field", refused(lambda: found.refuse_others(frozenset())).detail)


def test_texts_have_to_be_texts(tmp_path: Path) -> None:
    found = read(request([form(part("labels", b"\xff"), part("labels", b"x", "file"))]), tmp_path)
    assert refused(lambda: found.parts[0].text("labels[0]")).errors[0].field == "labels[0]"
    assert refused(lambda: found.parts[1].text()).status == 422


def test_text_fields_are_bounded_together() -> None:
    many = [part("labels", b"x" * 16_000)] * (MAX_TEXTS_BYTES // 16_000 + 1)
    assert refused(lambda: read(request([form(*many)]), most_bytes=2 * MAX_TEXTS_BYTES)).status == 413


def test_a_disk_that_takes_no_more_is_named(tmp_path: Path) -> None:
    body = request([form(part("images", b"x" * 100_000, "a.png"))])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        with pytest.raises(StorageFull, match=str(tmp_path)):
            spooled(tmp_path, body, lambda form: None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
