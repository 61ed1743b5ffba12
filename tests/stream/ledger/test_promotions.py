"""Aliases, the log of their moves, and the way back."""

import threading
from datetime import timedelta

import pytest

from stream.errors import Conflict, InvalidContent, NotFound
from stream.ledger import Ledger
from stream.versions import Expected, Promotion, Serving, VersionState
from tests.stream.conftest import Clock
from tests.stream.stories import claimed, in_force, learned, learner, publish, queued


def test_before_the_first_version_nothing_serves(ledger: Ledger, clock: Clock) -> None:
    assert ledger.serving() is None
    assert ledger.aliases() == {}
    assert ledger.classes_in_force() == ()
    assert ledger.promotions().items == ()
    assert ledger.promotion_at(clock.time) is None
    with pytest.raises(Conflict, match="no version is in force"):
        ledger.rollback_target()
    with pytest.raises(NotFound):
        ledger.promotion(1)


def test_a_person_points_an_alias_at_a_version(ledger: Ledger, clock: Clock) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    learned(ledger, lease, "dog")
    clock.forward(minutes=1)
    promotion = ledger.move_alias("serving", 2, by="ann", reason="the dogs are wrong")
    assert promotion == Promotion(5, "serving", 2, 4, clock.time, "ann", "the dogs are wrong", ("dog",), ("cat",))
    assert ledger.serving() == Serving(5, 2, ledger.version(2).digest)
    assert ledger.classes_in_force() == ledger.version(2).classes
    assert ledger.move_alias("canary", 4, by="ann").previous is None
    assert ledger.aliases() == {"canary": 4, "serving": 2}


def test_a_held_version_that_is_promoted_is_ready(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease, promote="manual")
    publish(ledger, lease, task, "final")
    ledger.move_alias("canary", 1, by="ann")
    assert ledger.version(1).state == VersionState.HELD
    ledger.move_alias("serving", 1, by="ann")
    assert (ledger.version(1).state, in_force(ledger)) == (VersionState.READY, 1)


