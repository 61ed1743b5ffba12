"""Versions are numbered, take over where they may, and are held where they may not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from stream.errors import Conflict, NotFound
from stream.ledger import Lease, Ledger
from stream.tasks import Task
from stream.versions import FILES_DAMAGED, TaskAccuracy, VersionState
from tests.stream.conftest import Clock
from tests.stream.stories import claimed, draft, in_force, learned, learner, publish, queued


def test_a_published_version_is_what_the_learner_said(ledger: Ledger, clock: Clock) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    version, promotion = publish(ledger, lease, task, "provisional")
    said = draft("provisional", "cat", "dog", tag=task.id)
    assert version == ledger.version(1)
    assert (version.version, version.parent, version.task, version.kind) == (1, None, task.id, "provisional")
    assert (version.digest, version.parts, version.classes) == (said.digest, said.parts, said.classes)
    assert (version.state, version.labels, version.created_at) == (VersionState.READY, ("cat", "dog"), clock.time)
    assert promotion == ledger.promotion(1)
    serving = ledger.serving()
    assert serving is not None
    assert (serving.seq, serving.version, serving.digest) == (1, 1, said.digest)


def test_provisional_and_final_have_the_tasks_base_as_parent(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    second = learned(ledger, lease, "cow")
    assert second.versions == (3, 4)
    assert [ledger.version(number).parent for number in (1, 2, 3, 4)] == [None, None, 2, 2]
    assert in_force(ledger) == 4


def test_a_promotion_says_which_labels_are_lost_and_won(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease, "cat", "dog")
    task = claimed(ledger, lease, "cow")
    _, promotion = publish(ledger, lease, task, "final", ["dog", "cow"])
    assert promotion is not None
    assert (promotion.lost, promotion.won) == (("cat",), ("cow",))
    assert (promotion.previous, promotion.task, promotion.by) == (2, task.id, "learner")


@pytest.mark.parametrize(("wanted", "state"), [("hold", VersionState.HELD), ("damaged", VersionState.DAMAGED)])
def test_a_version_that_is_not_wanted_in_force_moves_nothing(ledger: Ledger, wanted: Any, state: VersionState) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    said = draft("final", "cat", reason="refused by the gate")
    version, promotion = ledger.publish(lease, task.id, said, wanted=wanted)
    assert (version.state, version.reason, promotion) == (state, "refused by the gate", None)
    assert ledger.serving() is None


def move_by_hand(ledger: Ledger, lease: Lease, task: Task) -> None:
    ledger.move_alias("serving", 1, by="ann")


def move_there_and_back(ledger: Ledger, lease: Lease, task: Task) -> None:
    ledger.move_alias("serving", 1, by="ann")
    ledger.move_alias("serving", 2, by="ann")


def move_to_where_it_is(ledger: Ledger, lease: Lease, task: Task) -> None:
    ledger.move_alias("serving", 2, by="ann")


@pytest.mark.parametrize("move", [move_by_hand, move_there_and_back, move_to_where_it_is])
def test_after_anyone_elses_move_a_tasks_versions_are_held(
    ledger: Ledger, move: Callable[[Ledger, Lease, Task], None]
) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = claimed(ledger, lease, "cow")
    move(ledger, lease, task)
    before = ledger.serving()
    for kind in ("provisional", "final"):
        version, promotion = publish(ledger, lease, task, kind)
        assert (version.state, promotion) == (VersionState.HELD, None)
        assert "moved serving" in str(version.reason)
    assert ledger.serving() == before


def test_a_move_between_provisional_and_final_holds_the_final(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = claimed(ledger, lease, "cow")
    publish(ledger, lease, task, "provisional")
    ledger.move_alias("serving", 2, by="ann")
    version, promotion = publish(ledger, lease, task, "final")
    assert (version.state, promotion, in_force(ledger)) == (VersionState.HELD, None, 2)


def test_moves_of_other_aliases_do_not_count(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = claimed(ledger, lease, "cow")
    ledger.move_alias("canary", 1, by="ann")
    _, promotion = publish(ledger, lease, task, "final")
    assert promotion is not None


def test_moves_before_the_claim_do_not_count(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    waiting = queued(ledger, "cow")
    ledger.move_alias("serving", 1, by="ann")
    task = ledger.claim(lease)
    assert task is not None
    assert (task.id, task.base) == (waiting.id, 1)
    _, promotion = publish(ledger, lease, task, "final")
    assert promotion is not None


@pytest.mark.parametrize("base", [1, "none"])
def test_a_branch_makes_only_held_versions(ledger: Ledger, base: Any) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    task = claimed(ledger, lease, "cow", base=base)
    version, promotion = publish(ledger, lease, task, "final")
    assert (version.state, promotion, in_force(ledger)) == (VersionState.HELD, None, 2)
    assert "was not in force" in str(version.reason)


def test_a_requested_base_that_is_in_force_takes_over(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    _, promotion = publish(ledger, lease, claimed(ledger, lease, "cow", base=2), "final")
    assert promotion is not None


def test_a_task_that_asked_for_promotion_by_hand_is_held(ledger: Ledger) -> None:
    lease = learner(ledger)
    version, promotion = publish(ledger, lease, claimed(ledger, lease, promote="manual"), "final")
    assert (version.state, promotion) == (VersionState.HELD, None)


def test_the_same_bytes_published_twice_are_one_version(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    first, _ = publish(ledger, lease, task, "provisional")
    again, promotion = publish(ledger, lease, task, "provisional")
    assert (again, promotion) == (first, None)
    assert ledger.task(task.id).versions == (1,)


@pytest.mark.parametrize("wanted", ["serve", "hold"])
def test_what_a_person_has_put_in_force_is_not_held_when_it_is_published_again(ledger: Ledger, wanted: Any) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    version, _ = publish(ledger, lease, task, "provisional")
    ledger.move_alias("serving", version.version, by="ann")
    again, promotion = publish(ledger, lease, task, "provisional", wanted=wanted)
    assert (again.version, again.state, again.reason, promotion) == (version.version, VersionState.READY, None, None)
    assert in_force(ledger) == version.version


def test_publishing_the_bytes_again_heals_a_damaged_version(ledger: Ledger) -> None:
    lease = learner(ledger)
    task = claimed(ledger, lease)
    publish(ledger, lease, task, "provisional", wanted="damaged")
    version, promotion = publish(ledger, lease, task, "provisional")
    assert (version.version, version.state) == (1, VersionState.READY)
    assert promotion is not None


def test_damage_is_noted_and_moves_nothing(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    damaged = ledger.mark_damaged(2, "the head is not what the manifest says")
    assert (damaged.state, damaged.reason) == (
        VersionState.DAMAGED,
        FILES_DAMAGED + "the head is not what the manifest says",
    )
    assert ledger.mark_damaged(2, "again") == damaged
    assert in_force(ledger) == 2
    ledger.mark_damaged(1, "too", lease=lease)
    with pytest.raises(NotFound):
        ledger.mark_damaged(9, "why")


def test_a_version_whose_files_are_whole_again_may_be_promoted(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    for number in (1, 2):
        ledger.mark_damaged(number, "a bit")
    assert ledger.heal(2).state == VersionState.READY
    healed = ledger.heal(1)
    assert (healed.state, healed.reason) == (VersionState.HELD, "its files are whole again")
    assert ledger.heal(1) == healed
    assert in_force(ledger) == 2


def test_a_version_that_answered_otherwise_is_not_healed_by_whole_files(ledger: Ledger) -> None:
    lease = learner(ledger)
    publish(ledger, lease, claimed(ledger, lease), "provisional", wanted="damaged")
    assert ledger.heal(1).state == VersionState.DAMAGED


def test_a_deleted_version_is_not_called_damaged(ledger: Ledger) -> None:
    lease = learner(ledger)
    learned(ledger, lease)
    ledger.delete_version(1)
    with pytest.raises(Conflict, match="deleted"):
        ledger.mark_damaged(1, "why")


def test_a_lineage_leads_from_the_root_to_the_version(ledger: Ledger) -> None:
    lease = learner(ledger)
    for label in ("cat", "dog", "cow"):
        learned(ledger, lease, label)
    assert [version.version for version in ledger.lineage(5)] == [2, 4, 5]
    with pytest.raises(NotFound):
        ledger.lineage(9)


def test_held_out_images_are_those_of_the_lineage(ledger: Ledger) -> None:
    lease = learner(ledger)
    made: list[Task] = []
    for labels in (("cat", "dog"), ("cow", "hen")):
        task = claimed(ledger, lease, *labels)
        ledger.freeze(lease, task.id, {}, {0: "train", 1: "held_out"})
        publish(ledger, lease, task, "final", labels)
        made.append(ledger.finish(lease, task.id))
    ledger.move_alias("serving", 1, by="ann")
    branch = claimed(ledger, lease, "pig")
    ledger.freeze(lease, branch.id, {}, {0: "held_out"})
    publish(ledger, lease, branch, "final", ["cat", "dog", "pig"])
    assert [(task, item.label) for task, item in ledger.held_out(2)] == [(made[0].id, "dog"), (made[1].id, "hen")]
    assert [(task, item.label) for task, item in ledger.held_out(3)] == [(made[0].id, "dog"), (branch.id, "pig")]
    with pytest.raises(NotFound):
        ledger.held_out(9)


def test_graphs_and_choices_are_remembered(ledger: Ledger) -> None:
    lease = learner(ledger)
    assert ledger.graph("key") is None
    assert ledger.runtime_choice("key", "machine") is None
    for name in ("first", "second"):
        ledger.record_graph(lease, "key", name)
        ledger.record_runtime_choice(lease, "key", "machine", {"kind": name})
    assert ledger.graph("key") == "second"
    assert ledger.runtime_choice("key", "machine") == {"kind": "second"}
    assert ledger.runtime_choice("key", "another machine") is None
    assert "second" in ledger.references().parts


def test_a_page_ends_early_where_its_versions_have_very_many_classes_or_tasks(ledger: Ledger) -> None:
    """Both weigh on the wire: a line for each."""
    alone = ledger.acquire_lease("store", "import", "here", 60)
    assert alone is not None
    accuracies = tuple(TaskAccuracy(f"{number:032x}", 0.5, 10) for number in range(20_000))
    many = [draft("final", *(f"class {number}" for number in range(20_000))), draft("final", "cat")]
    many[1] = replace(many[1], accuracy_per_task=accuracies)
    for number in range(5):
        ledger.add_root(many[number % 2], alone)
    pages, cursor = [], None
    while not pages or cursor is not None:
        page = ledger.versions(cursor)
        cursor = page.next
        pages.append([version.version for version in page.items])
    assert pages == [[5, 4], [3, 2], [1]]
    assert [version.version for version in ledger.versions(limit=1).items] == [5]
