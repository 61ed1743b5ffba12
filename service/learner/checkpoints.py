"""Where stage 1 of a task stands, kept so that another learner can go on from there."""

import hashlib
import logging

from model.training.tuning_state import TuningState
from service.learner.workshop import Workshop
from stream.errors import DamagedBlob, NotFound
from stream.failpoints import reach

log = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints of one task; the newest replaces the one before it."""

    def __init__(self, workshop: Workshop, task_id: str) -> None:
        self._ledger, self._blobs = workshop.ledger, workshop.blobs
        self._lease = workshop.heartbeat.lease
        self._task_id = task_id

    def last(self) -> TuningState | None:
        """The state to go on from; None where the task has to start, for want of a checkpoint that is whole."""
        saved = self._ledger.checkpoint(self._task_id)
        if saved is None:
            return None
        try:
            return TuningState.from_bytes(self._blobs.get(saved.key))
        except (NotFound, DamagedBlob) as error:
            log.warning("task %s starts again: %s", self._task_id, error)
            return None

    def save(self, state: TuningState) -> None:
        """Make the state durable, name it in the ledger, drop the one before.

        Raises:
            StorageFull: no room; the earlier checkpoint stands.
            LeaseLost, TaskStopped: the task is no longer this learner's.
        """
        data = state.to_bytes()
        key = f"checkpoints/{self._task_id}/{hashlib.sha256(data).hexdigest()}"
        self._blobs.put_bytes(key, data)
        reach("checkpoint.stored")
        info = {"epoch": state.epoch, "step": state.step, "epochs": state.epochs}
        before = self._ledger.save_checkpoint(self._lease, self._task_id, key, info)
        reach("checkpoint.named")
        if before is not None:
            self._blobs.delete(before)
