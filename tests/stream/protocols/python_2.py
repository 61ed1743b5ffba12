"""Pickles as Python 2's cPickle writes them with protocol 2: no Python of today writes text or arrays so."""

from typing import Any

import numpy as np

BATCH = 1_000
"""Items of a list that one instruction appends."""


def dumps(value: Any) -> bytes:
    """The pickle: text, `bytes` here, is Python 2's; arrays are of bytes, two-dimensional."""
    return b"\x80\x02" + _Writer().written(value) + b"."


class _Writer:
    def __init__(self) -> None:
        self._remembered = 0

    def written(self, value: Any) -> bytes:
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, dict):
            return b"}" + self._put() + self._together([one for item in value.items() for one in item], b"u")
        if isinstance(value, list):
            starts = range(0, len(value), BATCH)
            return b"]" + self._put() + b"".join(self._together(value[n : n + BATCH], b"e") for n in starts)
        return _text(value) + self._put() if isinstance(value, bytes) else _number(value)

    def _put(self) -> bytes:
        """Into the memo, whose numbers begin at 1."""
        self._remembered += 1
        number = self._remembered
        return b"q" + bytes([number]) if number < 256 else b"r" + number.to_bytes(4, "little")

    def _together(self, values: list[Any], end: bytes) -> bytes:
        return b"(" + b"".join(map(self.written, values)) + end

    def _array(self, array_NP: np.ndarray) -> bytes:
        """An empty array, and its state: version, shape, type, whether it lies by columns, and its bytes as text."""
        rows, columns = array_NP.shape
        return b"".join(
            [
                b"cnumpy.core.multiarray\n_reconstruct\n" + self._put(),
                b"cnumpy\nndarray\n" + self._put(),
                b"K\x00\x85U\x01b\x87R" + self._put(),
                b"(K\x01" + _number(rows) + _number(columns) + b"\x86",
                b"cnumpy\ndtype\n" + self._put(),
                b"U\x02u1K\x00K\x01\x87R" + self._put(),
                b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
                b"\x89" + _text(array_NP.tobytes()) + b"tb",
            ]
        )


def _text(value: bytes) -> bytes:
    size = len(value)
    return (b"U" + bytes([size]) if size < 256 else b"T" + size.to_bytes(4, "little")) + value


def _number(value: int) -> bytes:
    if value < 256:
        return b"K" + bytes([value])
    return b"M" + value.to_bytes(2, "little") if value < 65_536 else b"J" + value.to_bytes(4, "little")
