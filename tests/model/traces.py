"""Training pictures in tensors, in whatever numbers, on whatever scale and wherever in them: traces of what was kept.

Looked for is one channel of each picture, of its evaluation view and of a smaller one. It is found where as many
numbers, one after the other or every third, are its pixels times any number plus any number, but for rounding; and
likewise with the last axis first, which may count pictures. Of pixels that were packed into wider numbers the bytes are
looked for. A picture that is encoded, or cut at random, is not found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from model.backbones.spec import BackboneSpec
from model.pixels.preprocess import evaluation_view

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

LENGTH = 64
"""Pixels in the middle of a channel that are compared first: of pictures of 8×8 all, of 32×32 two rows."""

SMALLER = 16
"""Side of the smaller picture."""

ALIKE = 0.99
"""Least correlation with what a picture was kept as: bytes of four bits have more, other pictures of a digit less."""

AT_ONCE = 1 << 14
"""Windows that are compared at once."""


@dataclass(frozen=True, eq=False)
class Traces:
    """What is looked for: channels of pictures, the middle of each at mean 0 and length 1 (S×64), where in the channel
    that begins, and the bytes of whole pictures and of single channels.
    """

    channels: tuple[Floats, ...]
    middle_SL: Floats
    starts: tuple[int, ...]
    packed: frozenset[bytes]

    @classmethod
    def of(cls, pictures: Sequence[Pixels], spec: BackboneSpec) -> "Traces":
        """Of pictures H×W×3 as a backbone of this spec sees them; none of those of less than 64 pixels."""
        forms = [form for picture in pictures for form in _forms(picture, spec) if form[..., 0].size >= LENGTH]
        packed = {one.tobytes() for form in forms for one in (form, form[..., 0])}
        alike = {form[..., channel].tobytes(): form[..., channel] for form in forms for channel in range(3)}
        channels = [one.ravel().astype(np.float32) for one in alike.values()]
        starts = [_start(one) for one in alike.values()]
        middles = [_normal(one[start : start + LENGTH]) for one, start in zip(channels, starts, strict=True)]
        return cls(tuple(channels), np.stack(middles), tuple(starts), frozenset(packed))

    def are_in(self, tensor: Tensor) -> bool:
        """Whether the tensor holds any picture."""
        if tensor.dtype != torch.uint8:
            raw = tensor.contiguous().flatten().view(torch.uint8).numpy().tobytes()
            if any(one in raw for one in self.packed):
                return True
        return any(self._are_in(numbers_N) for numbers_N in _rows(tensor))

    def _are_in(self, numbers_N: Floats) -> bool:
        if len(numbers_N) < LENGTH:
            return False
        all_WL = sliding_window_view(numbers_N, LENGTH)
        for first in range(0, len(all_WL), AT_ONCE):
            window_WL = all_WL[first : first + AT_ONCE]
            window_WL = window_WL - window_WL.mean(axis=1, keepdims=True)
            product_WS, least_W = np.abs(window_WL @ self.middle_SL.T), ALIKE * np.linalg.norm(window_WL, axis=1)
            for place in np.flatnonzero(product_WS.max(axis=1) > least_W):
                alike = np.flatnonzero(product_WS[place] > least_W[place])
                if any(self._whole(numbers_N, first + int(place), int(which)) for which in alike):
                    return True
        return False

    def _whole(self, numbers_N: Floats, place: int, which: int) -> bool:
        channel = self.channels[which]
        begin = place - self.starts[which]
        around = numbers_N[max(begin, 0) : begin + len(channel)]
        return len(around) == len(channel) and abs(float(_normal(around) @ _normal(channel))) > ALIKE


def _forms(picture: Pixels, spec: BackboneSpec) -> list[Pixels]:
    smaller = Image.fromarray(picture).resize((SMALLER, SMALLER), Image.Resampling.BICUBIC)
    return [picture, evaluation_view(picture, spec), np.array(smaller)]


def _start(channel_HW: Pixels) -> int:
    """Of the middle rows."""
    height, width = channel_HW.shape
    return (height - -(-LENGTH // width)) // 2 * width


def _normal(numbers_N: Floats) -> Floats:
    """Of mean 0 and length 1; zeros where all are the same."""
    centred_N = numbers_N - numbers_N.mean()
    return centred_N / max(float(np.linalg.norm(centred_N)), 1e-12)


def _rows(tensor: Tensor) -> Iterator[Floats]:
    """All numbers one after the other, and every third of them, as they lie and with the last axis first.

    Scaled so that none is above 1: products of packed bytes that are read as fractions would overflow.
    """
    wide = np.nan_to_num(tensor.to(torch.float64).numpy(), nan=0.0, posinf=0.0, neginf=0.0)
    numbers = (wide / max(float(np.abs(wide).max(initial=0)), np.finfo(np.float64).tiny)).astype(np.float32)
    for one in [numbers] if numbers.ndim < 2 else [numbers, np.moveaxis(numbers, -1, 0)]:
        flat_N = one.ravel()
        yield from (flat_N, flat_N[0::3], flat_N[1::3], flat_N[2::3])
