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
    without one trains. `name` is what errors call it; without one they name its file, or its place in the lesson.
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
    def called(self) -> str | None:
        """What errors call it; None where only its place tells it from others."""
        return self.name or (None if isinstance(self.image, bytes) else str(self.image))

    @property
    def filename(self) -> str:
        """The name that goes with the upload."""
        return self.name or ("image" if isinstance(self.image, bytes) else self.image.name)


def folder_images(folder: Path) -> Iterator[LabelledImage]:
    """The images of a tree with one folder a class, in the order of their names.

    The folder that an image lies in names its class, as in an archive that a server takes apart; folders above it have
    no meaning. Links to folders and files are followed. Every file but hidden ones is taken to be an image; what is
    none the server refuses by name.

    Raises NotADirectoryError, and ValueError for a file that lies in no class folder, two class folders of one name
    (`cats/large` and `dogs/large`), a link that leads nowhere or in a circle, or where there is no file at all.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder")
    shown = [path.relative_to(folder) for path in _files_below(folder)]
    if not shown:
        raise ValueError(f"{folder} holds no images; one folder a class is needed")
    _check_classes(folder, shown)
    for name in shown:
        yield LabelledImage(name.parent.name, folder / name, name=name.as_posix())


def _files_below(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files but hidden ones, by name; `above` are the folders on the way here, as they are without links."""
    way = (*above, folder.resolve())
    for path in sorted(folder.iterdir()):
        if _is_hidden(path.name):
            continue
        if path.is_dir():
            if path.resolve() in way:
                raise ValueError(f"{path} leads back to a folder that it lies in")
            yield from _files_below(path, way)
        elif path.is_file():
            yield path
        else:
            raise ValueError(f"{path} is neither a file nor a folder, or leads to nothing")


def _check_classes(folder: Path, names: Iterable[Path]) -> None:
    folders: dict[str, Path] = {}
    for name in names:
        label = name.parent.name
        if not label:
            raise ValueError(f"{folder / name} lies in no folder that names its class")
        first = folders.setdefault(label, name.parent)
        if first != name.parent:
            raise ValueError(
                f"{folder / first} and {folder / name.parent} would be one class, {label}: give each class one folder, "
                "with a name of its own"
            )


def _is_hidden(name: str) -> bool:
    """What systems leave behind without being asked, passed over as a server does in archives."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db")


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
