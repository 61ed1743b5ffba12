"""Images that a memory keeps: uint8 pixels of any sizes in one flat tensor, with the class column of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.backbones.spec import BackboneSpec
from model.pixels.augmentation import training_view
from model.pixels.preprocess import shrink
from model.training.stage import LabelledImages, Tensors

Ints = NDArray[np.int64]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Album:
    """Pictures and their class columns among all classes.

    Each is kept as it came, but that a short side longer than the backbone's is brought down to it: a training view of
    a small picture is cut from the original, and a large one costs no more than the backbone can see.
    """

    pictures: tuple[Pixels, ...]
    columns_N: Ints

    @classmethod
    def empty(cls) -> Self:
        """Without pictures."""
        return cls((), np.zeros(0, np.int64))

    @classmethod
    def of(cls, images: LabelledImages, columns_N: Ints, spec: BackboneSpec) -> Self:
        """All of these images, shrunk."""
        pictures = tuple(shrink(images.pixels(index), spec.image_size) for index in range(len(images)))
        return cls(pictures, np.asarray(columns_N, np.int64))

    @classmethod
    def from_tensors(cls, kept: Tensors) -> Self:
        """The album that `to_tensors` wrote; the empty one of nothing."""
        if "pixels_P" not in kept:
            return cls.empty()
        sides_N2 = kept["sides_N2"].numpy()
        ends_N = np.cumsum(sides_N2.prod(axis=1) * 3)[:-1]
        parts = np.split(kept["pixels_P"].numpy(), ends_N) if len(sides_N2) else []
        pictures = tuple(
            part.reshape(int(height), int(width), 3) for part, (height, width) in zip(parts, sides_N2, strict=True)
        )
        return cls(pictures, kept["columns_N"].numpy().copy())

    def to_tensors(self) -> dict[str, Tensor]:
        """Pixels one after the other, height and width of each picture, and the columns."""
        flat = np.concatenate([np.zeros(0, np.uint8), *(picture.reshape(-1) for picture in self.pictures)])
        sides = np.array([picture.shape[:2] for picture in self.pictures], dtype=np.int64).reshape(-1, 2)
        return {
            "pixels_P": torch.from_numpy(flat),
            "sides_N2": torch.from_numpy(sides),
            "columns_N": torch.from_numpy(self.columns_N.copy()),
        }

    def __len__(self) -> int:
        return len(self.pictures)

    def pixels(self, index: int) -> Pixels:
        """Picture `index`."""
        return self.pictures[index]

    def plus(self, other: "Album") -> "Album":
        """Both, the other's behind."""
        return Album(self.pictures + other.pictures, np.concatenate([self.columns_N, other.columns_N]))

    def rows(self, rows: Sequence[int] | Ints) -> "Album":
        """These pictures alone, in this order."""
        chosen = np.asarray(rows, dtype=np.intp)
        return Album(tuple(self.pictures[row] for row in chosen), self.columns_N[chosen])

    def without(self, column: int) -> tuple["Album", Ints]:
        """The album without the pictures of a class, columns behind it moved up; and which rows are left."""
        rows = np.flatnonzero(self.columns_N != column)
        left = self.rows(rows)
        return Album(left.pictures, left.columns_N - (left.columns_N > column)), rows

    def views(self, rows: Ints, spec: BackboneSpec, augmentation: str, rng: np.random.Generator) -> Tensor:
        """`pixels_BHWC`: a training view of each of these pictures."""
        views = [training_view(self.pictures[int(row)], spec, rng, augmentation) for row in rows]
        return torch.from_numpy(np.stack(views))
