"""Which code made a figure: a digest of it, and the commit where it runs from a checkout."""

import hashlib
import subprocess
from functools import cache
from pathlib import Path
from types import ModuleType

import everclass
import model
import stream

PACKAGES = (everclass, model, stream)
"""All that a comparison runs on; the server has no part in it."""


@cache
def code() -> dict[str, str]:
    """`code`, twelve digits of the SHA-256 of all files of Python; and `commit` in a checkout of this project, with
    `+changes` where files differ from it.
    """
    found = {"code": digest([_folder(package) for package in PACKAGES])}
    commit = commit_of(_folder(everclass).parent)
    return found if commit is None else found | {"commit": commit}


def digest(folders: list[Path]) -> str:
    """Of each file's name and content, whatever order the file system gives them in."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            data = path.read_bytes()
            found.update(f"{folder.name}/{path.relative_to(folder).as_posix()} {len(data)}\n".encode() + data)
    return found.hexdigest()[:12]


def commit_of(root: Path) -> str | None:
    """The commit of a checkout whose top this is; None elsewhere, also within somebody else's checkout."""
    if not (root / ".git").exists():
        return None
    asked = ["git", "-C", str(root), "describe", "--always", "--exclude=*", "--dirty=+changes"]
    try:
        return subprocess.run(asked, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _folder(package: ModuleType) -> Path:
    return Path(str(package.__file__)).parent
