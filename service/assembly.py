"""The parts of a running service, put together once and taken apart in order."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from prometheus_client.core import Metric

from model.pixels.decoding import Decoder, needed_environment, open_decoder
from service.access.admin_file import read_admin_digest, warn_if_readable
from service.access.auditing import Auditor
from service.access.door import Access
from service.access.ring import KeyRing
from service.access.rounds import Rounds
from service.chores import Chores
from service.edge.edge import Traffic
from service.events import Followed
from service.gauges import gauge, of_disk, of_learning
from service.metrics import Metrics
from service.predicting.following import Follower
from service.predicting.loading import Loader
from service.predicting.predictor import Predictor
from service.predicting.presence import Presence, ServiceLease
from service.predicting.shelf import Shelf
from service.settings import Settings
from service.stores import open_blobs, open_ledger
from stream.blobs import Blobs
from stream.intake import Intake
from stream.ledger import Ledger
from stream.sources.apart import Apart

UNPACKERS = 8
"""Archives and tables that are taken apart at once."""

TAKERS = 64
"""Learn requests taken in side by side: they wait for the checkers in turn, and nothing else waits for them."""


@dataclass(frozen=True, eq=False)
class Assembly:
    """Everything that a route may need.

    `takers` are the threads in which batches are taken in, `writers` is the one in which large answers are written.
    """

    settings: Settings
    ledger: Ledger
    blobs: Blobs
    intake: Intake
    shelf: Shelf
    follower: Follower
    predictor: Predictor
    lease: ServiceLease
    presence: Presence
    chores: Chores
    access: Access
    rounds: Rounds
    decoder: Decoder
    unpacker: Apart
    metrics: Metrics
    traffic: Traffic = field(default_factory=Traffic)
    followed: Followed = field(default_factory=Followed)
    takers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(TAKERS, "take-in"))
    writers: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "write"))

    @classmethod
    def open(cls, settings: Settings, metrics: Metrics, traffic: Traffic) -> "Assembly":
        """Connect to the database and the blobs, take the service's lease, load what is in force, start the threads.

        Raises:
            StreamError: the database or the blobs cannot be used from here.
            WrongSettings: the file with the admin key cannot be used, or a place that the settings name.
        """
        admin_file = settings.keys.admin_file
        admin_digest = None if admin_file is None else read_admin_digest(admin_file)
        if admin_file is not None:
            warn_if_readable(admin_file)
        ledger = open_ledger(settings)
        blobs = open_blobs(settings)
        lease = ServiceLease(ledger, one_machine=blobs.one_machine)
        loader = Loader(ledger, blobs, settings.serve)
        shelf = Shelf(loader.load, settings.serve.max_loaded)
        follower = Follower(ledger, shelf, metrics, lease.mark_damaged)
        access = Access(KeyRing(ledger, admin_digest), Auditor(ledger), settings.keys)
        decoder = open_decoder(settings.serve.decoders, settings.limits.max_pixels, settings.limits.decode_s)
        assembly = cls(
            settings=settings,
            ledger=ledger,
            blobs=blobs,
            intake=Intake(ledger, blobs, settings.incoming, settings.limits.intake(), decoder=decoder),
            shelf=shelf,
            follower=follower,
            predictor=Predictor(settings, ledger, shelf, follower, metrics, decoder),
            lease=lease,
            presence=Presence(ledger, lease, shelf, follower, loader.outdated),
            chores=Chores(ledger, settings),
            access=access,
            rounds=Rounds(ledger, access.ring, access.auditor, settings.retention.audit_days),
            decoder=decoder,
            unpacker=Apart(settings.limits.source(), settings.limits.decode_s, needed_environment(), UNPACKERS),
            metrics=metrics,
            traffic=traffic,
        )
        metrics.watch(assembly.gauges)
        assembly.rounds.start()
        assembly.presence.start()
        assembly.chores.start()
        return assembly

    def close(self) -> None:
        """Stop the threads, close the versions, let go of the database. No request may be under way."""
        self.chores.close()
        self.rounds.close()
        self.takers.shutdown()
        self.writers.shutdown()
        self.predictor.close()
        self.presence.close()
        self.intake.close()
        self.decoder.close()
        self.shelf.close()
        self.ledger.close()

    def gauges(self) -> Iterator[Metric]:
        """Current values for the metrics; waits for the database."""
        current, failure = self.follower.current, self.follower.failure
        yield gauge("version_in_force", "The version served here, 0: none", current.serving.version if current else 0)
        yield gauge("behind", "Whether what is in force could not be loaded here", failure is not None)
        yield gauge("loaded_versions", "Versions in memory", len(self.shelf.digests))
        yield gauge("waiting_images", "Images that wait or are under way", self.predictor.waiting_images)
        yield gauge("requests_in_flight", "Requests under way", self.traffic.in_flight)
        yield from of_learning(self.ledger)
        yield from of_disk(self.settings.root)
