"""A task's images as the model wants them: decoded once where memory allows, in the order that the claim froze."""

from collections.abc import Generator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from model.backbones.spec import BackboneSpec
from model.pixels.ahead import ahead
from model.pixels.images import decode
from model.pixels.pixel_cache import PixelCache
from model.pixels.preprocess import View, evaluation_view, shrink
from stream.blobs import Blobs
from stream.tasks import Item

CACHE_BYTES = 1 << 30
"""Decoded working copies kept in memory; what goes beyond is decoded again each epoch."""

Pixels = NDArray[np.uint8]


class Pictures:
    """Images of one task or of a held-out set, read from blobs."""

    def __init__(self, blobs: Blobs, items: Sequence[tuple[str, Item]], *, max_pixels: int) -> None:
        """`items` pairs each image with the id of the task that it is stored under."""
        self._blobs = blobs
        self._items = items
        self._max_pixels = max_pixels

    def __len__(self) -> int:
        return len(self._items)

    def decoded(self, index: int) -> Pixels:
        """The whole picture, H×W×3.

        Raises:
            DamagedBlob: the stored bytes are not those that were accepted.
        """
        task_id, item = self._items[index]
        return decode(self._blobs.get(item.key(task_id)), max_pixels=self._max_pixels)

    def views(
        self, spec: BackboneSpec, views: Sequence[View] = (evaluation_view,), threads: int = 0
    ) -> Generator[Pixels, None, None]:
        """Each image in these views, one image after the other; decoded once for all of them, ahead with threads."""

        def shown(index: int) -> list[Pixels]:
            pixels = self.decoded(index)
            return [view(pixels, spec) for view in views]

        with closing(ahead(shown, range(len(self)), threads)) as images:
            for image in images:
                yield from image


class TrainingPictures:
    """The images that a task trains on, with their columns in the block; shrunk copies are kept while they fit."""

    def __init__(self, pictures: Pictures, columns_N: NDArray[np.int64], spec: BackboneSpec) -> None:
        self.columns_N = columns_N
        self._pictures = pictures
        self._short_side = 2 * spec.image_size
        self._cache = PixelCache(self._shrunk, CACHE_BYTES)

    def __len__(self) -> int:
        return len(self._pictures)

    def pixels(self, index: int) -> Pixels:
        """The image, H×W×3, its short side at most twice the backbone's input."""
        return self._cache(index)

    def _shrunk(self, index: int) -> Pixels:
        return shrink(self._pictures.decoded(index), self._short_side)
