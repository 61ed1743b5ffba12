"""Decoded pictures that stay in memory while there is room: an epoch after the first need not decode them again."""

from collections.abc import Callable
from threading import Lock

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class PixelCache:
    """Pictures by their number, for several threads; those beyond `room_bytes` are loaded each time."""

    def __init__(self, load: Callable[[int], Pixels], room_bytes: int) -> None:
        self._load = load
        self._kept: dict[int, Pixels] = {}
        self._room_bytes = room_bytes
        self._keeping = Lock()

    def __call__(self, index: int) -> Pixels:
        """Picture `index`, H×W×3 RGB; raises what `load` raises."""
        kept = self._kept.get(index)
        if kept is not None:
            return kept
        pixels_HWC = self._load(index)
        with self._keeping:
            if index not in self._kept and pixels_HWC.nbytes <= self._room_bytes:
                self._room_bytes -= pixels_HWC.nbytes
                self._kept[index] = pixels_HWC
        return pixels_HWC
