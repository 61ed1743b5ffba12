"""Folder trees of pictures: a folder a class, with a split of its own or without; and domains of such trees."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stream.protocols.dataset import Dataset, Found, ProtocolError, held_apart, made_of

ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp"})
NO_SPLIT = "No published split: of each class the fifth of the files whose names' SHA-256 is least is for testing."


def read_tree(name: str, root: Path) -> Dataset:
    """`train/` and `test/` (or `val/`) with a folder a class in each; or class folders alone, split by rule.

    Raises ProtocolError where there is neither.
    """
    train = root / "train"
    if train.is_dir():
        return made_of(name, pictures(train), pictures(_judged(root)), root)
    found = pictures(root)
    parts = held_apart(found, [_key(one, root) for one in found])
    return made_of(name, *parts, root, note=NO_SPLIT)


def pictures(folder: Path, domain: str = "") -> list[Found]:
    """Every picture below the class folders of `folder`, sorted by class and name; hidden files are left out.

    Raises ProtocolError where there is no class folder with pictures.
    """
    found = [Found(path, one.name, domain) for one in class_folders(folder) for path in files_below(one)]
    if not found:
        raise ProtocolError(folder, "there are no class folders with pictures in it")
    return found


def class_folders(folder: Path) -> Sequence[Path]:
    """The folders in a folder, sorted by name. Raises ProtocolError where there is no such folder."""
    if not folder.is_dir():
        raise ProtocolError(folder, "there is no such folder")
    return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))


def files_below(folder: Path) -> Iterator[Path]:
    """The pictures below a folder, sorted."""
    yield from sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in ENDINGS and path.is_file() and not path.name.startswith(".")
    )


def _judged(root: Path) -> Path:
    for name in ("test", "val"):
        if (root / name).is_dir():
            return root / name
    raise ProtocolError(root, "there is a folder train, but neither test nor val beside it")


def _key(one: Found, root: Path) -> bytes:
    assert isinstance(one.source, Path)
    return one.source.relative_to(root).as_posix().encode()
