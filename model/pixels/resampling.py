"""Parts of many pictures brought to one square at once, on any device, with the weights that Pillow uses.

Resampling is linear in rows and in columns: one matrix a picture for each, `out = V · picture · Hᵀ`, so that a batch is
two products. Bytes are rounded between them as Pillow rounds them (`src/libImaging/Resample.c`).
"""

from collections.abc import Iterator, Sequence
from math import ceil, floor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.backbones.spec import Interpolation

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""

REACH: dict[Interpolation, float] = {"bicubic": 2.0, "bilinear": 1.0}
"""How far a filter reaches, in pixels of the coarser side."""

SHARPNESS = -0.5
"""`a` of the cubic filter (Keys 1981)."""

ROOM_BYTES = 256 << 20
"""Of padded pictures and their weights in one product; a picture that takes more is resampled alone."""


def trimmed(pixels_HWC: Pixels, box: Box, side: int, interpolation: Interpolation) -> tuple[Pixels, Box]:
    """The rows and columns that a square of `side` pixels from this box reads, and the box in what is left."""
    height, width = pixels_HWC.shape[:2]
    left, top, right, bottom = box
    first_x, last_x = _read(left, right, width, side, interpolation)
    first_y, last_y = _read(top, bottom, height, side, interpolation)
    return pixels_HWC[first_y:last_y, first_x:last_x], (
        left - first_x,
        top - first_y,
        right - first_x,
        bottom - first_y,
    )


def resampled(
    pictures: Sequence[Pixels], boxes: Sequence[Box], side: int, interpolation: Interpolation, device: torch.device
) -> Tensor:
    """`pixels_BCHW`, uint8 on the device: each picture's box (H×W×3) as a square of `side` pixels a side.

    A byte may be one off Pillow's where a sum lies half-way between two, and several where a picture is so much taller
    than wide (from about 8:5) that Pillow 13 resamples its rows before its columns.
    """
    groups = list(_groups([one.shape[:2] for one in pictures], side))
    parts = [
        _resampled([pictures[index] for index in group], [boxes[index] for index in group], side, interpolation, device)
        for group in groups
    ]
    place_B = np.argsort([index for group in groups for index in group])
    return torch.cat(parts)[torch.from_numpy(place_B).to(device)]


def _groups(sizes: Sequence[tuple[int, ...]], side: int) -> Iterator[list[int]]:
    """The numbers of pictures that fit into one product, those of like size together."""
    group: list[int] = []
    height = width = 0
    for index in sorted(range(len(sizes)), key=lambda index: max(sizes[index])):
        higher, wider = max(height, sizes[index][0]), max(width, sizes[index][1])
        if group and (len(group) + 1) * _bytes_of_one(higher, wider, side) > ROOM_BYTES:
            yield group
            group, higher, wider = [], *sizes[index]
        group.append(index)
        height, width = higher, wider
    if group:
        yield group


def _bytes_of_one(height: int, width: int, side: int) -> int:
    """A picture as float32 and, in float64 with what they are made of, its weights."""
    return height * width * 3 * 4 + side * (height + width) * 8 * 4


def _resampled(
    pictures: Sequence[Pixels], boxes: Sequence[Box], side: int, interpolation: Interpolation, device: torch.device
) -> Tensor:
    size_B2 = np.array([one.shape[:2] for one in pictures])
    height, width = size_B2.max(axis=0)
    padded_BHWC = np.zeros((len(pictures), height, width, 3), np.uint8)
    for row_HWC, one in zip(padded_BHWC, pictures, strict=True):
        row_HWC[: one.shape[0], : one.shape[1]] = one
    box_B4 = np.array(boxes)
    across_BSW = _weights(box_B4[:, 0], box_B4[:, 2], size_B2[:, 1], width, side, interpolation, device)
    down_BSH = _weights(box_B4[:, 1], box_B4[:, 3], size_B2[:, 0], height, side, interpolation, device)
    picture_BCHW = torch.from_numpy(padded_BHWC).to(device).permute(0, 3, 1, 2).float()
    narrowed_BCHS = _as_bytes(picture_BCHW @ across_BSW.transpose(1, 2).unsqueeze(1))
    return _as_bytes(down_BSH.unsqueeze(1) @ narrowed_BCHS).to(torch.uint8)


def _weights(
    start_B: NDArray[np.float64],
    end_B: NDArray[np.float64],
    length_B: NDArray[np.int64],
    longest: int,
    side: int,
    interpolation: Interpolation,
    device: torch.device,
) -> Tensor:
    """`weight_BSL`: what each of `longest` source pixels gives to each of `side` new ones; rows sum to 1."""
    begun_B1, ended_B1, length_B1 = (
        torch.from_numpy(np.asarray(one_B, np.float64)).to(device).unsqueeze(1) for one_B in (start_B, end_B, length_B)
    )
    scale_B1 = (ended_B1 - begun_B1) / side
    centre_BS = begun_B1 + (torch.arange(side, device=device) + 0.5) * scale_B1
    pixel_L = torch.arange(longest, device=device) + 0.5
    distance_BSL = (pixel_L - centre_BS.unsqueeze(2)) / scale_B1.clamp(min=1).unsqueeze(2)
    weight_BSL = _FILTERS[interpolation](distance_BSL.abs())
    weight_BSL = weight_BSL * (pixel_L < length_B1).unsqueeze(1)
    return (weight_BSL / weight_BSL.sum(dim=2, keepdim=True)).float()


def _cubic(distance: Tensor) -> Tensor:
    a = SHARPNESS
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((distance - 5) * distance + 8) * distance * a - 4 * a
    return torch.where(distance < 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))


def _triangle(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


_FILTERS = {"bicubic": _cubic, "bilinear": _triangle}


def _as_bytes(values: Tensor) -> Tensor:
    """Rounded as Pillow rounds: half-way upwards."""
    return (values + 0.5).floor().clamp(0, 255)


def _read(start: float, end: float, length: int, side: int, interpolation: Interpolation) -> tuple[int, int]:
    reach = REACH[interpolation] * max((end - start) / side, 1.0) + 1
    return max(0, floor(start - reach)), min(length, ceil(end + reach))
