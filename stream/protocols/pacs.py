"""PACS: seven classes in four domains, to be learned domain by domain or class by class."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from stream.protocols.dataset import Dataset, Found, ProtocolError, held_apart, made_of
from stream.protocols.tables import read_tables
from stream.protocols.trees import NO_SPLIT, class_folders, pictures

INNER = ("kfold", "pacs_data")
"""Folders in which archives have the domains; lists name images without them."""

TRAIN_ENDING, TEST_ENDING = "_train_kfold.txt", "_crossval_kfold.txt"


def read_pacs(root: Path) -> Dataset:
    """By the published lists (training against cross-validation part), else domain folders or Parquet, split by rule.

    Domain folders may lie in `kfold/` or `pacs_data/`. Raises ProtocolError.
    """
    if root.is_file() or any(root.glob("*.parquet")):
        return read_tables("pacs", root)
    trains = sorted(root.rglob(f"*{TRAIN_ENDING}"))
    if trains:
        tests = [path.with_name(path.name.replace(TRAIN_ENDING, TEST_ENDING)) for path in trains]
        return made_of("pacs", _listed(trains, root), _listed(tests, root), root)
    inner = next((one for one in _inner(root) if one.is_dir() and class_folders(one)), root)
    found = [one for domain in class_folders(inner) for one in pictures(domain, domain.name)]
    keys = [one.source.relative_to(inner).as_posix().encode() for one in found if isinstance(one.source, Path)]
    return made_of("pacs", *held_apart(found, keys), root, note=NO_SPLIT)


def _inner(root: Path) -> list[Path]:
    return [root / name for name in INNER]


def _listed(paths: Sequence[Path], root: Path) -> list[Found]:
    return [_found(line.split()[0], path, root) for path in paths for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise ProtocolError(path, "there is no such file")
    return [line for line in path.read_text().splitlines() if line.strip()]


def _found(name: str, path: Path, root: Path) -> Found:
    parts = PurePosixPath(name).parts
    if len(parts) != 3:
        raise ProtocolError(path, f"{name} is not DOMAIN/CLASS/FILE")
    for folder in (root, *_inner(root)):
        if folder.joinpath(*parts).is_file():
            return Found(folder.joinpath(*parts), parts[1], parts[0])
    raise ProtocolError(path, f"it names {name}, which is not there")
