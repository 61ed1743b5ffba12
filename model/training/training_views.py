"""Training views of one run of stage 1: drawn by (seed, epoch, image) alone, made where the network is.

On a CPU Pillow cuts each one. On a GPU threads only decode, and the device cuts a batch at once: the interpreter's lock
would not let threads cut as many views as a GPU takes.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.backbones.spec import BackboneSpec
from model.pixels.ahead import ahead
from model.pixels.augmentation import Cut, drawn_cut, training_view
from model.pixels.preprocess import evaluation_box
from model.pixels.resampling import resampled, trimmed
from model.training.stage import LabelledImages

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]


class Maker(Protocol):
    """Views in two steps: what can be done to one picture in a thread, then a batch."""

    def prepared(self, pixels_HWC: Pixels, rng: np.random.Generator) -> Any:
        """What the view of one picture is made of."""

    def batch(self, prepared: Sequence[Any]) -> Tensor:
        """`pixels_BHWC`, uint8, where the network is."""


@dataclass(frozen=True)
class OnHost:
    """Each view by Pillow."""

    spec: BackboneSpec
    augmentation: str

    def prepared(self, pixels_HWC: Pixels, rng: np.random.Generator) -> Pixels:
        """The view itself."""
        return training_view(pixels_HWC, self.spec, rng, self.augmentation)

    def batch(self, prepared: Sequence[Pixels]) -> Tensor:
        """The views, stacked."""
        return torch.from_numpy(np.stack(prepared))


@dataclass(frozen=True, eq=False)
class Framed:
    """The part of a picture that a view reads, and the cut in it."""

    pixels_HWC: Pixels
    cut: Cut


@dataclass(frozen=True)
class OnDevice:
    """A batch of views by the device: Pillow's, but for bytes that are a little off here and there (`resampled`)."""

    spec: BackboneSpec
    augmentation: str
    device: torch.device

    def prepared(self, pixels_HWC: Pixels, rng: np.random.Generator) -> Framed:
        """The cut, drawn as for `OnHost`, and what it reads."""
        height, width = pixels_HWC.shape[:2]
        if self.augmentation == "none":
            cut = Cut(evaluation_box(height, width, self.spec))
        else:
            cut = drawn_cut(height, width, rng, self.augmentation)
        read_HWC, box = trimmed(pixels_HWC, cut.box, self.spec.image_size, self.spec.interpolation)
        # A copy, where it is a part: what waits must not hold on to whole pictures.
        read_HWC = read_HWC if read_HWC.shape == pixels_HWC.shape else read_HWC.copy()
        return Framed(read_HWC, replace(cut, box=box))

    @torch.no_grad()
    def batch(self, prepared: Sequence[Framed]) -> Tensor:
        """Resampled together, then mirrored and brightened."""
        pictures, cuts = [one.pixels_HWC for one in prepared], [one.cut for one in prepared]
        boxes, side = [cut.box for cut in cuts], self.spec.image_size
        view_BCHW = resampled(pictures, boxes, side, self.spec.interpolation, self.device)
        mirrored_B111 = torch.tensor([cut.mirrored for cut in cuts], device=self.device)[:, None, None, None]
        view_BCHW = torch.where(mirrored_B111, view_BCHW.flip(3), view_BCHW)
        if any(cut.brightness != 1 for cut in cuts):
            factor_B111 = torch.tensor([cut.brightness for cut in cuts], dtype=torch.float64, device=self.device)
            view_BCHW = (view_BCHW * factor_B111[:, None, None, None]).clamp(0, 255).to(torch.uint8)
        return view_BCHW.permute(0, 2, 3, 1)


class TrainingViews:
    """The views of these images by the recipe of this name; `threads` prepare them ahead of the network."""

    def __init__(
        self,
        images: LabelledImages,
        spec: BackboneSpec,
        augmentation: str,
        seed: int,
        threads: int,
        device: torch.device,
    ) -> None:
        self._images, self._seed, self._threads = images, seed, threads
        self._maker: Maker = OnHost(spec, augmentation)
        if device.type != "cpu":
            self._maker = OnDevice(spec, augmentation, device)

    def prepared(self, epoch: int, batches: Sequence[Ints]) -> Generator[Any, None, None]:
        """What the views of these batches in this epoch are made of, image by image."""

        def one(index: int) -> Any:
            rng = np.random.default_rng([self._seed, epoch, index])
            return self._maker.prepared(self._images.pixels(index), rng)

        return ahead(one, (int(index) for batch_B in batches for index in batch_B), self._threads)

    def batch(self, prepared: Iterator[Any], count: int) -> Tensor:
        """`pixels_BHWC` of the next `count` images, uint8, where the network is."""
        return self._maker.batch(list(islice(prepared, count)))
