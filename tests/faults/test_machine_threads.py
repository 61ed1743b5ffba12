"""32 threads do what people and learners do: promotions stay one line, every read is of a state that existed."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from stream.errors import Conflict, LeaseLost, NotFound, TaskStopped
from stream.ledger import Lease
from stream.tasks import TRANSITIONS, TaskState
from stream.versions import SERVING
from tests.faults.invariants import broken, every
from tests.faults.machine.stage import Stage
from tests.faults.test_machine import EXAMPLES
from tests.stream.conftest import fresh_postgres, postgres

__all__ = ["postgres"]

THREADS = 32
LEARNERS = 2
DEEDS = ["learn", "cancel", "retry", "promote", "alias", "back", "delete", "read", "read", "read"]
SCRIPTS = st.lists(
    st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 50)), min_size=4, max_size=8),
    min_size=THREADS - LEARNERS,
    max_size=THREADS - LEARNERS,
)

AFTER: dict[TaskState, set[TaskState]] = {}
for first in TaskState:
    AFTER[first], more = {first}, [first]
    while more:
        fresh = TRANSITIONS[more.pop()] - AFTER[first]
        AFTER[first] |= fresh
        more += fresh


@dataclass
class Crowd:
    """What the threads did and saw."""

    stage: Stage
    done: threading.Event = field(default_factory=threading.Event)
    aliases: list[dict[str, int]] = field(default_factory=list)
    served: list[list[tuple[int, int]]] = field(default_factory=list)
    answered: list[tuple[int, int | None, int | None]] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def play(self, scripts: list[list[tuple[str, int]]]) -> None:
        """Every script in a thread of its own, beside learners that take the lease from each other."""
        clients = [threading.Thread(target=self._watched, args=(lambda one=one: self._client(one),)) for one in scripts]
        learners = [threading.Thread(target=self._watched, args=(self._learner,)) for _ in range(LEARNERS)]
        for thread in [*learners, *clients]:
            thread.start()
        for thread in clients:
            thread.join()
        self.done.set()
        for thread in learners:
            thread.join()

    def _watched(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.broken.append(repr(error))

    def _client(self, script: list[tuple[str, int]]) -> None:
        seen: list[tuple[int, int]] = []
        states: dict[str, TaskState] = {}
        self.served.append(seen)
        for deed, place in script:
            with suppress(Conflict, NotFound):
                self._do(deed, place, seen, states)

    def _do(self, deed: str, place: int, seen: list[tuple[int, int]], states: dict[str, TaskState]) -> None:
        ledger, version = self.stage.ledger, 1 + place % 8
        task = self.accepted[place % len(self.accepted)] if self.accepted else "none"
        if deed == "learn":
            self.accepted.append(self.stage.send([place % 10], base=None, promote=None, commit=True).id)
        elif deed == "cancel":
            ledger.cancel(task, by="ann")
        elif deed == "retry":
            ledger.retry(task)
        elif deed == "delete":
            ledger.delete_version(version)
        elif deed == "read":
            self._read(seen, states)
        else:
            target = ledger.rollback_target() if deed == "back" else version
            move = ledger.move_alias("stable" if deed == "alias" else SERVING, target, by="ann")
            self.answered.append((move.seq, move.version, move.previous))

    def _read(self, seen: list[tuple[int, int]], states: dict[str, TaskState]) -> None:
        ledger = self.stage.ledger
        if (serving := ledger.serving()) is not None:
            seen.append((serving.seq, serving.version))
        self.aliases.append(ledger.aliases())
        page = ledger.promotions(None, 20).items
        for newer, older in itertools.pairwise(page):
            assert newer.seq == older.seq + 1, "a page of the log has a gap"
        for task in ledger.tasks(None, 50).items:
            before = states.get(task.id, task.state)
            assert task.state in AFTER[before], f"a task went from {before} to {task.state}"
            states[task.id] = task.state

    def _learner(self) -> None:
        """Two that bear one name, so that each takes the lease from the other in the middle of its work."""
        while not self.done.is_set():
            lease = self.stage.ledger.acquire_lease("learner", "one name", "here", 60.0)
            if lease is not None:
                with suppress(LeaseLost, TaskStopped):
                    self._learn(lease)

    def _learn(self, lease: Lease) -> None:
        while not self.done.is_set():
            if not self._learn_one(lease):
                self.done.wait(0.01)

    def learn_first(self, digits: range) -> None:
        """So that there is something in force before the crowd comes."""
        lease = self.stage.learner()
        for digit in digits:
            self.accepted.append(self.stage.send([digit], base=None, promote=None, commit=True).id)
            assert self._learn_one(lease)
        self.stage.ledger.release_lease(lease)

    def _learn_one(self, lease: Lease) -> bool:
        ledger = self.stage.ledger
        task = ledger.claim(lease)
        if task is None:
            return False
        with suppress(TaskStopped):
            for kind in ("provisional", "final"):
                draft = self.stage.stored(task, kind, "first")  # type: ignore[arg-type]
                ledger.publish(lease, task.id, draft, wanted="serve")
            ledger.finish(lease, task.id)
        return True


def check(crowd: Crowd) -> None:
    """What was seen and answered, against the log that is left."""
    log = sorted(every(crowd.stage.ledger.promotions), key=lambda move: move.seq)
    assert crowd.broken == []
    assert [move.seq for move in log] == list(range(1, len(log) + 1))
    state: dict[str, int | None] = {}
    existed: list[dict[str, int]] = [{}]
    for move in log:
        assert move.previous == state.get(move.alias), f"promotion {move.seq} does not follow the one before"
        state[move.alias] = move.version
        existed.append({alias: version for alias, version in state.items() if version is not None})
    assert all(seen in existed for seen in crowd.aliases), "aliases were read that never stood so"
    moves = {(move.seq, move.version) for move in log if move.alias == SERVING}
    for seen in crowd.served:
        assert set(seen) <= moves, "a version was read in force that never was"
        assert seen == sorted(seen), "what was in force went back in time"
    assert set(crowd.answered) <= {(move.seq, move.version, move.previous) for move in log}
    assert {task.id for task in every(crowd.stage.ledger.tasks)} == set(crowd.accepted)
    numbers = [version.version for version in every(crowd.stage.ledger.versions)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def crowds(examples: int) -> settings:
    """So many crowds."""
    return settings(
        max_examples=EXAMPLES or examples,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def play(open_stage: Callable[[], Stage], examples: int) -> Counter[str]:
    """Crowds of threads, each on a stage of its own; how much they did."""
    did = Counter[str]()

    @crowds(examples)
    @given(SCRIPTS)
    def one_crowd(scripts: list[list[tuple[str, int]]]) -> None:
        crowd = Crowd(open_stage())
        try:
            crowd.learn_first(range(3))
            crowd.play(scripts)
            check(crowd)
        finally:
            crowd.stage.close()
        did.update(moves=len(crowd.answered), reads=len(crowd.aliases), served=sum(map(len, crowd.served)))
        if crowd.stage.ledger.is_sqlite:
            moved = [dict(zip(("seq", "version", "previous"), answer, strict=True)) for answer in crowd.answered]
            assert broken(crowd.stage.folder, crowd.accepted, moved) == []

    one_crowd()
    return did


@pytest.mark.timeout(0)
def test_32_threads_on_sqlite_leave_one_line_of_promotions(tmp_path: Path) -> None:
    numbers = itertools.count()

    def open_stage() -> Stage:
        folder = tmp_path / str(next(numbers))
        return Stage(f"sqlite:///{folder / 'everclass.db'}", folder)

    did = play(open_stage, 4)
    assert min(did["moves"], did["reads"], did["served"]) > 0


@pytest.mark.timeout(0)
def test_32_threads_on_postgresql_leave_one_line_of_promotions(tmp_path: Path, postgres: str) -> None:
    numbers = itertools.count()
    did = play(lambda: Stage(fresh_postgres(postgres), tmp_path / str(next(numbers))), 2)
    assert min(did["moves"], did["reads"], did["served"]) > 0
