"""What Prometheus reads of the moment: what this worker serves, how learning goes, how full the disk is."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric

from service.predicting.presence import LEARNER_LEASE
from stream.errors import StreamError
from stream.ledger import Ledger


def gauge(name: str, words: str, value: float) -> Metric:
    """One number."""
    return GaugeMetricFamily(f"everclass_{name}", words, value=value)


def of_learning(ledger: Ledger) -> Iterator[Metric]:
    """The learner's sign of life, tasks and versions by state; nothing while the database does not answer."""
    try:
        learner, counts = ledger.lease(LEARNER_LEASE), ledger.counts()
    except StreamError:
        return
    yield gauge("learner_alive", "Whether a learner is at work", float(learner is not None and learner.alive))
    if learner is not None:
        yield gauge("learner_heartbeat_age_seconds", "Since the learner's last sign of life", learner.age_s)
    yield _by_state("tasks", "Tasks", counts.tasks.items())
    yield gauge(
        "oldest_queued_task_age_seconds", "Since the oldest queued task was created", counts.oldest_queued_age_s
    )
    yield _by_state("versions", "Versions", counts.versions.items())


def of_disk(folder: Path) -> Iterator[Metric]:
    """How much room is left where the folder lies; nothing where that cannot be told."""
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError:
        return
    yield gauge("data_disk_free_bytes", "Free on the disk of the data folder", float(free_bytes))


def _by_state(name: str, words: str, counts: Iterable[tuple[str, int]]) -> Metric:
    family = GaugeMetricFamily(f"everclass_{name}", words, labels=("state",))
    for state, count in counts:
        family.add_metric((state,), count)
    return family
