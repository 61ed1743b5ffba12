"""Everything that may happen to tasks and versions, in any order, done to the real ledger and to the contract."""

from collections.abc import Callable

from hypothesis.stateful import invariant, precondition, rule

from stream.errors import LeaseLost
from stream.tasks import Phase
from stream.versions import SERVING
from tests.faults.invariants import every
from tests.faults.machine.contract import PlainMove
from tests.faults.machine.history import PLACES
from tests.faults.machine.learner_rules import LearnerRules


class Machine(LearnerRules):
    """What clients and the learner do, time, learners that were thought dead; and what holds whatever happened."""

    @rule()
    def days_pass(self) -> None:
        self.stage.clock.forward(days=2)

    @precondition(lambda self: self.zombies and self.lease is not None)
    @rule(place=PLACES)
    def zombie_writes(self, place: int) -> None:
        """A learner that was thought dead goes on, after another has its lease: nothing of it is written."""
        lease, task = self.zombies[place % len(self.zombies)]
        ledger, draft = self.stage.ledger, self.stage.stored(task, "final", "zombie")
        writes: list[Callable[[], object]] = [
            lambda: ledger.claim(lease),
            lambda: ledger.report(lease, task.id, Phase.TRAINING, 0.9, None),
            lambda: ledger.publish(lease, task.id, draft, wanted="serve"),
            lambda: ledger.finish(lease, task.id),
            lambda: ledger.hand_back(lease, task.id),
            lambda: ledger.purge_class(lease, task.id),
            lambda: ledger.sweep_versions(lease, 1),
        ]
        for write in writes:
            try:
                write()
            except LeaseLost:
                continue
            raise AssertionError("a learner without its lease has written")

    # What holds whatever happened.

    @invariant()
    def promotions_are_one_line(self) -> None:
        log = sorted(every(self.stage.ledger.promotions), key=lambda move: move.seq)
        assert [PlainMove(m.seq, m.alias, m.version, m.previous, m.task) for m in log] == self.plain.log
        assert self.stage.ledger.aliases() == self.plain.aliases()
        serving = self.stage.ledger.serving()
        expected = self.plain.last_move()
        if expected is None or expected.version is None:
            assert serving is None
        else:
            assert serving is not None and (serving.seq, serving.version) == (expected.seq, expected.version)

    @invariant()
    def tasks_are_where_the_contract_has_them(self) -> None:
        for task in every(self.stage.ledger.tasks):
            plain = self.plain.tasks[task.id]
            assert (task.state, task.base, task.claim_seq, task.attempts) == (
                plain.state,
                plain.base,
                plain.claim_seq,
                plain.attempts,
            )
            assert {item.label for item in self.stage.ledger.items(task.id) if item.purged} == plain.gone
            assert task.versions == tuple(one.number for one in self.plain.versions.values() if one.task == task.id)
        assert sum(task.state == "learning" for task in self.plain.tasks.values()) <= 1

    @invariant()
    def versions_are_what_the_contract_says(self) -> None:
        found = every(self.stage.ledger.versions)
        assert len(found) == len(self.plain.versions)
        for version in found:
            plain = self.plain.versions[version.version]
            assert (version.state, version.parent, version.task, version.kind) == (
                plain.state,
                plain.parent,
                plain.task,
                plain.kind,
            ), f"version {version.version}"
            assert set(version.labels) == self._labels(version.version)

    @invariant()
    def what_is_in_force_is_not_held(self) -> None:
        current = self.plain.points_at(SERVING)
        assert current is None or self.plain.versions[current].state in ("ready", "damaged")

    @invariant()
    def no_lineage_holds_a_task_twice(self) -> None:
        for version in self.plain.versions.values():
            seen = []
            number: int | None = version.number
            while number is not None:
                seen.append(self.plain.versions[number].task)
                number = self.plain.versions[number].parent
            assert len(seen) == len(set(seen))
