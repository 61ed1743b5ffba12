"""The way of a predict request: take a version for as long as it lasts, decode in a pool of threads, batch, answer."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from model.pixels.decoding import Decoder
from model.pixels.images import ImageError, ImageTooLarge, UnsupportedImage
from model.served import Prediction
from service.intake.room import Room
from service.metrics import Metrics
from service.predicting.absence import why_none
from service.predicting.batching import Batcher, Pixels
from service.predicting.following import Follower, check_servable
from service.predicting.loading import LoadedVersion
from service.predicting.shelf import Shelf
from service.problems import Problem, busy, unavailable
from service.setting_groups import BYTES_PER_MB
from service.settings import Settings
from stream.errors import FieldError, NotFound, in_words
from stream.ledger import Ledger
from stream.turns import Turns
from stream.versions import Version

P = ParamSpec("P")
R = TypeVar("R")

NO_VERSION_YET_S = 2.0
"""After so long a client may ask again where no version is in force, or it does not answer."""


@dataclass(frozen=True)
class Wanted:
    """Which version a request asks for; neither: the one in force."""

    version: int | None = None
    alias: str | None = None


@dataclass(frozen=True)
class Target:
    """A version taken for one request; `seq` is the promotion that put in force what this worker serves."""

    version: int
    seq: int
    loaded: LoadedVersion


@dataclass(frozen=True)
class BadImage:
    """An image that cannot be predicted, by its place in the request."""

    index: int
    error: ImageError


@dataclass(frozen=True)
class Started:
    """A request that has its version, and its first image decoded."""

    target: Target
    decoded: Pixels | BadImage


@dataclass(frozen=True)
class Answered:
    """Predictions in the order of the images, and who made them."""

    version: int
    seq: int
    kind: str
    predictions: Sequence[Prediction]


class Predictor:
    """Answers predict requests; one for each process."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        shelf: Shelf,
        follower: Follower,
        metrics: Metrics,
        decoder: Decoder,
    ) -> None:
        self._decoder = decoder
        self._most_waiting = settings.serve.queue_images
        self._ledger = ledger
        self._shelf = shelf
        self._follower = follower
        self._metrics = metrics
        self._batcher = Batcher(settings.serve.max_batch, metrics)
        self._decoders = Turns(settings.serve.decode_threads, "decode")
        self._loaders = ThreadPoolExecutor(2, "load")
        self.room = Room(settings.limits.waiting_mb * BYTES_PER_MB)
        self.waiting_images = 0

    async def predict(self, images: Sequence[bytes], top_k: int, wanted: Wanted) -> Answered:
        """Predictions of at least one image.

        Raises:
            Problem: 429 where too much waits, 503 where no version is in force or it does not answer, 413, 415 or 422
            for bad images.
            NotFound, Conflict: the version or alias asked for is not there, damaged or deleted.
        """
        self.check_room(len(images))
        self.waiting_images += len(images)
        try:
            return await self._predict(images, top_k, wanted)
        finally:
            self.waiting_images -= len(images)

    def check_room(self, images: int = 1) -> None:
        """Problem 429 where so many more images would be too many."""
        if self.waiting_images and self.waiting_images + images > self._most_waiting:
            raise busy(f"{self.waiting_images} images are waiting already")

    def close(self) -> None:
        """Answer what waits and end the threads."""
        self._decoders.shutdown()
        self._loaders.shutdown()
        self._batcher.close()

    async def _predict(self, images: Sequence[bytes], top_k: int, wanted: Wanted) -> Answered:
        asker = object()
        started = await asyncio.wrap_future(self._decoders.submit(asker, self._start, wanted, images[0]))
        if started is None:
            started = await _in(self._loaders, self._load_and_start, wanted, images[0])
        target = started.target
        try:
            pixels = all_good([started.decoded, *await self._decode_rest(asker, images, target)])
            predictions = await asyncio.wrap_future(self._batcher.submit(target.loaded, pixels, top_k))
        finally:
            self._shelf.give_back(target.loaded)
        self._metrics.predicted(target.version, len(images))
        return Answered(target.version, target.seq, target.loaded.kind, predictions)

    async def _decode_rest(self, asker: object, images: Sequence[bytes], target: Target) -> list[Pixels | BadImage]:
        """Image by image, in turn with other requests."""
        pieces = [
            asyncio.wrap_future(self._decoders.submit(asker, self._decode, images[index], index, target))
            for index in range(1, len(images))
        ]
        return await asyncio.gather(*pieces)

    def _start(self, wanted: Wanted, image: bytes) -> Started | None:
        """Runs in a thread of the pool; None where the version has to be loaded first."""
        target = self._take(wanted)
        return None if target is None else self._started(target, image)

    def _load_and_start(self, wanted: Wanted, image: bytes) -> Started:
        return self._started(self._load(wanted), image)

    def _started(self, target: Target, image: bytes) -> Started:
        try:
            return Started(target, self._decode(image, 0, target))
        except BaseException:
            self._shelf.give_back(target.loaded)
            raise

    def _decode(self, image: bytes, index: int, target: Target) -> Pixels | BadImage:
        try:
            return self._decoder.view(image, target.loaded.model.spec)
        except ImageError as error:
            return BadImage(index, error)

    def _take(self, wanted: Wanted) -> Target | None:
        if wanted == Wanted():
            found = self._follower.take()
            return None if found is None else Target(found.serving.version, found.serving.seq, found.loaded)
        version = self._version(wanted)
        check_servable(version)
        loaded = self._shelf.take_if_loaded(version.digest)
        if loaded is not None and loaded.failures.too_many:
            self._shelf.give_back(loaded)
            return None
        return None if loaded is None else Target(version.version, self._seq(), loaded)

    def _load(self, wanted: Wanted) -> Target:
        if wanted != Wanted():
            version = self._version(wanted)
            if self._shelf.is_crowded:
                raise busy("as many versions as may be loaded are in use")
            return Target(version.version, self._seq(), self._follower.load(version))
        self._follower.follow()
        target = self._take(wanted)
        if target is None:
            raise unavailable(why_none(self._follower, self._ledger), NO_VERSION_YET_S)
        return target

    def _version(self, wanted: Wanted) -> Version:
        number = wanted.version
        if number is None:
            number = self._ledger.aliases().get(wanted.alias or "")
        if number is None:
            raise NotFound("alias", wanted.alias or "")
        return self._ledger.version(number)

    def _seq(self) -> int:
        current = self._follower.current
        return 0 if current is None else current.serving.seq


def all_good(decoded: Sequence[Pixels | BadImage]) -> list[Pixels]:
    """The pixels of every image; Problem naming every bad one: 415 or 413 where all are bad in that way, else 422."""
    bad = [one for one in decoded if isinstance(one, BadImage)]
    if not bad:
        return [one for one in decoded if not isinstance(one, BadImage)]
    errors = tuple(FieldError(f"images[{one.index}]", str(one.error)) for one in bad)
    if all(isinstance(one.error, UnsupportedImage) for one in bad):
        raise Problem(415, in_words(errors), errors)
    if all(isinstance(one.error, ImageTooLarge) for one in bad):
        raise Problem(413, in_words(errors), errors)
    raise Problem(422, in_words(errors), errors)


async def _in(pool: ThreadPoolExecutor, call: Callable[P, R], *args: P.args, **_: P.kwargs) -> R:
    return await asyncio.get_running_loop().run_in_executor(pool, call, *args)
