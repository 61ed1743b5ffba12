"""One learner: leases with fencing tokens."""

import contextlib

import pytest

from stream.errors import Conflict, LeaseLost
from stream.ledger import STORE, Ledger
from tests.stream.conftest import Clock
from tests.stream.stories import learner


def test_a_second_learner_waits_until_the_first_is_silent(ledger: Ledger, clock: Clock) -> None:
    first = learner(ledger)
    assert ledger.acquire_lease("learner", "learner-2", "here", 8.0) is None
    clock.forward(seconds=7)
    ledger.renew_lease(first, {"task": "abc"})
    clock.forward(seconds=7)
    assert ledger.acquire_lease("learner", "learner-2", "here", 8.0) is None
    clock.forward(seconds=2)
    second = ledger.acquire_lease("learner", "learner-2", "here", 8.0)
    assert second is not None
    assert second.token > first.token
    with pytest.raises(LeaseLost, match="learner"):
        ledger.renew_lease(first, {})


def test_a_clock_that_is_put_back_keeps_nobody_waiting(ledger: Ledger, clock: Clock) -> None:
    """A learner died, and the machine came up with another time: its lease seems to be from days to come."""
    first = learner(ledger)
    clock.forward(hours=-1)
    assert ledger.acquire_lease("learner", "learner-2", "here", 8.0) is not None
    with pytest.raises(LeaseLost):
        ledger.renew_lease(first, {})


def test_a_lease_from_a_host_whose_clock_is_ahead_is_its_holders(ledger: Ledger, clock: Clock) -> None:
    ledger.acquire_lease("learner", "learner-1", "there", 8.0)
    clock.forward(minutes=-5)
    with contextlib.suppress(Conflict):
        assert ledger.acquire_lease("learner", "learner-2", "here", 8.0) is None


def test_who_has_the_store_to_himself_is_no_sign_of_a_host_at_work(ledger: Ledger) -> None:
    """Killed at it, and come back under another name, a server on one machine's files may start at once."""
    assert ledger.acquire_lease(STORE, "learner-1", "container-a", 20.0) is not None
    assert ledger.acquire_lease("learner", "learner-2", "container-b", 8.0, one_machine=True) is not None


def test_a_lease_that_nobody_took_can_still_be_renewed(ledger: Ledger, clock: Clock) -> None:
    lease = learner(ledger)
    clock.forward(hours=1)
    ledger.renew_lease(lease, {})
    view = ledger.lease("learner")
    assert view is not None
    assert view.alive


def test_a_released_lease_is_free_at_once(ledger: Ledger) -> None:
    first = learner(ledger)
    ledger.release_lease(first)
    view = ledger.lease("learner")
    assert view is not None
    assert not view.alive
    with pytest.raises(LeaseLost):
        ledger.renew_lease(first, {})
    second = learner(ledger, "learner-2")
    ledger.release_lease(first)
    ledger.renew_lease(second, {})


def test_an_owner_that_comes_back_gets_a_new_token(ledger: Ledger) -> None:
    assert learner(ledger).token < learner(ledger).token


def test_anyone_sees_who_holds_a_lease_and_what_it_is_at(ledger: Ledger, clock: Clock) -> None:
    assert ledger.lease("learner") is None
    lease = learner(ledger)
    ledger.renew_lease(lease, {"task": "abc"})
    clock.forward(seconds=3)
    view = ledger.lease("learner")
    assert view is not None
    assert (view.owner, view.host, view.token, view.info) == ("learner-1", "here", lease.token, {"task": "abc"})
    assert (view.alive, view.age_s) == (True, 3.0)
    clock.forward(seconds=6)
    assert not ledger.leases("learner")[0].alive


def test_leases_of_many_instances_are_listed_and_forgotten_a_day_after_they_ended(ledger: Ledger, clock: Clock) -> None:
    for name in ("service:a", "service:b", "learner"):
        ledger.acquire_lease(name, "someone", "here", 8.0)
    assert [view.name for view in ledger.leases("service:")] == ["service:a", "service:b"]
    assert ledger.leases("service_") == []
    clock.forward(days=2)
    ledger.acquire_lease("service:c", "someone", "here", 8.0)
    assert [view.name for view in ledger.leases("")] == ["learner", "service:c"]


def test_another_host_is_refused_where_the_database_serves_one_machine(ledger: Ledger, clock: Clock) -> None:
    ledger.acquire_lease("service:a", "someone", "here", 8.0)
    if not ledger.is_sqlite:
        assert ledger.acquire_lease("learner", "learner-1", "there", 8.0) is not None
        return
    with pytest.raises(Conflict, match=r"PostgreSQL.*S3"):
        ledger.acquire_lease("learner", "learner-1", "there", 8.0)
    clock.forward(seconds=10)
    assert ledger.acquire_lease("learner", "learner-1", "there", 8.0) is not None


def test_another_host_is_refused_where_the_blobs_serve_one_machine(ledger: Ledger) -> None:
    ledger.acquire_lease("service:a", "someone", "here", 8.0)
    with pytest.raises(Conflict, match="one machine"):
        ledger.acquire_lease("learner", "learner-1", "there", 8.0, one_machine=True)
    assert ledger.acquire_lease("learner", "learner-1", "here", 8.0, one_machine=True) is not None
