"""What nobody asks for: open tasks are committed by their age or given up, and what failed requests left is cleared."""

import logging
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from service.settings import Settings
from stream.errors import Conflict, QuotaFull, StreamError
from stream.intake import clear_leftovers
from stream.ledger import Ledger
from stream.tasks import Task, TaskState

EVERY_S = 5.0
PAGE = 100
S_PER_HOUR = 3600.0

log = logging.getLogger(__name__)


class Chores:
    """A thread that looks every few seconds."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger = ledger
        self._commit_images = settings.learn.commit_images
        self._commit_minutes = settings.learn.commit_minutes
        self._open_hours = settings.limits.open_hours
        self._incoming = settings.incoming
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()

    def turn(self) -> None:
        """Commit open tasks that are large or old enough, cancel those that were left open too long, and clear up."""
        for task in self._open_tasks():
            if task.images and self._is_due(task):
                with suppress(QuotaFull, Conflict):
                    self._ledger.commit_task(task.id)
        self._ledger.expire_open_tasks(self._open_hours * S_PER_HOUR)
        self._ledger.return_request_keys()
        clear_leftovers(self._incoming)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.turn()
            except StreamError as error:
                log.warning("open tasks were not looked after: %s", error)
            except Exception:
                # A thread that ends would leave every open task open.
                log.exception("open tasks were not looked after")

    def _is_due(self, task: Task) -> bool:
        if self._commit_images is not None and task.images >= self._commit_images:
            return True
        minutes = self._commit_minutes
        return minutes is not None and task.created_at <= datetime.now(UTC) - timedelta(minutes=minutes)

    def _open_tasks(self) -> list[Task]:
        tasks: list[Task] = []
        cursor = None
        while True:
            page = self._ledger.tasks(cursor, PAGE, TaskState.OPEN)
            tasks += page.items
            if page.next is None:
                return tasks
            cursor = page.next
