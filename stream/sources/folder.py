"""A tree of folders on this machine: the folder that an image lies in names its class, and no two are called alike."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from stream.errors import InvalidContent, NotFound
from stream.sources.item import SourceItem, SourceLimits, Tally, is_hidden


def read_folder(root: Path, limits: SourceLimits | None = None) -> Iterator[SourceItem]:
    """Every file below `root`, by path. Links are not followed; hidden files are left out.

    Raises:
        NotFound: there is no such folder.
        InvalidContent: a file lies in no class folder, two class folders have one name, or there is something that is
            neither file nor folder.
        TooLarge: more than the limits allow.
    """
    if not root.is_dir():
        raise NotFound("folder", str(root))
    tally = Tally(limits or SourceLimits())
    for path in _below(root):
        name = PurePosixPath(path.relative_to(root).as_posix())
        if is_hidden(name):
            continue
        if path.is_symlink() or not path.is_file():
            raise InvalidContent.of(str(name), "this is not a plain file")
        tally.count(str(name), path.stat().st_size)
        yield SourceItem(str(name), tally.label_of(name), None, path.read_bytes())


def _below(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path))
        else:
            yield Path(entry.path)
