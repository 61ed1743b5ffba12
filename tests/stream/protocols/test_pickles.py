"""Pickles are read without being run."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from stream.protocols.pickles import NotPlain, read_pickle
from tests.stream.protocols import python_2

PLAIN = {b"data": [1, 2, 300, 70_000, -5, 2**40], "text": "ä", "nested": [[True, None], {b"x": 0.5}], "empty": []}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_read_back(protocol: int) -> None:
    assert read_pickle(pickle.dumps(PLAIN, protocol)) == PLAIN


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_read_back(protocol: int) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    found = read_pickle(pickle.dumps({b"data": array, b"again": [array]}, protocol))
    np.testing.assert_array_equal(found[b"data"], array)
    np.testing.assert_array_equal(found[b"again"][0], array)


def test_text_of_python_2_comes_as_bytes() -> None:
    written = b"\x80\x02}q\x00U\x04dataq\x01U\x02\xff\x00s."
    assert read_pickle(written) == {b"data": b"\xff\x00"}


BY_PYTHON_2 = (
    b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 1q\x03U\x04dataq\x04"
    b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07"
    b"(K\x01K\x02K\x96\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87Rq\t"
    b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T,\x01\x00\x00" + b"\x01\xff" * 150 + b"tb"
    b"U\x0bfine_labelsq\n]q\x0b(K\x01K\x02eU\tfilenamesq\x0c]q\r(U\x05x.pngq\x0eU\x05y.pngq\x0feu."
)
"""By cPickle of Python 2.7.18, with protocol 2, of what an array there says of itself."""


def test_arrays_of_python_2_read_back() -> None:
    array = np.tile(np.array([1, 255], np.uint8), (2, 75))
    rest = {b"fine_labels": [1, 2], b"filenames": [b"x.png", b"y.png"]}
    content = {b"batch_label": b"training batch 1 of 1", b"data": array, **rest}
    assert python_2.dumps(content) == BY_PYTHON_2
    for written in (read_pickle(BY_PYTHON_2), pickle.loads(BY_PYTHON_2, encoding="bytes")):
        assert list(written) == list(content)
        np.testing.assert_array_equal(written.pop(b"data"), array)
        assert written == {name: value for name, value in content.items() if name != b"data"}


def test_arrays_by_columns_read_back() -> None:
    array = np.asfortranarray(np.arange(12, dtype=np.uint8).reshape(3, 4))
    np.testing.assert_array_equal(read_pickle(pickle.dumps(array, 2)), array)


class Attack:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("touched"),)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    "value", [Attack(), Path("x"), OrderedDict(a=1), np.array(["x"], dtype=object), np.float64, print, {1}]
)
def test_what_is_not_plain_is_refused(value: object, protocol: int) -> None:
    with pytest.raises(NotPlain):
        read_pickle(pickle.dumps({"value": value}, protocol))
    assert not Path("touched").exists()


def test_what_is_cut_short_is_refused() -> None:
    whole = pickle.dumps({"data": np.arange(9, dtype=np.uint8)}, 2)
    for end in range(len(whole)):
        with pytest.raises(NotPlain):
            read_pickle(whole[:end])
