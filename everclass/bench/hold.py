"""One command at a time has a folder of results: each writes the lines anew, and goes on with what is unfinished."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"


class FolderHeld(ValueError):
    """Another command has the folder: `command` says which, empty where it has not said yet."""

    def __init__(self, folder: Path, command: str) -> None:
        self.folder, self.command = folder, command
        super().__init__(f"{folder} is in use by another command until it ends: {command or 'it has just begun'}")


@contextmanager
def held(folder: Path, command: str) -> Iterator[None]:
    """The folder for this command alone, until then or until its process ends, however it ends.

    The file of the lock stays. Raises FolderHeld, and OSError where nothing can be locked there.
    """
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise FolderHeld(folder, file.read().strip()) from error
        file.truncate(0)
        file.write(f"{command} (process {os.getpid()})\n")
        file.flush()
        yield
