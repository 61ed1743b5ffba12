"""How much of requests may lie in memory at once, over all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.problems import busy


@dataclass
class Room:
    """Memory for bodies; one alone always fits, so that the limit of a single request stays what it says."""

    most_bytes: int
    held_bytes: int = 0

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """What one request holds, given back when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self.held_bytes -= share.held_bytes


@dataclass
class Share:
    """What one request holds."""

    room: Room
    held_bytes: int = 0

    def grow(self, by_bytes: int) -> None:
        """Hold more. Raises Problem 429 where all requests together would hold too much."""
        others = self.room.held_bytes > self.held_bytes
        if others and self.room.held_bytes + by_bytes > self.room.most_bytes:
            raise busy("the requests under way fill the memory that is set aside for them")
        self.room.held_bytes += by_bytes
        self.held_bytes += by_bytes
