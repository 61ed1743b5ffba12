"""Labelled images on their way to a server: in memory, or as files that are read only while they are sent."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

BATCH_IMAGES = 1000
BATCH_BYTES = 256 * 1024 * 1024

Item = TypeVar("Item")

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

    The folder that an image lies in names its class, as in an archive that a server takes apart. Every file but hidden
    ones is taken to be an image; what is none the server refuses by name.

    Raises NotADirectoryError, and ValueError for a file that lies in no class folder or where there is no file at all.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    shown = [name for name in names if not _is_hidden(name)]
    if not shown:
        raise ValueError(f"{folder} holds no images; one folder a class is needed")
    for name in shown:
        if not name.parent.name:
            raise ValueError(f"{folder / name} lies in no folder that names its class")
        yield LabelledImage(name.parent.name, folder / name, name=name.as_posix())


def _is_hidden(name: Path) -> bool:
    """Files that systems leave behind without being asked, passed over as a server does in archives."""
    return name.name == "Thumbs.db" or any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


def batches(images: Iterable[LabelledImage]) -> Iterator[list[LabelledImage]]:
    """The images in lists of at most BATCH_IMAGES images and, unless a single one is larger, BATCH_BYTES bytes."""
    return portions(images, lambda image: image.size_bytes, most=BATCH_IMAGES, most_bytes=BATCH_BYTES)


def portions(
    items: Iterable[Item], size_bytes: Callable[[Item], int], *, most: int, most_bytes: int
) -> Iterator[list[Item]]:
    """The items in lists of at most `most` and, unless a single one is larger, `most_bytes` bytes."""
    portion: list[Item] = []
    present_bytes = 0
    for item in items:
        size = size_bytes(item)
        if portion and (len(portion) == most or present_bytes + size > most_bytes):
            yield portion
            portion, present_bytes = [], 0
        portion.append(item)
        present_bytes += size
    if portion:
        yield portion
