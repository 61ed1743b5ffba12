"""Hostile Parquet files, all sent as `/learn`'s `parquet`."""

import io
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as arrow
from pyarrow import parquet

from tests.attacks.corpus.attack import Attack, form, part
from tests.attacks.corpus.making import encoded

PICTURE = encoded("PNG")
MB = 1 << 20

Maker = Callable[[], bytes]


def attacks() -> Iterator[Attack]:
    """Every table."""
    for name, (status, field, make) in TABLES.items():
        yield Attack(f"parquet: {name}", "/learn", _sent(make), status, field)


def _sent(make: Maker) -> Maker:
    return lambda: form(part("parquet", make(), "a.parquet"))


def table(image: Any = (PICTURE,), label: Any = ("cat",), **options: Any) -> bytes:
    """A table of these columns."""
    file = io.BytesIO()
    parquet.write_table(arrow.table({"image": image, "label": label}), file, **options)
    return file.getvalue()


def damaged(start: int, stop: int) -> bytes:
    """A table with these bytes set to ones."""
    data = bytearray(table())
    data[start:stop] = b"\xff" * len(data[start:stop])
    return bytes(data)


def nested(depth: int) -> arrow.Array:
    """A list in a list in a list."""
    value: Any = PICTURE
    for _ in range(depth):
        value = [value]
    return arrow.array([value])


def repeated(rows: int, size_bytes: int) -> bytes:
    """One large picture in every row, kept once in a dictionary."""
    column = arrow.DictionaryArray.from_arrays(arrow.array([0] * rows, arrow.int32()), arrow.array([bytes(size_bytes)]))
    return table(column, ["cat"] * rows, compression="zstd")


def one_label(rows: int, size_bytes: int) -> bytes:
    """One huge label for all rows, kept once in a dictionary."""
    column = arrow.DictionaryArray.from_arrays(arrow.array([0] * rows, arrow.int32()), arrow.array(["a" * size_bytes]))
    return table(
        [PICTURE] * rows, column, compression="zstd", dictionary_pagesize_limit=64 * MB, write_statistics=False
    )


def hidden_dictionary(rows: int, size_bytes: int) -> bytes:
    """As `repeated`, without a word about the dictionary in the schema."""
    column = arrow.DictionaryArray.from_arrays(arrow.array([0] * rows, arrow.int32()), arrow.array([bytes(size_bytes)]))
    return table(
        column,
        ["cat"] * rows,
        compression="zstd",
        dictionary_pagesize_limit=64 * MB,
        use_dictionary=["image"],
        write_statistics=False,
        store_schema=False,
    )


def no_text() -> arrow.Array:
    """A text of bytes that are none."""
    places = arrow.py_buffer(struct.pack("<ii", 0, 2))
    return arrow.Array.from_buffers(arrow.string(), 1, [None, places, arrow.py_buffer(b"\xff\xfe")])


def with_path(path: arrow.Array) -> bytes:
    """A picture with this path."""
    pictures = arrow.StructArray.from_arrays([arrow.array([PICTURE]), path], names=["bytes", "path"])
    return table(pictures, store_schema=False, write_statistics=False)


def _number(value: int) -> bytes:
    """As Thrift's compact protocol writes a whole number."""
    written, rest = b"", value << 1
    while rest >> 7:
        written, rest = written + bytes([rest & 127 | 128]), rest >> 7
    return written + bytes([rest])


def footer_that_lies(size: int) -> bytes:
    """One value of so many zeros, packed small, of which the footer says that it is one byte."""
    data = table(
        image=arrow.array([bytes(size)]),
        compression="zstd",
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
        data_page_size=2 * size,
    )
    group = parquet.read_metadata(io.BytesIO(data)).row_group(0)
    (length,) = struct.unpack("<I", data[-8:-4])
    footer = data[-8 - length : -8]
    for honest in {group.total_byte_size, group.column(0).total_uncompressed_size}:
        written = _number(honest)
        footer = footer.replace(written, bytes([0x82]) + bytes([0x80] * (len(written) - 2)) + b"\0")
    return data[: -8 - length] + footer + data[-8:]


TABLES: dict[str, tuple[int, str | None, Maker]] = {
    "no table": (422, "parquet", lambda: b"PAR1" + bytes(100) + b"PAR1"),
    "an empty file": (422, "parquet", lambda: b""),
    "a table cut short": (422, "parquet", lambda: table()[:-20]),
    "a footer that claims 4 GB": (422, "parquet", lambda: table()[:-8] + b"\xff\xff\xff\xffPAR1"),
    "a damaged footer": (422, "parquet", lambda: damaged(-60, -8)),
    "pictures that are numbers": (422, "row 0", lambda: table([1])),
    "pictures that are texts": (422, "row 0", lambda: table(["http://example.invalid/cat.jpg"])),
    "pictures in 20 lists": (422, "row 0", lambda: table(nested(20))),
    "pictures in 60 lists": (422, "parquet", lambda: table(nested(60))),
    "labels that are fractions": (422, "row 0", lambda: table(label=[0.5])),
    "labels that are missing": (422, "row 0", lambda: table(label=arrow.array([None], arrow.string()))),
    "labels that are pictures": (422, "row 0", lambda: table(label=[PICTURE])),
    "no rows": (422, "parquet", lambda: table(arrow.array([], arrow.binary()), arrow.array([], arrow.string()))),
    "a dictionary of one picture of 30 MB in 2,000 rows": (413, "parquet", lambda: repeated(2000, 30 * MB)),
    "a picture of 64 MB": (413, "parquet", lambda: table([bytes(64 * MB)], compression="zstd")),
    "a picture of 20 MB in 60 rows, kept once": (413, "parquet", lambda: hidden_dictionary(60, 20 * MB)),
    "a label of 8 MB in 100 rows, kept once": (422, "row 0", lambda: one_label(100, 8 * MB)),
    "a label that is no text": (
        422,
        "parquet",
        lambda: table(label=no_text(), store_schema=False, write_statistics=False),
    ),
    "a path that is a number": (422, "row 0", lambda: with_path(arrow.array([7]))),
    "a path that is bytes": (422, "row 0", lambda: with_path(arrow.array([b"abc"]))),
    "a path that is no text": (422, "parquet", lambda: with_path(no_text())),
    "a path of 8 KB": (422, "row 0", lambda: with_path(arrow.array(["a" * 8192]))),
    "a label that is a time past all years": (
        422,
        "parquet",
        lambda: table(label=arrow.array([2**62], arrow.timestamp("us")), store_schema=False),
    ),
    "a URL as a picture's path": (
        422,
        "row 0",
        lambda: table(arrow.array([{"bytes": None, "path": "http://example.invalid/cat.jpg"}])),
    ),
    "a table whose footer hides 700 MB of zeros": (422, "parquet", lambda: footer_that_lies(700 * MB)),
}
