"""What the service counts, in the text format that Prometheus reads.

Values are plain numbers of this process, handed over at scrape time: prometheus_client's own counters would turn into
files shared by processes as soon as BentoML names a folder for them.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

MEDIA_TYPE = CONTENT_TYPE_PLAIN_0_0_4
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
IMAGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)

Gauges = Callable[[], Iterable[Metric]]


class Histogram:
    """Counts of values below each bound, and their sum."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        place = next((place for place, bound in enumerate(self.bounds) if value <= bound), len(self.bounds))
        self.counts[place] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, as Prometheus has them."""
        total = 0
        buckets = []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        return buckets


class Metrics:
    """Requests, predictions, batches and swaps of this process. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, str], int] = defaultdict(int)
        self._seconds: dict[str, Histogram] = defaultdict(lambda: Histogram(SECONDS))
        self._images: dict[str, int] = defaultdict(int)
        self._batches = Histogram(IMAGES)
        self._swaps: dict[str, int] = defaultdict(int)
        self._gauges: Gauges = tuple
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request to `route` was answered with `status`."""
        with self._lock:
            self._requests[method, route, str(status)] += 1
            self._seconds[route].add(seconds)

    def predicted(self, version: int, images: int) -> None:
        """`images` of a batch were predicted by `version`."""
        with self._lock:
            self._images[str(version)] += images

    def batched(self, images: int) -> None:
        """A batch of so many images went through the runtime."""
        with self._lock:
            self._batches.add(images)

    def swapped(self, outcome: str) -> None:
        """The version in force changed here (`done`), or could not (`failed`)."""
        with self._lock:
            self._swaps[outcome] += 1

    def watch(self, gauges: Gauges) -> None:
        """Ask `gauges` for what stands at the moment, at each scrape."""
        self._gauges = gauges

    def text(self) -> bytes:
        """Everything, as Prometheus reads it; waits for what is watched."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """The metric families; called by the registry."""
        with self._lock:
            families = list(self._families())
        yield from families
        yield from self._gauges()

    def _families(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("everclass_requests", "Requests answered", labels=("method", "route", "status"))
        for labels, count in self._requests.items():
            requests.add_metric(labels, count)
        yield requests
        seconds = HistogramMetricFamily("everclass_request_seconds", "Time to answer", labels=("route",))
        for route, histogram in self._seconds.items():
            seconds.add_metric((route,), histogram.buckets(), histogram.sum)
        yield seconds
        yield _by_label("everclass_predicted_images", "Images predicted", "version", self._images)
        yield _by_label("everclass_swaps", "Changes of the version in force", "outcome", self._swaps)
        batches = HistogramMetricFamily("everclass_batch_images", "Images in a batch of the runtime")
        batches.add_metric((), self._batches.buckets(), self._batches.sum)
        yield batches


def _by_label(name: str, words: str, label: str, counts: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, words, labels=(label,))
    for value, count in counts.items():
        family.add_metric((value,), count)
    return family
