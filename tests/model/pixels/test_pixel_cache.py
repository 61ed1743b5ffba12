"""A picture that was looked at is loaded once, as long as there is room."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from model.pixels.pixel_cache import PixelCache


def test_pictures_stay_while_there_is_room() -> None:
    loaded: list[int] = []

    def load(index: int) -> np.ndarray:
        loaded.append(index)
        return np.full((4, 4, 3), index, np.uint8)

    cache = PixelCache(load, room_bytes=2 * 48)
    for _ in range(3):
        assert [int(cache(index)[0, 0, 0]) for index in range(3)] == [0, 1, 2]
    assert loaded == [0, 1, 2, 2, 2]


def test_what_cannot_be_loaded_is_asked_for_again() -> None:
    answers = iter([ValueError("damaged"), np.zeros((1, 1, 3), np.uint8)])

    def load(index: int) -> np.ndarray:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    cache = PixelCache(load, room_bytes=100)
    with pytest.raises(ValueError, match="damaged"):
        cache(0)
    assert cache(0) is cache(0)


def test_threads_that_load_the_same_picture_take_its_room_once() -> None:
    both = Barrier(2, timeout=30)

    def load(index: int) -> np.ndarray:
        if index == 0:
            both.wait()
        return np.full((4, 4, 3), index, np.uint8)

    cache = PixelCache(load, room_bytes=2 * 48)
    with ThreadPoolExecutor(2) as threads:
        assert [int(one[0, 0, 0]) for one in threads.map(cache, [0, 0])] == [0, 0]
    assert cache(0) is cache(0) and cache(1) is cache(1)
