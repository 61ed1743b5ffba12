"""Everything that may happen to tasks and versions, in any order, done to the real ledger and to the contract."""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stream.errors import Conflict, LeaseLost
from stream.ledger import Lease
from stream.tasks import Phase, Task
from stream.versions import SERVING, Expected
from tests.faults.invariants import every
from tests.faults.machine.contract import UNFINISHED, Contract, PlainMove, PlainTask, Refused
from tests.faults.machine.stage import POLICY, TTL_S, Stage

ALIASES = st.sampled_from([SERVING, SERVING, "stable"])
BASES = st.sampled_from([None, None, None, "none", "a version"])
PROMOTE = st.sampled_from([None, None, None, "manual"])
KINDS = st.sampled_from(["provisional", "final"])
WANTED = st.sampled_from(["serve", "serve", "serve", "hold", "damaged"])
CONTENTS = st.sampled_from(["first", "first", "second"])
PHASES = st.sampled_from([Phase.FEATURES, Phase.TRAINING])
PICTURES = st.lists(st.integers(0, 9), min_size=1, max_size=2, unique=True)
OFTEN = st.sampled_from([True, True, True, False])
PLACES = st.integers(0, 1000)


def some_task(machine: "Machine") -> bool:
    return bool(machine.plain.tasks)


def some_version(machine: "Machine") -> bool:
    return bool(machine.plain.versions)


def a_learner(machine: "Machine") -> bool:
    return machine.lease is not None


def no_learner(machine: "Machine") -> bool:
    return machine.lease is None


def at_work(machine: "Machine") -> bool:
    """A learner has a task, as far as it knows, and the task is still being learned."""
    return machine.lease is not None and machine.task is not None and machine.plain_task.state == "learning"


