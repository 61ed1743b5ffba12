"""Images of many requests run through a runtime together; batches are counted in images, never in requests."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.served import Prediction
from service.metrics import Metrics
from service.predicting.loading import LoadedVersion

Pixels = NDArray[np.uint8]

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Work:
    """The images of one request, for one version; the future gets their predictions in order."""

    version: LoadedVersion
    pixels: Sequence[Pixels]
    top_k: int
    future: Future[list[Prediction]] = field(default_factory=Future)
    done: list[Prediction] = field(default_factory=list)
    taken: int = 0

    @property
    def left(self) -> int:
        """Images that no batch has taken yet."""
        return len(self.pixels) - self.taken


@dataclass(frozen=True)
class Share:
    """The part of a batch that belongs to one request."""

    work: Work
    start: int
    stop: int


class Batcher:
    """One thread that owns the runtimes: takes what waits, at most `max_batch` images of one version, and answers."""

    def __init__(self, max_batch: int, metrics: Metrics) -> None:
        self._max_batch = max_batch
        self._metrics = metrics
        self._waiting: deque[Work] = deque()
        self._change = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, version: LoadedVersion, pixels: Sequence[Pixels], top_k: int) -> Future[list[Prediction]]:
        """Predictions for the images (HWC uint8, each of the version's size), in order; at least one image."""
        work = Work(version, pixels, top_k)
        # A client that goes away must not turn the answer into an error in the batcher's thread.
        work.future.set_running_or_notify_cancel()
        with self._change:
            self._waiting.append(work)
            self._change.notify()
        return work.future

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        while shares := self._next():
            failures = shares[0].work.version.failures
            try:
                self._predict(shares)
                failures.in_a_row = 0
            except Exception as error:
                log.exception("a batch failed")
                failures.in_a_row += 1
                self._fail(shares, error)

    def _next(self) -> list[Share]:
        with self._change:
            while not self._waiting and not self._closing:
                self._change.wait()
            return take(self._waiting, self._max_batch)

    def _predict(self, shares: Sequence[Share]) -> None:
        version = shares[0].work.version
        pixels_BHWC = np.stack([pixels for share in shares for pixels in share.work.pixels[share.start : share.stop]])
        predictions = version.model.predict(pixels_BHWC, max(share.work.top_k for share in shares))
        self._metrics.batched(len(predictions))
        start = 0
        for share in shares:
            stop = start + share.stop - share.start
            answer(share.work, predictions[start:stop])
            start = stop

    def _fail(self, shares: Sequence[Share], error: Exception) -> None:
        with self._change:
            for share in shares:
                if share.work in self._waiting:
                    self._waiting.remove(share.work)
        for share in shares:
            share.work.future.set_exception(error)


def take(waiting: deque[Work], most: int) -> list[Share]:
    """The next batch: up to `most` images of the first request's version, in the order of arrival.

    Requests that are taken whole leave `waiting`; a longer one stays at its place with the rest.
    """
    shares: list[Share] = []
    later: list[Work] = []
    while waiting and most > 0:
        work = waiting.popleft()
        if shares and work.version is not shares[0].work.version:
            later.append(work)
            continue
        count = min(work.left, most)
        shares.append(Share(work, work.taken, work.taken + count))
        work.taken += count
        most -= count
        if work.left:
            later.append(work)
    waiting.extendleft(reversed(later))
    return shares


def answer(work: Work, predictions: Sequence[Prediction]) -> None:
    """Note the next predictions of a request; all there, its future has them."""
    work.done.extend(predictions)
    if len(work.done) == len(work.pixels):
        work.future.set_result(work.done)
