"""Labelled images on their way to a server: in memory, or as files that are read only while they are sent."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})
BATCH_IMAGES = 1000
BATCH_BYTES = 256 * 1024 * 1024

Split = Literal["train", "held_out"]


@dataclass(frozen=True)
class LabelledImage:
    """An encoded image (JPEG, PNG or WebP) as bytes or as a file, with its label.

    `split` says whether it trains or only judges; without any in a request the server holds some out, else an image
    without one trains. `name` is what errors call it.
    """

    label: str
    image: bytes | Path
    split: Split | None = None
    name: str | None = None

    @property
    def size_bytes(self) -> int:
        """How many bytes the encoded image has."""
        return len(self.image) if isinstance(self.image, bytes) else self.image.stat().st_size

    @property
    def filename(self) -> str:
        """The name that goes with the upload."""
        return self.name or ("image" if isinstance(self.image, bytes) else self.image.name)


def folder_images(folder: Path) -> Iterator[LabelledImage]:
    """The images of a tree with one folder a class, in the order of their names.

    The label is the name of the folder right below `folder`; images may lie deeper. Hidden files and files that are no
    images by their suffix are passed over. Raises NotADirectoryError, and ValueError where there is no image at all.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    found = False
    for path in sorted(folder.glob("*/**/*")):
        inside = path.relative_to(folder)
        if (
            path.suffix.lower() in SUFFIXES
            and path.is_file()
            and not any(part.startswith(".") for part in inside.parts)
        ):
            found = True
            yield LabelledImage(inside.parts[0], path, name=inside.as_posix())
    if not found:
        raise ValueError(f"{folder} has no folder with images (JPEG, PNG or WebP) in it: one folder a class is needed")


def batches(images: Iterable[LabelledImage]) -> Iterator[list[LabelledImage]]:
    """The images in lists of at most BATCH_IMAGES images and, unless a single one is larger, BATCH_BYTES bytes."""
    batch: list[LabelledImage] = []
    size_bytes = 0
    for image in images:
        if batch and (len(batch) == BATCH_IMAGES or size_bytes + image.size_bytes > BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(image)
        size_bytes += image.size_bytes
    if batch:
        yield batch
