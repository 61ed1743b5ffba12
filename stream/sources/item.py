"""What every source gives, and how much of it is read."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath

from stream.errors import InvalidContent, TooLarge
from stream.tasks import Split

ENTRIES_A_FILE = 2
"""So many entries, folders and hidden files too, are looked at for each file that may be taken."""


@dataclass(frozen=True)
class SourceItem:
    """One image: `name` is its path within the source, which errors about it name."""

    name: str
    label: str
    split: Split | None
    data: bytes


@dataclass(frozen=True)
class SourceLimits:
    """How much may come out of one source; `ratio` bounds the bytes that come out by the bytes that went in."""

    files: int = 20_000
    file_bytes: int = 32 << 20
    total_bytes: int = 4 << 30
    ratio: float = 200.0

    def within(self, source_bytes: int) -> "SourceLimits":
        """The limits for a source of this size; one small file may still expand to the limit of a file."""
        by_ratio = max(int(source_bytes * self.ratio), self.file_bytes)
        return SourceLimits(self.files, self.file_bytes, min(self.total_bytes, by_ratio), self.ratio)


@dataclass
class Tally:
    """Counts what came out of a source against its limits, and knows which folder names which class."""

    limits: SourceLimits
    files: int = field(default=0)
    total_bytes: int = field(default=0)
    entries: int = field(default=0)
    folders: dict[str, PurePosixPath] = field(default_factory=dict)

    def pass_by(self) -> None:
        """One more entry, be it a folder or a file that is left out. Raises TooLarge."""
        self.entries += 1
        if self.entries > ENTRIES_A_FILE * self.limits.files:
            raise TooLarge(f"more than {ENTRIES_A_FILE * self.limits.files} entries (twice limits.images_per_request)")

    def count(self, name: str, size_bytes: int) -> None:
        """One more file. Raises TooLarge, naming it where it alone is to blame."""
        self.files += 1
        self.total_bytes += size_bytes
        if size_bytes > self.limits.file_bytes:
            raise TooLarge(f"{name} has more than {self.limits.file_bytes} bytes (limits.image_mb)")
        if self.files > self.limits.files:
            raise TooLarge(f"more than {self.limits.files} files (limits.images_per_request)")
        if self.total_bytes > self.limits.total_bytes:
            raise TooLarge(
                f"the files come to more than {self.limits.total_bytes} bytes (limits.expanded_mb, expansion_ratio)"
            )

    def label_of(self, path: PurePosixPath) -> str:
        """The class of the image at `path`. Raises InvalidContent where there is none, or two folders would be one."""
        label = label_of(path)
        first = self.folders.setdefault(label, path.parent)
        if first != path.parent:
            raise InvalidContent.of(str(path), two_folders(label, first, path.parent))
        return label


def is_hidden(path: PurePosixPath) -> bool:
    """Files that systems leave behind without being asked: `.DS_Store`, `__MACOSX/…`, `Thumbs.db`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts) or path.name == "Thumbs.db"


def two_folders(label: str, first: PurePosixPath, second: PurePosixPath) -> str:
    """What is wrong where folders of one name lie in different places."""
    return f"{first} and {second} would be one class, {label}: give each class one folder, with a name of its own"


def label_of(path: PurePosixPath) -> str:
    """The folder that the image lies in names its class. Raises InvalidContent where it lies in none."""
    label = path.parent.name
    if not label:
        raise InvalidContent.of(str(path), "an image has to lie in a folder that names its class")
    return label