class Machine(RuleBasedStateMachine):
    """One server; `lease` and `task` are what its learner holds."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.plain = Contract()
        self.lease: Lease | None = None
        self.task: Task | None = None
        self.zombies: list[tuple[Lease, Task]] = []

    # What clients do.

    @rule(pictures=PICTURES, base=BASES, promote=PROMOTE, commit=OFTEN, place=PLACES)
    def learn(self, pictures: list[int], base: object, promote: object, commit: bool, place: int) -> None:
        if base == "a version":
            base = self._version(place) if self.plain.versions else None
        trial = PlainTask("trial", base, promote)  # type: ignore[arg-type]
        if self._refused(lambda: self.plain.create(trial)):
            self._refuses(lambda: self.stage.send(pictures, base=base, promote=promote, commit=commit))
            return
        del self.plain.tasks["trial"]
        sent = self.stage.send(pictures, base=base, promote=promote, commit=commit)  # type: ignore[arg-type]
        self.plain.create(PlainTask(sent.id, base, promote))  # type: ignore[arg-type]
        if commit:
            self.plain.commit(sent.id)

    @precondition(some_task)
    @rule(place=PLACES, digit=st.integers(0, 9))
    def append(self, place: int, digit: int) -> None:
        task = self._task(place)
        if self.plain.tasks[task].state == "open":
            self.stage.append(task, digit)
        else:
            self._refuses(lambda: self.stage.append(task, digit))

    @precondition(some_task)
    @rule(place=PLACES)
    def commit(self, place: int) -> None:
        task = self._task(place)
        self._both(lambda: self.plain.commit(task), lambda: self.stage.commit(task))

    @precondition(some_task)
    @rule(place=PLACES)
    def cancel(self, place: int) -> None:
        task, now = self._task(place), self.stage.clock()
        self._both(lambda: self.plain.cancel(task, now), lambda: self.stage.cancel(task))

    @precondition(at_work)
    @rule()
    def cancel_what_is_learned(self) -> None:
        assert self.task is not None
        self.plain.cancel(self.task.id, self.stage.clock())
        self.stage.cancel(self.task.id)

    @precondition(some_task)
    @rule(place=PLACES)
    def retry(self, place: int) -> None:
        task = self._task(place)
        self._both(lambda: self.plain.retry(task), lambda: self.stage.retry(task))

    @precondition(some_task)
    @rule(place=PLACES)
    def purge(self, place: int) -> None:
        task = self._task(place)
        self._both(lambda: self.plain.purge(task), lambda: self.stage.purge(task))

    @precondition(some_version)
    @rule(place=PLACES, alias=ALIASES)
    def promote(self, place: int, alias: str) -> None:
        version = self._version(place)
        self._both(
            lambda: self.plain.promote(alias, version),
            lambda: self.stage.promote(alias, version),
        )

    @precondition(some_version)
    @rule(place=PLACES, alias=ALIASES, behind=st.integers(0, 1))
    def promote_as_expected(self, place: int, alias: str, behind: int) -> None:
        version = self._version(place)
        moves = [move.seq for move in self.plain.log if move.alias == alias]
        expected = Expected(seq=abs((moves[-1] if moves else 0) - behind))

        def move() -> None:
            self.stage.promote(alias, version, expected)

        if behind:
            self._refuses(move)
        else:
            self._both(lambda: self.plain.promote(alias, version), move)

    @precondition(some_version)
    @rule(place=PLACES, way=st.sampled_from(["version", "task", "parent"]))
    def roll_back(self, place: int, way: str) -> None:
        version = self._version(place) if way == "version" else None
        task = self._task(place) if way == "task" else None

        def by_contract() -> None:
            self.plain.promote(SERVING, self.plain.rollback_target(version, task))

        self._both(by_contract, lambda: self.stage.roll_back(version=version, task=task))

    @precondition(some_version)
    @rule(place=PLACES)
    def delete(self, place: int) -> None:
        version = self._version(place)
        self._both(lambda: self.plain.delete(version), lambda: self.stage.delete(version))

    @precondition(some_version)
    @rule(place=PLACES)
    def find_damage(self, place: int) -> None:
        version = self._version(place)
        self._both(lambda: self.plain.damage(version), lambda: self.stage.ledger.mark_damaged(version, "bit rot"))

    # What the learner does.

    @precondition(no_learner)
    @rule()
    def start_learner(self) -> None:
        self.stage.clock.forward(seconds=TTL_S + 1)
        self.lease = self.stage.learner()

    @precondition(a_learner)
    @rule()
    def claim(self) -> None:
        assert self.lease is not None
        expected = self.plain.claim(self.lease.token, self.stage.clock())
        self.task = self.stage.ledger.claim(self.lease)
        assert (None if self.task is None else self.task.id) == expected
        if self.task is not None:
            self.stage.ledger.freeze(self.lease, self.task.id, {"seed": 1}, {})

    @precondition(at_work)
    @rule(phase=PHASES)
    def enter(self, phase: Phase) -> None:
        assert self.lease is not None and self.task is not None
        self.stage.ledger.report(self.lease, self.task.id, phase, 0.5, 1.0)
        self.plain_task.phase = phase
        self.stage.save_checkpoint(self.lease, self.task, phase)

    @precondition(at_work)
    @rule(content=CONTENTS)
    def store_and_die(self, content: str) -> None:
        """What a crash between storing a version and publishing it leaves."""
        assert self.task is not None
        self.stage.stored(self.task, "final", content)
        self.crash()

    @precondition(at_work)
    @rule(kind=KINDS, content=CONTENTS, wanted=WANTED)
    def publish(self, kind: str, content: str, wanted: str) -> None:
        assert self.lease is not None and self.task is not None
        draft = self.stage.stored(self.task, kind, content)  # type: ignore[arg-type]
        number = self.plain.publish(self.task.id, kind, content, wanted)  # type: ignore[arg-type]
        version, _ = self.stage.ledger.publish(self.lease, self.task.id, draft, wanted=wanted)  # type: ignore[arg-type]
        assert version.version == number

    @precondition(a_learner)
    @rule(place=PLACES, kind=KINDS, wanted=WANTED)
    def claim_and_publish(self, place: int, kind: str, wanted: str) -> None:
        """What mostly happens; what is rarer may come in between all the same."""
        self.claim()
        if self.task is None:
            self.learn([place % 10], None, None, True, place)
            self.claim()
        if self.task is not None:
            self.publish(kind, "first", wanted)

    @precondition(at_work)
    @rule()
    def a_person_promotes_what_is_then_published_again(self) -> None:
        """The learner that resumes publishes its provisional anew; meanwhile a person has moved to it."""
        assert self.task is not None
        mine = [one for one in self.plain.versions.values() if one.task == self.task.id]
        if mine:
            last = mine[-1]
            self._both(
                lambda: self.plain.promote(SERVING, last.number),
                lambda: self.stage.promote(SERVING, last.number),
            )
            self.publish(last.kind, last.content, "serve")

    @precondition(at_work)
    @rule(failed=st.booleans())
    def finish(self, failed: bool) -> None:
        """Done only with a final version, as the learner does it."""
        assert self.lease is not None and self.task is not None
        mine = [version for version in self.plain.versions.values() if version.task == self.task.id]
        if not failed and any(version.kind == "final" for version in mine):
            self.plain.finish(self.task.id, "done", self.stage.clock())
            self.stage.ledger.finish(self.lease, self.task.id)
        else:
            self.plain.finish(self.task.id, "failed", self.stage.clock())
            self.stage.ledger.fail(self.lease, self.task.id, "it went wrong")

    @precondition(a_learner)
    @rule()
    def stop_learner(self) -> None:
        """As at SIGTERM: the task goes back to the head of the queue, the lease is let go."""
        assert self.lease is not None
        if at_work(self):
            assert self.task is not None
            self.plain.hand_back(self.task.id)
            self.stage.ledger.hand_back(self.lease, self.task.id)
        self.stage.ledger.release_lease(self.lease)
        self.lease = self.task = None

    @precondition(a_learner)
    @rule()
    def sweep(self) -> None:
        assert self.lease is not None
        needed = {number for number in self.plain.versions if self.plain.needed(number)}
        finals = [one.number for one in self.plain.versions.values() if one.kind == "final" and one.state != "deleted"]
        assert POLICY.keep is not None
        for number in self.stage.sweep(self.lease):
            assert number not in needed
            assert self.plain.versions[number].kind == "provisional" or number in finals[: -POLICY.keep]
            self.plain.versions[number].state = "deleted"
        for task in self.plain.tasks.values():
            gone = any(item.purged for item in self.stage.ledger.items(task.id))
            assert not gone or task.purged or self._may_go(task), f"the images of {task} are gone"
            task.purged = gone

    # What happens to all of them.

    @rule()
    def crash(self) -> None:
        """Every process is gone at once; the learner's lease runs out by itself."""
        if self.lease is not None and self.task is not None:
            self.zombies.append((self.lease, self.task))
        self.lease = self.task = None
        self.stage.close()
        self.stage.open()

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

    @property
    def plain_task(self) -> PlainTask:
        """The contract's view of what the learner has."""
        assert self.task is not None
        return self.plain.tasks[self.task.id]

    def _task(self, place: int) -> str:
        return list(self.plain.tasks)[-1 - place % len(self.plain.tasks)]

    def _version(self, place: int) -> int:
        return len(self.plain.versions) - place % len(self.plain.versions)

    def _may_go(self, task: PlainTask) -> bool:
        """Images that retention may take: of what is done, or was given up more than a day ago."""
        if task.state in UNFINISHED or task.finished_at is None:
            return False
        old = (self.stage.clock() - task.finished_at).days >= POLICY.task_days
        return old or (task.state == "done" and self.plain.came_to_something(task.id))

    def _both(self, by_contract: Callable[[], object], really: Callable[[], object]) -> None:
        """What the contract refuses is a Conflict; what it does not refuse succeeds."""
        if self._refused(by_contract):
            self._refuses(really)
        else:
            really()

    def _refused(self, by_contract: Callable[[], object]) -> bool:
        try:
            by_contract()
        except Refused:
            return True
        return False

    def _refuses(self, really: Callable[[], object]) -> None:
        try:
            really()
        except Conflict:
            return
        raise AssertionError("the contract refuses what the ledger did")
