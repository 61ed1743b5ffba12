"""Archives and tables are unpacked in a process of their own, which a hostile one can take no further than its limits.

`python -m stream.sources.apart KIND PATH LIMITS MEGABYTES SECONDS` writes each item as a line of JSON and the bytes of
the image, and last a line that says how it ended. One that takes more than so many seconds of the processor from one
item to the next is ended by SIGPROF.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from math import ceil
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, cast

from stream.errors import FieldError, InvalidContent, QuotaFull, TooLarge
from stream.sources.archive import read_archive
from stream.sources.item import SourceItem, SourceLimits, Tally
from stream.sources.parquet import read_parquet

Kind = Literal["archive", "parquet"]

READERS: Mapping[Kind, Callable[[Path, SourceLimits], Iterator[SourceItem]]] = {
    "archive": read_archive,
    "parquet": read_parquet,
}

BASE_MB = 1024
"""Address space of what the libraries map before they read anything."""

COPIES = 8
"""How often a file's bytes may lie in memory on their way out of a packed table."""

MOST_ITEMS_S = 30
NICER = 5
"""Who predicts goes first."""

LINE_BYTES = 1 << 20
MOST_CHARACTERS = 1000
"""Of what is said of an error: it may quote names of any length."""

WAIT_S = 10.0
RETRY_AFTER_S = 5
TRACEBACK = 1
"""How Python ends where nobody catches an error."""

MB = 1 << 20


class Apart:
    """Reads sources in child processes, each for one source, `most` at once, of one sender half as many. Safe from
    several threads.

    `seconds` of the processor may go by from item to item, and `MOST_ITEMS_S` times as many in all.
    """

    def __init__(self, limits: SourceLimits, seconds: float, environment: Mapping[str, str], most: int) -> None:
        self.limits, self.seconds, self.environment = limits, seconds, environment
        self._most = most
        self._busy: Counter[str] = Counter()
        self._changed = threading.Condition()

    def read(self, kind: Kind, path: Path, sender: str) -> Iterator[SourceItem]:
        """The items of the source.

        Raises:
            InvalidContent, TooLarge: as the reader does, or where it takes more memory or time than is allowed.
            QuotaFull: others are at it, the sender's own or everyone's, and go on being.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_place(sender), WAIT_S):
                raise QuotaFull("too many archives and tables are being taken apart", retry_after_s=RETRY_AFTER_S)
            self._busy[sender] += 1
        try:
            yield from self._read(kind, path)
        finally:
            with self._changed:
                self._busy[sender] -= 1
                if not self._busy[sender]:
                    del self._busy[sender]
                self._changed.notify_all()

    def _has_place(self, sender: str) -> bool:
        return self._busy.total() < self._most and self._busy[sender] < max(1, self._most // 2)

    def _read(self, kind: Kind, path: Path) -> Iterator[SourceItem]:
        most_mb = BASE_MB + COPIES * self.limits.file_bytes // MB
        words = [kind, str(path), json.dumps(asdict(self.limits)), str(most_mb), str(self.seconds)]
        command = [sys.executable, "-m", "stream.sources.apart", *words]
        tally = Tally(self.limits.within(path.stat().st_size))
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=dict(self.environment),
            cwd=Path(__file__).resolve().parents[2],
        ) as child:
            assert child.stdout is not None
            try:
                if (yield from _items(child.stdout, tally)):
                    return
                # Whatever it still writes, nobody reads: it ends of that, if of nothing else.
                child.stdout.close()
                died = child.wait()
            finally:
                child.kill()
        if died == TRACEBACK:
            raise RuntimeError(f"the reader of {kind}s failed: what it wrote on stderr says why")
        raise InvalidContent.of(kind, "it takes more memory or time to unpack than is allowed")


def _items(out: IO[bytes], tally: Tally) -> Generator[SourceItem, None, bool]:
    """What a child says, which is believed no further than its limits go; whether it came to its end."""
    while (line := out.readline(LINE_BYTES)).endswith(b"\n"):
        told = json.loads(line)
        if "end" in told:
            _raise(told["end"])
            return True
        tally.count(told["name"], told["size"])
        data = out.read(told["size"])
        if len(data) < told["size"]:
            return False
        yield SourceItem(told["name"], told["label"], told["split"], data)
    return False


def _raise(end: dict[str, Any] | None) -> None:
    if end is None:
        return
    errors = [FieldError(**error) for error in end["errors"]]
    if end["kind"] == "size":
        raise TooLarge(end["message"], errors)
    raise InvalidContent(errors)


def main() -> None:
    """Read one source and tell of it."""
    kind, path, limits, most_mb, seconds = sys.argv[1:]
    # Arrow is brought in before memory is counted: what its libraries map is not what a table makes of it.
    if kind == "parquet":
        with suppress(ImportError):
            import pyarrow.parquet  # noqa: F401
    if sys.platform == "linux":
        most = int(most_mb) * MB + _mapped_bytes()
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    most_s = ceil(float(seconds) * MOST_ITEMS_S)
    resource.setrlimit(resource.RLIMIT_CPU, (most_s, most_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICER)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _tell(READERS[cast(Kind, kind)](Path(path), SourceLimits(**json.loads(limits))), float(seconds), sys.stdout.buffer)


def _tell(items: Iterator[SourceItem], seconds: float, out: BinaryIO) -> None:
    end: dict[str, Any] | None = None
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        for item in items:
            told = {"name": item.name, "label": item.label, "split": item.split, "size": len(item.data)}
            out.write(json.dumps(told).encode() + b"\n")
            out.write(item.data)
            signal.setitimer(signal.ITIMER_PROF, seconds)
    except TooLarge as error:
        end = _end("size", error)
    except InvalidContent as error:
        end = _end("content", error)
    except MemoryError:
        # There may be no room left to say so.
        os._exit(os.EX_UNAVAILABLE)
    out.write(json.dumps({"end": end}).encode() + b"\n")
    out.flush()


def _end(kind: str, error: InvalidContent | TooLarge) -> dict[str, Any]:
    errors = [{name: text[:MOST_CHARACTERS] for name, text in asdict(one).items()} for one in error.errors]
    return {"kind": kind, "message": str(error)[:MOST_CHARACTERS], "errors": errors}


def _mapped_bytes() -> int:
    """The address space of this process as it is now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
