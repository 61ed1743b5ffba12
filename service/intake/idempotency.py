"""The same request twice is done once: the second is answered with what the first one made, as it is now."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fastapi import Request

from service.access.caller import caller_of
from service.problems import wrong
from stream.ledger import Ledger, Replay, Ticket

HEADER = "Idempotency-Key"


@dataclass(frozen=True)
class Attempt:
    """One try of a request: with the ticket that its write takes, or the answer to the first try."""

    ticket: Ticket | None = None
    replay: Replay | None = None

    def stamped(self, content: Any) -> "Ticket | None":
        """The ticket with the content's fingerprint, for the write to take."""
        return None if self.ticket is None else replace(self.ticket, fingerprint=fingerprint(content))

    def check_same(self, content: Any) -> None:
        """Problem 422 where the first try had other content."""
        if self.replay is not None and self.replay.fingerprint != fingerprint(content):
            raise wrong(HEADER, "this key was used for another content")


@contextmanager
def once(request: Request, ledger: Ledger, owner: str) -> Iterator[Attempt]:
    """Hold the request's key while it is worked on; given back unused where the block raises.

    Raises:
        InvalidContent: the key is no key.
        Problem: 422 where the request has several.
        Conflict: the first request with this key is still in flight.
    """
    keys = request.headers.getlist(HEADER)
    if not keys:
        yield Attempt()
        return
    if len(keys) > 1:
        raise wrong(HEADER, "a request has one key")
    ticket = Ticket(keys[0], caller_of(request.scope).id, f"{request.method} {request.scope['route'].path_format}")
    replay = ledger.begin_request(ticket, owner)
    if replay is not None:
        yield Attempt(replay=replay)
        return
    try:
        yield Attempt(ticket)
    finally:
        # Nothing happens to a key whose write completed it.
        ledger.abandon_request(ticket)


@asynccontextmanager
async def once_async(request: Request, ledger: Ledger, owner: str) -> AsyncIterator[Attempt]:
    """As `once`, without holding up the event loop."""
    held = once(request, ledger, owner)
    attempt = await asyncio.to_thread(held.__enter__)
    try:
        yield attempt
    except BaseException as error:
        await asyncio.to_thread(held.__exit__, type(error), error, error.__traceback__)
        raise
    await asyncio.to_thread(held.__exit__, None, None, None)


def fingerprint(content: Any) -> str:
    """A digest of what was asked for: equal content, equal digest."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
