"""How far a task is, told to the ledger often enough to be of use and seldom enough to cost nothing."""

import math
import time
from collections.abc import Sequence

from model.training.tuning import TuningProgress
from model.training.tuning_state import TuningState
from service.learner.workshop import Workshop
from stream.failpoints import reach
from stream.tasks import Epoch, Phase

REPORT_EVERY_S = 0.5
"""Also the longest that a cancelled task goes unnoticed, but for one micro-batch or step of alignment."""

SHARES: dict[Phase, tuple[float, float]] = {
    Phase.FEATURES: (0.0, 0.08),
    Phase.PROVISIONAL: (0.08, 0.12),
    Phase.TRAINING: (0.12, 0.82),
    Phase.STATISTICS: (0.82, 0.90),
    Phase.ALIGNMENT: (0.90, 0.93),
    Phase.EVALUATION: (0.93, 0.97),
    Phase.PUBLISHING: (0.97, 1.0),
}
"""Where each phase begins and ends in the progress of the whole task."""


class Reporter:
    """Says phase, progress and time left of one task; every call may raise to stop the work."""

    def __init__(self, workshop: Workshop, task_id: str) -> None:
        self._workshop = workshop
        self._task_id = task_id
        self._phase = Phase.FEATURES
        self._progress = 0.0
        self._next_s = 0.0

    def enter(self, phase: Phase, *, share_of: Phase | None = None) -> None:
        """A phase begins; `share_of` names another one in whose share of the whole it takes place.

        Raises:
            Interrupted, LeaseLost, TaskStopped: the work is to stop.
        """
        self._phase = phase
        self._begin, self._end = SHARES[share_of or phase]
        self._tell(0.0, None, None)
        reach("phase.entered")

    def at(
        self,
        fraction: float,
        eta_s: float | None = None,
        epochs: Sequence[Epoch] | None = None,
        *,
        at_once: bool = False,
    ) -> None:
        """So much of the phase is done, in 0–1; `eta_s` seconds are left of the task, where that can be told.

        Written down every half second, or `at_once`.

        Raises:
            Interrupted, LeaseLost, TaskStopped: the work is to stop.
        """
        self._workshop.check()
        if at_once or time.monotonic() >= self._next_s:
            self._tell(fraction, eta_s, epochs)

    def check(self) -> None:
        """Between the steps of work of which no part can be told: the phase goes on.

        Raises:
            Interrupted, LeaseLost, TaskStopped: the work is to stop.
        """
        self.at(0.0)

    def _tell(self, fraction: float, eta_s: float | None, epochs: Sequence[Epoch] | None) -> None:
        self._workshop.check()
        self._progress = max(self._progress, self._begin + (self._end - self._begin) * min(1.0, fraction))
        lease = self._workshop.heartbeat.lease
        self._workshop.ledger.report(lease, self._task_id, self._phase, self._progress, eta_s, epochs)
        self._next_s = time.monotonic() + REPORT_EVERY_S


class Diverged(Exception):
    """The loss is no number any more."""


class TrainingProgress:
    """Tells a reporter how stage 1 goes: the epochs so far, the one in progress as the last line, and the time left."""

    def __init__(self, report: Reporter, resumed: TuningState | None) -> None:
        self._report = report
        history = resumed.history if resumed else ()
        self._epochs = [Epoch(number, one.loss, one.accuracy) for number, one in enumerate(history, start=1)]
        self._first_step: int | None = None

    def __call__(self, progress: TuningProgress) -> None:
        reach("training.stepped")
        if not math.isfinite(progress.loss):
            raise Diverged(f"the loss is no number any more in epoch {progress.epoch + 1}; a lower rate may help")
        line = Epoch(progress.epoch + 1, progress.loss, progress.accuracy)
        self._epochs[progress.epoch :] = [line]
        if self._first_step is None:
            self._first_step = progress.step - 1
        left_s = progress.seconds / max(1, progress.step - self._first_step) * (progress.steps - progress.step)
        self._report.at(progress.step / progress.steps, left_s, self._epochs)

    def finish(self) -> None:
        """Say the last epoch's figures, which `at` may have thought too soon to tell."""
        self._report.at(1.0, None, self._epochs, at_once=True)
