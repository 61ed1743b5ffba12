from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart import MultipartParser
from python_multipart.multipart import parse_options_header

from everclass.multipart import CHUNK_BYTES, File, Multipart, Text


def parsed(form: Multipart) -> list[tuple[str, str | None, bytes]]:
    """The parts as another implementation reads them."""
    parts: list[tuple[str, str | None, bytes]] = []
    header, data = bytearray(), bytearray()

    def end() -> None:
        _, options = parse_options_header(bytes(header))
        filename = options.get(b"filename")
        parts.append((options[b"name"].decode(), None if filename is None else filename.decode(), bytes(data)))

    def begin() -> None:
        header.clear()
        data.clear()

    def value(raw: bytes, start: int, stop: int) -> None:
        if not header.startswith(b"form-data"):
            header.extend(raw[start:stop])

    callbacks = {
        "on_part_begin": begin,
        "on_header_value": value,
        "on_part_data": lambda raw, start, stop: data.extend(raw[start:stop]),
        "on_part_end": end,
    }
    boundary = form.headers["Content-Type"].split("boundary=")[1]
    parser = MultipartParser(boundary.encode(), callbacks)  # type: ignore[arg-type]
    for chunk in form:
        parser.write(chunk)
    parser.finalize()
    return parts


def test_a_form_is_read_back_as_it_was_made(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(range(256)) * (CHUNK_BYTES // 128))
    form = Multipart(
        [Text("labels", "Löwe 🦁"), File("images", "a.png", b"\r\n--x"), File("images", "large.bin", large)]
    )
    assert parsed(form) == [
        ("labels", None, "Löwe 🦁".encode()),
        ("images", "a.png", b"\r\n--x"),
        ("images", "large.bin", large.read_bytes()),
    ]


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=200)), max_size=5))
def test_the_announced_length_is_the_length(parts: list[tuple[str, bytes]]) -> None:
    form = Multipart([File("images", name, content) for name, content in parts])
    body = b"".join(form)
    assert len(body) == form.length_bytes == int(form.headers["Content-Length"])
    assert b"".join(form) == body


def test_a_name_cannot_end_its_header() -> None:
    head = next(iter(Multipart([File("images", 'a"\r\nX-Evil: 1', b"")])))
    assert b'filename="a%22%0D%0AX-Evil: 1"' in head


def test_progress_is_told_as_bytes_go_out() -> None:
    told: list[tuple[int, int]] = []
    form = Multipart(
        [Text("a", "b"), File("c", "d", b"e" * 1000)], on_sent=lambda sent, total: told.append((sent, total))
    )
    body = b"".join(form)
    assert told == sorted(told)
    assert told[-1] == (len(body), len(body))


@pytest.mark.parametrize("later", [b"1", b"1234"])
def test_a_file_that_changes_while_it_is_sent_is_an_error(tmp_path: Path, later: bytes) -> None:
    file = tmp_path / "changing"
    file.write_bytes(b"12")
    form = Multipart([File("images", "changing", file)])
    file.write_bytes(later)
    with pytest.raises(OSError, match="changed its size"):
        list(form)
