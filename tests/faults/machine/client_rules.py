"""What clients and operators may do, in any order."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stream.versions import SERVING, Expected
from tests.faults.machine.contract import PlainTask
from tests.faults.machine.history import PLACES, History, at_work, some_task, some_version

ALIASES = st.sampled_from([SERVING, SERVING, "stable"])
BASES = st.sampled_from([None, None, None, "none", "a version"])
PROMOTE = st.sampled_from([None, None, None, "manual"])
PICTURES = st.lists(st.integers(0, 9), min_size=1, max_size=2, unique=True)
OFTEN = st.sampled_from([True, True, True, False])


class ClientRules(History):
    """Tasks sent, given up and taken up again; versions moved to, deleted, found damaged; classes to be forgotten."""

    @rule(pictures=PICTURES, base=BASES, promote=PROMOTE, commit=OFTEN, place=PLACES)
    def learn(self, pictures: list[int], base: object, promote: object, commit: bool, place: int) -> None:
        if base == "a version":
            base = self._version(place) if self.plain.versions else None
        labels = set(map(str, pictures))
        trial = PlainTask("trial", base, promote, labels)  # type: ignore[arg-type]
        if (refusal := self._refusal(lambda: self.plain.create(trial))) is not None:
            self._refuses(lambda: self.stage.send(pictures, base=base, promote=promote, commit=commit), refusal)
            return
        del self.plain.tasks["trial"]
        sent = self.stage.send(pictures, base=base, promote=promote, commit=commit)  # type: ignore[arg-type]
        self.plain.create(PlainTask(sent.id, base, promote, labels))  # type: ignore[arg-type]
        if commit:
            self.plain.commit(sent.id)

    @precondition(some_task)
    @rule(place=PLACES, digit=st.integers(0, 9))
    def append(self, place: int, digit: int) -> None:
        task = self._task(place)
        if self.plain.tasks[task].state == "open":
            self.stage.append(task, digit)
            self.plain.tasks[task].labels.add(str(digit))
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
        task, now = self.task.id, self.stage.clock()
        self._both(lambda: self.plain.cancel(task, now), lambda: self.stage.cancel(task))

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

    @precondition(some_task)
    @rule(place=PLACES, purge=st.booleans())
    def forget(self, place: int, purge: bool) -> None:
        """A class in force, where there is more than one; else any that a task has brought."""
        in_force = self._labels(self.plain.points_at(SERVING))
        known = in_force if len(in_force) > 1 else set().union(*(task.labels for task in self.plain.tasks.values()))
        label = sorted(known)[place % len(known)]
        trial = PlainTask("trial", forgets=label, purges=purge)
        if (refusal := self._refusal(lambda: self.plain.forget(trial))) is not None:
            self._refuses(lambda: self.stage.forget(label, purge=purge), refusal)
            return
        del self.plain.tasks["trial"]
        sent = self.stage.forget(label, purge=purge)
        self.plain.forget(PlainTask(sent.id, forgets=label, purges=purge))

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
