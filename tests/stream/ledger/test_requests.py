"""The same request twice is one request."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from stream.errors import Conflict, InvalidContent, Unavailable
from stream.ledger import Ledger, Replay, Ticket
from stream.ledger.database import Database
from stream.tasks import NewTask, new_task_id
from tests.stream.conftest import Clock
from tests.stream.stories import drafts, learned, learner

OWNER = "service:a"
OPEN = Ticket("key-1", "admin", "POST /learn")
TICKET = replace(OPEN, fingerprint="what was sent")


@pytest.fixture(autouse=True)
def living_service(ledger: Ledger) -> None:
    ledger.acquire_lease(OWNER, "a", "here", 8.0)


def test_a_completed_request_is_answered_with_its_resource(ledger: Ledger) -> None:
    assert ledger.begin_request(OPEN, OWNER) is None
    new = NewTask(new_task_id(), "ann")
    ledger.add_batch(None, drafts("cat"), commit=True, new_task=new, ticket=TICKET)
    assert ledger.begin_request(OPEN, OWNER) == Replay("what was sent", "task", new.id)
    assert ledger.begin_request(replace(OPEN, key="key-2"), OWNER) is None
    assert ledger.begin_request(replace(OPEN, scope="bob"), OWNER) is None
    assert ledger.begin_request(replace(OPEN, route="POST /tasks"), OWNER) is None


@pytest.mark.parametrize("owner", ["service:a", "a"])
def test_a_request_in_flight_asks_to_come_back(ledger: Ledger, owner: str) -> None:
    ledger.begin_request(OPEN, owner)
    with pytest.raises(Conflict) as refused:
        ledger.begin_request(OPEN, "service:b")
    assert refused.value.retry_after_s == 1


def test_a_refused_request_uses_up_no_key(ledger: Ledger) -> None:
    ledger.begin_request(OPEN, OWNER)
    with pytest.raises(InvalidContent):
        ledger.add_batch(None, [], commit=True, new_task=NewTask(new_task_id(), "ann"), ticket=TICKET)
    ledger.abandon_request(TICKET)
    assert ledger.begin_request(OPEN, OWNER) is None


def test_abandoning_does_not_forget_what_was_completed(ledger: Ledger) -> None:
    ledger.begin_request(OPEN, OWNER)
    task = ledger.create_task(by="ann", ticket=TICKET)
    ledger.abandon_request(OPEN)
    assert ledger.begin_request(OPEN, OWNER) == Replay("what was sent", "task", task.id)


def test_a_request_of_a_dead_service_is_taken_over_and_completed_once(ledger: Ledger, clock: Clock) -> None:
    ledger.begin_request(OPEN, OWNER)
    clock.forward(seconds=60)
    ledger.acquire_lease("service:b", "b", "here", 8.0)
    assert ledger.begin_request(OPEN, "service:b") is None
    with pytest.raises(Conflict):
        ledger.begin_request(OPEN, OWNER)
    task = ledger.create_task(by="ann", ticket=TICKET)
    with pytest.raises(Conflict, match="elsewhere"):
        ledger.create_task(by="ann", ticket=TICKET)
    assert [known.id for known in ledger.tasks().items] == [task.id]


def test_a_ticket_needs_its_fingerprint(ledger: Ledger) -> None:
    ledger.begin_request(OPEN, OWNER)
    with pytest.raises(ValueError, match="fingerprint"):
        ledger.create_task(by="ann", ticket=OPEN)
    assert ledger.tasks().items == ()


def test_keys_are_kept_for_three_days(ledger: Ledger, clock: Clock) -> None:
    ledger.begin_request(OPEN, OWNER)
    ledger.create_task(by="ann", ticket=TICKET)
    clock.forward(hours=71)
    assert ledger.begin_request(OPEN, OWNER) is not None
    clock.forward(hours=2)
    assert ledger.begin_request(OPEN, OWNER) is None


def test_every_write_of_a_client_completes_its_request(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = ledger.create_task(by="ann")
    ledger.add_batch(task.id, drafts("cow"), commit=False)
    number = 0

    def completed(write: Any, **words: Any) -> tuple[str, str]:
        nonlocal number
        number += 1
        ticket = replace(TICKET, key=f"write-{number}")
        assert ledger.begin_request(ticket, OWNER) is None
        write(**words, ticket=ticket)
        replay = ledger.begin_request(ticket, OWNER)
        assert replay is not None
        return replay.resource_kind, replay.resource_id

    assert completed(ledger.commit_task, task_id=task.id) == ("task", task.id)
    assert completed(ledger.cancel, task_id=task.id, by="ann") == ("task", task.id)
    assert completed(ledger.retry, task_id=task.id) == ("task", task.id)
    ledger.cancel(task.id, by="ann")
    assert completed(ledger.purge_images, task_id=task.id) == ("task", task.id)
    assert completed(ledger.move_alias, name="canary", version=2, by="ann") == ("promotion", "3")
    assert completed(ledger.delete_version, number=1) == ("version", "1")


def test_a_key_that_could_not_be_given_back_is_given_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.ledger.database.BUSY_TIMEOUT_S", 0.1)
    ledger = Ledger.open(f"sqlite:///{tmp_path}/requests.db")
    ledger.acquire_lease(OWNER, "a", "here", 8.0)
    other = replace(OPEN, key="key-2")
    for ticket in (OPEN, other):
        ledger.begin_request(ticket, OWNER)
    with sqlite3.connect(tmp_path / "requests.db", isolation_level=None) as busy:
        busy.execute("BEGIN IMMEDIATE")
        ledger.abandon_request(OPEN)
        with pytest.raises(Unavailable):
            ledger.return_request_keys()
        busy.execute("ROLLBACK")
    busy.close()
    with pytest.raises(Conflict):
        ledger.begin_request(other, OWNER)
    ledger.return_request_keys()
    assert ledger.begin_request(OPEN, OWNER) is None
    with pytest.raises(Conflict):
        ledger.begin_request(OPEN, OWNER)
    ledger.close()


@pytest.mark.parametrize("committed", [True, False])
def test_a_key_whose_writing_down_was_not_answered_can_be_used_again(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """The database's answer to the commit is lost, or the commit is."""
    real = Database.write

    @contextlib.contextmanager
    def unanswered(self: Database) -> Iterator[Connection]:
        if committed:
            with real(self) as connection:
                yield connection
        else:
            with contextlib.suppress(ZeroDivisionError), real(self) as connection:
                yield connection
                raise ZeroDivisionError
        raise Unavailable("the connection is lost")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", unanswered)
        with pytest.raises(Unavailable):
            ledger.begin_request(OPEN, OWNER)
    assert ledger.begin_request(OPEN, OWNER) is None
    with pytest.raises(Conflict):
        ledger.begin_request(OPEN, OWNER)


def test_a_key_that_another_request_holds_by_now_is_not_given_back(
    ledger: Ledger, open_ledger: Callable[[], Ledger], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unanswered(self: Database) -> None:
        raise Unavailable("no connection")

    with monkeypatch.context() as patched:
        patched.setattr(Database, "write", unanswered)
        with pytest.raises(Unavailable):
            ledger.begin_request(OPEN, OWNER)
    clock.forward(seconds=1)
    other = open_ledger()
    assert other.begin_request(OPEN, OWNER) is None
    ledger.return_request_keys()
    with pytest.raises(Conflict):
        other.begin_request(OPEN, OWNER)
