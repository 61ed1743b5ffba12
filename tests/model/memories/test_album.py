"""Kept images come back as they were, whatever their sizes."""

import numpy as np
import torch

from model.backbones.spec import BackboneSpec
from model.memories.album import Album
from tests.model.pictures import Pictures

SPEC = BackboneSpec("test_vit", 32, (0.5,) * 3, (0.5,) * 3)


def test_small_pictures_are_kept_whole_and_large_ones_as_large_as_the_backbone_sees() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((5, 9, 3), (32, 40, 3), (64, 128, 3))]
    album = Album.of(Pictures(pictures, np.zeros(3, np.int64)), np.array([2, 0, 1]), SPEC)
    kept = album.to_tensors()
    assert kept["pixels_P"].dtype == torch.uint8
    assert len(kept["pixels_P"]) == 3 * (5 * 9 + 32 * 40 + 32 * 64)
    again = Album.from_tensors(kept)
    assert again.columns_N.tolist() == [2, 0, 1]
    for index in (0, 1):
        np.testing.assert_array_equal(again.pixels(index), pictures[index])
    assert again.pixels(2).shape == (32, 64, 3)
    assert again.plus(again).rows([4, 2]).columns_N.tolist() == [0, 1]


def test_an_empty_album_comes_back_empty() -> None:
    assert len(Album.from_tensors(Album.empty().to_tensors())) == len(Album.from_tensors({})) == 0
