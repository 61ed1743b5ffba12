"""What there is, by state."""

from stream.ledger import Ledger
from tests.stream.conftest import Clock
from tests.stream.stories import claimed, learned, learner, queued


def test_tasks_and_versions_are_counted_by_state_and_every_state_is_there(ledger: Ledger) -> None:
    nothing = ledger.counts()
    assert set(nothing.tasks.values()) == set(nothing.versions.values()) == {0}
    lease = learner(ledger)
    learned(ledger, lease)
    ledger.fail(lease, claimed(ledger, lease).id, "it went wrong")
    ledger.create_task(by="ann")
    queued(ledger)
    found = ledger.counts()
    assert found.tasks == {"open": 1, "queued": 1, "learning": 0, "done": 1, "failed": 1, "cancelled": 0}
    assert found.versions == ledger.versions_by_state() == {"ready": 2, "held": 0, "damaged": 0, "deleted": 0}


def test_the_age_of_the_oldest_task_that_waits_counts_from_its_creation(ledger: Ledger, clock: Clock) -> None:
    lease = learner(ledger)
    ledger.create_task(by="ann")
    clock.forward(seconds=5)
    assert ledger.counts().oldest_queued_age_s == 0
    first = queued(ledger)
    clock.forward(seconds=60)
    queued(ledger)
    clock.forward(seconds=30)
    assert ledger.counts().oldest_queued_age_s == 90
    lease = learner(ledger)
    assert ledger.claim(lease).id == first.id
    assert ledger.counts().oldest_queued_age_s == 30
    clock.time = first.created_at
    assert ledger.counts().oldest_queued_age_s == 0
