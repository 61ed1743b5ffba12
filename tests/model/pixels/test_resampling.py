"""Many pictures resampled at once are Pillow's, one by one."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from model.backbones.spec import Interpolation
from model.pixels import resampling
from model.pixels.preprocess import RESAMPLING
from model.pixels.resampling import ROOM_BYTES, Box, resampled, trimmed

CPU = torch.device("cpu")
CASES: list[tuple[tuple[int, int], Box]] = [
    ((90, 300), (0.4, 0.6, 289.7, 80.2)),
    ((32, 32), (0, 0, 32, 32)),
    ((32, 32), (3, 7, 20, 31)),
    ((120, 200), (10, 0, 190, 120)),
    ((500, 700), (0, 0, 700, 500)),
    ((1, 1), (0, 0, 1, 1)),
    ((3, 200), (60, 0, 64, 3)),
    ((64, 64), (0, 0, 64, 64)),
]


def picture(height: int, width: int) -> np.ndarray:
    """Noise on a slope: every byte takes part, and clipping at both ends."""
    rng = np.random.default_rng(height * 1_000 + width)
    slope = np.linspace(-80, 335, width)[None, :, None]
    return np.clip(slope + rng.normal(0, 60, (height, width, 3)), 0, 255).astype(np.uint8)


def by_pillow(pixels_HWC: np.ndarray, box: Box, side: int, interpolation: Interpolation) -> np.ndarray:
    return np.array(Image.fromarray(pixels_HWC).resize((side, side), RESAMPLING[interpolation], box=box))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("side", [17, 64])
def test_a_batch_of_any_sizes_is_what_pillow_makes_of_each(interpolation: Interpolation, side: int) -> None:
    pictures = [picture(*size) for size, _ in CASES]
    found = resampled(pictures, [box for _, box in CASES], side, interpolation, CPU)
    assert found.shape == (len(CASES), 3, side, side) and found.dtype == torch.uint8
    for one, pixels_HWC, (_, box) in zip(found, pictures, CASES, strict=True):
        off = np.abs(one.permute(1, 2, 0).numpy().astype(int) - by_pillow(pixels_HWC, box, side, interpolation))
        assert off.max() <= 1 and (off > 0).mean() < 0.05


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_a_tall_picture_whose_rows_pillow_takes_first_is_nearly_the_same(interpolation: Interpolation) -> None:
    pixels_HWC, box = picture(300, 90), (0.4, 100.6, 89.7, 210.2)
    found = resampled([pixels_HWC], [box], 64, interpolation, CPU)[0].permute(1, 2, 0).numpy().astype(int)
    off = np.abs(found - by_pillow(pixels_HWC, box, 64, interpolation))
    assert off.mean() < 0.5 and off.max() < 16


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("side", [17, 64])
def test_what_is_trimmed_away_is_not_read(interpolation: Interpolation, side: int) -> None:
    for size, box in CASES:
        read_HWC, moved = trimmed(picture(*size), box, side, interpolation)
        off = resampled([read_HWC], [moved], side, interpolation, CPU).int()
        off -= resampled([picture(*size)], [box], side, interpolation, CPU).int()
        assert off.abs().max() <= 1 and (off != 0).float().mean() < 1e-3
    small, _ = trimmed(picture(500, 700), (100, 100, 164, 164), 64, interpolation)
    assert small.shape[0] < 72 and small.shape[1] < 72


@pytest.mark.parametrize("room_bytes", [1, 100_000, ROOM_BYTES])
def test_pictures_come_in_their_order_however_few_fit_into_one_product(
    room_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.pixels.resampling.ROOM_BYTES", room_bytes)
    pictures = [picture(20 + number % 7, 20 + number % 30) for number in range(70)]
    found = resampled(pictures, [(0, 0, 20, 20)] * len(pictures), 8, "bicubic", CPU)
    alone = [resampled([one], [(0, 0, 20, 20)], 8, "bicubic", CPU)[0] for one in pictures]
    assert (found.int() - torch.stack(alone).int()).abs().max() <= 1


def test_one_large_picture_does_not_make_the_others_as_large(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, ...]] = []
    whole = resampling._resampled

    def noted(pictures: list[np.ndarray], *others: Any) -> torch.Tensor:
        sizes.append((len(pictures), *np.max([one.shape[:2] for one in pictures], axis=0).tolist()))
        return whole(pictures, *others)

    monkeypatch.setattr("model.pixels.resampling._resampled", noted)
    pictures = [picture(1500, 2000), *[picture(64, 64)] * 40]
    resampled(pictures, [(0, 0, 64, 64)] * 41, 224, "bicubic", CPU)
    assert sizes == [(40, 64, 64), (1, 1500, 2000)]
