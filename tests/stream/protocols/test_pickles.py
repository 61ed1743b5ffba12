"""Pickles are read without being run."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from stream.protocols.pickles import NotPlain, read_pickle

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
