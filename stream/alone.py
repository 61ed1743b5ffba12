"""One at a time deletes what nothing names in the blob store, or stores there what nothing names yet."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from stream.errors import LeaseLost, StreamError
from stream.ledger import STORE, Lease, Ledger

TTL_S = 20.0
RENEW_EVERY_S = 4.0


@contextmanager
def alone_with_store(ledger: Ledger, owner: str, host: str) -> Iterator[Lease | None]:
    """The lease of whoever deletes parts and manifests that nothing names, or stores some beside the learner before a
    version names them; None where another has it. It is renewed while the block lasts.
    """
    lease = ledger.acquire_lease(STORE, owner, host, TTL_S)
    if lease is None:
        yield None
        return
    over = threading.Event()
    renewing = threading.Thread(target=_renew, args=(ledger, lease, over), name="store", daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        over.set()
        renewing.join()
        # Whoever waits for it waits until it has run out.
        with suppress(StreamError):
            ledger.release_lease(lease)


def _renew(ledger: Ledger, lease: Lease, over: threading.Event) -> None:
    while not over.wait(RENEW_EVERY_S):
        try:
            ledger.renew_lease(lease, {})
        except LeaseLost:
            return
        except StreamError:
            continue
