"""Where stage 1 of a task stands, kept so that another learner can go on from there."""

import hashlib

from model.tuning_state import TuningState
from service.learner.workshop import Workshop
from stream.failpoints import reach


class Checkpoints:
    """The checkpoints of one task; the newest replaces the one before it."""

    def __init__(self, workshop: Workshop, task_id: str) -> None:
        self._ledger, self._blobs = workshop.ledger, workshop.blobs
        self._lease = workshop.heartbeat.lease
        self._task_id = task_id

    def last(self) -> TuningState | None:
        """The state to go on from, None where the task has to start.

        Raises:
            NotFound, DamagedBlob: the checkpoint that the ledger names is not there, or not what was written.
        """
        saved = self._ledger.checkpoint(self._task_id)
        return None if saved is None else TuningState.from_bytes(self._blobs.get(saved.key))

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
