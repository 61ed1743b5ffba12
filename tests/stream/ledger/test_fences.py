"""The last guards: they hold even where a caller forgot to look first."""

from collections.abc import Iterator

import pytest
from sqlalchemy import select, update

from stream.errors import Conflict, LeaseLost
from stream.ledger import Ledger
from stream.ledger.database import Database
from stream.ledger.leases import fenced_insert, fenced_update
from stream.ledger.schema import graphs, tasks
from stream.ledger.task_rows import change_state, task_row
from stream.tasks import TaskState
from tests.stream.conftest import Clock
from tests.stream.stories import learner, queued

GRAPH = {"key": "k", "digest": "d"}


@pytest.fixture
def database(ledger: Ledger, database_url: str, clock: Clock) -> Iterator[Database]:
    database = Database(database_url, clock)
    yield database
    database.close()


def test_an_insert_behind_the_fence_needs_the_lease(ledger: Ledger, database: Database, clock: Clock) -> None:
    lost = learner(ledger)
    clock.forward(seconds=60)
    held = learner(ledger, "learner-2")
    row = {**GRAPH, "at": clock.time}
    with pytest.raises(LeaseLost), database.write() as connection:
        fenced_insert(connection, lost, graphs, row)
    assert ledger.graph("k") is None
    with database.write() as connection:
        fenced_insert(connection, held, graphs, row)
    assert ledger.graph("k") == "d"


def test_an_update_behind_the_fence_needs_the_lease(ledger: Ledger, database: Database, clock: Clock) -> None:
    task = queued(ledger)
    lost = learner(ledger)
    clock.forward(seconds=60)
    held = learner(ledger, "learner-2")
    statement = update(tasks).where(tasks.c.id == task.id).values(progress=0.5)
    with pytest.raises(LeaseLost), database.write() as connection:
        fenced_update(connection, lost, statement)
    assert ledger.task(task.id).progress == 0.0
    with database.write() as connection:
        assert fenced_update(connection, held, statement) == 1
        assert fenced_update(connection, held, update(tasks).where(tasks.c.id == "none").values(progress=1.0)) == 0
    assert ledger.task(task.id).progress == 0.5


@pytest.mark.parametrize("to", [TaskState.DONE, TaskState.OPEN, TaskState.QUEUED])
def test_no_task_skips_a_part_of_its_life(ledger: Ledger, database: Database, to: TaskState) -> None:
    task = queued(ledger)
    with pytest.raises(Conflict, match="cannot become"), database.write() as connection:
        change_state(connection, task_row(connection, task.id), to)
    with database.read() as connection:
        assert connection.execute(select(tasks.c.state)).scalar() == "queued"