def test_what_cannot_serve_is_not_promoted(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    learned(ledger, lease)
    ledger.mark_damaged(3, "a file is gone")
    ledger.delete_version(1)
    for number in (1, 3):
        with pytest.raises(Conflict, match=f"version {number}"):
            ledger.move_alias("serving", number, by="ann")
    with pytest.raises(NotFound):
        ledger.move_alias("serving", 9, by="ann")
    assert in_force(ledger) == 4


@pytest.mark.parametrize("name", ["", "Serving", "a" * 65, "1st", "a/b", "a b", "ä"])
def test_an_alias_has_a_plain_name(ledger: Ledger, name: str) -> None:
    learned(ledger, learner(ledger))
    for deed in (lambda: ledger.move_alias(name, 1, by="ann"), lambda: ledger.remove_alias(name, by="ann")):
        with pytest.raises(InvalidContent, match="an alias has") as refused:
            deed()
        assert [error.field for error in refused.value.errors] == ["name"]


def test_an_alias_that_is_removed_keeps_no_version_and_stands_in_the_log(ledger: Ledger, clock: Clock) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    learned(ledger, lease, "dog")
    ledger.move_alias("canary", 1, by="ann")
    with pytest.raises(Conflict, match="canary"):
        ledger.delete_version(1)
    with pytest.raises(Conflict, match="points at version 1"):
        ledger.remove_alias("canary", by="ann", expected=2)
    removed = ledger.remove_alias("canary", by="bob", reason="a typo", expected=1)
    assert removed == Promotion(6, "canary", None, 1, clock.time, "bob", "a typo", ("cat",), ())
    assert (ledger.promotions().items[0], ledger.aliases()) == (removed, {"serving": 4})
    assert ledger.delete_version(1).state == VersionState.DELETED
    with pytest.raises(NotFound, match="canary"):
        ledger.remove_alias("canary", by="bob")
    assert ledger.move_alias("canary", 2, by="ann").previous is None


def test_what_serves_is_moved_and_never_removed(ledger: Ledger) -> None:
    learned(ledger, learner(ledger))
    with pytest.raises(Conflict, match="not removed") as refused:
        ledger.remove_alias("serving", by="ann")
    assert (refused.value.field, in_force(ledger)) == ("name", 2)


def test_a_move_that_expects_something_else_in_force_is_refused(ledger: Ledger) -> None:
    learned(ledger, learner(ledger))
    for expected in (1, Expected(version=1), Expected(seq=1), Expected(version=2, seq=1)):
        with pytest.raises(Conflict, match="points at version 2 since promotion 2") as refused:
            ledger.move_alias("serving", 1, by="ann", expected=expected)
        assert refused.value.field == "expected"
    ledger.move_alias("serving", 1, by="ann", expected=Expected(version=2, seq=2))
    ledger.move_alias("serving", 2, by="ann", expected=1)
    ledger.move_alias("serving", 1, by="ann", expected=Expected())


def test_of_many_who_expect_the_same_one_moves(ledger: Ledger) -> None:
    learned(ledger, learner(ledger))
    outcomes: list[str] = []

    def move() -> None:
        try:
            ledger.move_alias("serving", 1, by="ann", expected=Expected(seq=2))
            outcomes.append("moved")
        except Conflict:
            outcomes.append("refused")

    threads = [threading.Thread(target=move) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["moved"] + ["refused"] * 7


def test_a_rollback_goes_to_the_parent_unless_something_is_named(ledger: Ledger) -> None:
    lease = learner(ledger)
    first, second = learned(ledger, lease, "cat"), learned(ledger, lease, "dog")
    assert ledger.rollback_target() == 2
    assert ledger.rollback_target(version=1) == 1
    assert ledger.rollback_target(task=second.id) == 2
    with pytest.raises(Conflict, match="not learned on from"):
        ledger.rollback_target(task=first.id)
    with pytest.raises(NotFound, match="version 9"):
        ledger.rollback_target(version=9)
    with pytest.raises(NotFound, match="nowhere"):
        ledger.rollback_target(task="nowhere")
    ledger.move_alias("serving", 2, by="ann")
    with pytest.raises(Conflict, match="root"):
        ledger.rollback_target()


def test_learning_goes_on_from_what_was_rolled_back_to(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat")
    learned(ledger, lease, "dog")
    ledger.move_alias("serving", ledger.rollback_target(), by="ann")
    task = learned(ledger, lease, "cow")
    assert (task.base, in_force(ledger)) == (2, 6)
    assert [version.version for version in ledger.lineage(6)] == [2, 6]


def test_the_log_answers_what_served_when(ledger: Ledger, clock: Clock) -> None:
    lease = learner(ledger)
    start = clock.time
    clock.forward(hours=1)
    learned(ledger, lease)
    clock.forward(hours=1)
    ledger.move_alias("canary", 2, by="ann")
    ledger.move_alias("serving", 1, by="ann")
    assert ledger.promotion_at(start) is None
    then = ledger.promotion_at(start + timedelta(hours=1, minutes=30))
    now = ledger.promotion_at(clock.time)
    assert then is not None
    assert now is not None
    assert (then.version, now.version) == (2, 1)


def test_the_log_comes_in_pages_of_one_alias_or_all(ledger: Ledger) -> None:
    learned(ledger, learner(ledger))
    ledger.move_alias("canary", 1, by="ann")
    newest = ledger.promotions(limit=2)
    oldest = ledger.promotions(newest.next, limit=2)
    assert [move.seq for page in (newest, oldest) for move in page.items] == [3, 2, 1]
    assert oldest.next is None
    assert [move.seq for move in ledger.promotions(alias="serving").items] == [2, 1]
    assert ledger.promotion(3).alias == "canary"


def test_versions_are_listed_newest_first(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    queued(ledger)
    page = ledger.versions(limit=1)
    assert [version.version for version in page.items] == [2]
    assert [version.version for version in ledger.versions(page.next).items] == [1]
