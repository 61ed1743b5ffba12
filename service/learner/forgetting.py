"""One claimed task that forgets a class: a version without it, and, where a purge was asked for, none that knows it.

The version is made on the base's backbone from its statistics, and judged on what is held out of the remaining classes.
A run that is taken up again publishes nothing twice and purges to the end.
"""

import shutil

import numpy as np

from model.forgetting import CannotForget, without_class
from model.snapshot import Snapshot
from service.learner.bases import load_base
from service.learner.failures import Refusal
from service.learner.looking import Features, Looking
from service.learner.plan import LearnPlan, make_plan
from service.learner.publishing import Publisher
from service.learner.reporter import Reporter
from service.learner.workshop import Workshop
from stream.alone import alone_with_store
from stream.failpoints import reach
from stream.retention import clear_checkpoints, clear_unnamed
from stream.tasks import Phase, Task
from stream.versions import Version, VersionState

ALONE_WAIT_S = 0.5


class NotPurged(Refusal):
    """The version without the class does not serve, so that nothing was purged."""


class ForgetRun:
    """The forgetting of one class by this process."""

    def __init__(self, workshop: Workshop, task: Task) -> None:
        self._workshop, self._task = workshop, task
        self._ledger, self._blobs = workshop.ledger, workshop.blobs
        self._report = Reporter(workshop, task.id)
        (self._label,) = task.labels

    def run(self) -> None:
        """Publish the version, purge where that was asked for, finish the task.

        Raises:
            Interrupted, LeaseLost, TaskStopped: told to stop; the task goes on elsewhere or not at all.
            Exception: whatever made it fail.
        """
        self._report.enter(Phase.FEATURES)
        if self._has_to_be_made():
            self._publish()
        if self._task.purge:
            self._purge()
        self._ledger.finish(self._workshop.heartbeat.lease, self._task.id)
        reach("task.finished")

    def _made(self) -> Version | None:
        made = [self._ledger.version(number) for number in self._ledger.task(self._task.id).versions]
        return next((version for version in reversed(made) if version.state.servable), None)

    def _has_to_be_made(self) -> bool:
        """Not where it serves already, nor where a purge has begun or is of a class that only older versions know.

        A version that was held when its task was cancelled is published once more.
        """
        base = None if self._task.base is None else self._ledger.version(self._task.base)
        known = base is not None and self._label in base.labels
        if not known and not self._task.purge:
            raise CannotForget(f"version {self._task.base}, which is in force, does not know the class {self._label!r}")
        made = self._made()
        ready = made is not None and made.state == VersionState.READY
        return base is not None and known and base.state != VersionState.DELETED and not ready

    def _publish(self) -> None:
        base = load_base(self._ledger, self._blobs, self._workshop.settings, self._task.base)
        plan = self._frozen(base.content, base.snapshot)
        self._report.enter(Phase.ALIGNMENT)
        snapshot = without_class(base.snapshot, self._label, plan.making(self._report.check))
        looking = Looking(self._workshop, snapshot.spec, plan.device, plan.threads)
        nothing_ND: Features = np.zeros((0, snapshot.statistics.dimension), np.float32)
        Publisher(
            workshop=self._workshop,
            report=self._report,
            task=self._task,
            base=base,
            seed=plan.seed,
            trained=[],
            features_of=lambda images: looking.features(snapshot.backbone, images, self._report.at)[0],
            pictures_of=looking.pictures,
        ).publish(snapshot, nothing_ND, "final")

    def _frozen(self, base_content: str | None, base: Snapshot) -> LearnPlan:
        if self._task.frozen is not None:
            return LearnPlan.from_json(self._task.frozen)
        given = [f"without {self._label}"]
        plan = make_plan(self._workshop.settings, base_content, given, base.method, base.spec.name)
        self._ledger.freeze(self._workshop.heartbeat.lease, self._task.id, plan.to_json(), {})
        return plan

    def _purge(self) -> None:
        """The ledger lets go first and the bytes go afterwards; features of held-out images are only a cache.

        With the purged versions goes what was stored for one that never came to be, and every checkpoint that no task
        goes on from, as they may know the class too.
        """
        self._report.enter(Phase.PUBLISHING)
        made = self._made()
        if made is not None and made.state == VersionState.HELD:
            raise NotPurged(f"nothing was purged, as version {made.version} is held: {made.reason}")
        self._ledger.purge_class(self._workshop.heartbeat.lease, self._task.id)
        reach("sweep.marked")
        for key in self._ledger.purged_images(self._label):
            self._workshop.check()
            self._blobs.delete(key)
        clear_checkpoints(self._ledger, self._blobs, self._workshop.heartbeat.lease)
        self._clear_store()
        shutil.rmtree(self._workshop.cache / "features", ignore_errors=True)

    def _clear_store(self) -> None:
        """Once nobody else is at it: an import may be storing a version."""
        lease = self._workshop.heartbeat.lease
        while True:
            with alone_with_store(self._ledger, lease.owner, lease.host) as alone:
                if alone is not None:
                    clear_unnamed(self._ledger, self._blobs, lease, alone, check=self._workshop.check)
                    return
            self._workshop.check()
            self._workshop.stop.wait(ALONE_WAIT_S)
