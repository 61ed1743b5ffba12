"""A task's pictures come in their order and in each view, however many threads make them ready."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from model.backbones.spec import BackboneSpec
from model.pixels.preprocess import evaluation_view, middle_view
from service.learner.pictures import Pictures, TrainingPictures
from stream.blobs import open_blobs
from stream.errors import StreamError
from stream.tasks import Item
from tests.digits import labelled

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)


def stored(folder: Path) -> Pictures:
    """Twenty digits as blobs of one task."""
    blobs, items = open_blobs(str(folder / "blobs"), folder / "cache"), []
    for number, (data, label) in enumerate(labelled(3, 7, count=10)):
        sha256 = hashlib.sha256(data).hexdigest()
        item = Item(number, sha256, label, None, len(data), sha256, None)
        blobs.put_bytes(item.key("t"), data)
        items.append(("t", item))
    return Pictures(blobs, items, max_pixels=10**6)


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_neither_order_nor_pixels(tmp_path: Path, threads: int) -> None:
    pictures = stored(tmp_path)
    alone = list(pictures.views(SPEC, [evaluation_view, middle_view]))
    assert len(alone) == 40 and not np.array_equal(alone[0], alone[1])
    together = list(pictures.views(SPEC, [evaluation_view, middle_view], threads))
    assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))


@pytest.mark.parametrize("threads", [0, 2])
def test_a_picture_that_is_gone_is_told_of_at_its_turn(tmp_path: Path, threads: int) -> None:
    pictures, shown = stored(tmp_path), 0
    _, lost = pictures._items[13]
    next((tmp_path / "blobs").rglob(f"{lost.sha256}*")).unlink()
    with pytest.raises(StreamError):
        for _ in pictures.views(SPEC, threads=threads):
            shown += 1
    assert shown == 13


def test_pictures_to_train_on_are_read_once(tmp_path: Path) -> None:
    pictures = TrainingPictures(stored(tmp_path), np.zeros(20, np.int64), SPEC)
    first = [pictures.pixels(index) for index in range(20)]
    for file in (tmp_path / "blobs").rglob("*"):
        if file.is_file():
            file.unlink()
    assert all(pictures.pixels(index) is first[index] for index in range(20))
