"""What every rule needs: the server, the contract beside it, and what its learner holds."""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from stream.errors import Conflict, NotFound
from stream.ledger import Lease
from stream.tasks import Task
from tests.faults.machine.contract import Contract, PlainTask, Refused, Unknown
from tests.faults.machine.stage import Stage

PLACES = st.integers(0, 1000)


def some_task(history: "History") -> bool:
    return bool(history.plain.tasks)


def some_version(history: "History") -> bool:
    return bool(history.plain.versions)


def a_learner(history: "History") -> bool:
    return history.lease is not None


def no_learner(history: "History") -> bool:
    return history.lease is None


def at_work(history: "History") -> bool:
    """A learner has a task, as far as it knows, and the task is still being learned."""
    return history.lease is not None and history.task is not None and history.plain_task.state == "learning"


class History(RuleBasedStateMachine):
    """One server; `lease` and `task` are what its learner holds, `zombies` what those had that are thought dead."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.plain = Contract()
        self.lease: Lease | None = None
        self.task: Task | None = None
        self.zombies: list[tuple[Lease, Task]] = []

    @property
    def plain_task(self) -> PlainTask:
        """The contract's view of what the learner has."""
        assert self.task is not None
        return self.plain.tasks[self.task.id]

    def _task(self, place: int) -> str:
        return list(self.plain.tasks)[-1 - place % len(self.plain.tasks)]

    def _version(self, place: int) -> int:
        return len(self.plain.versions) - place % len(self.plain.versions)

    def _labels(self, version: int | None) -> set[str]:
        return set() if version is None else set(self.plain.versions[version].labels)

    def _both(self, by_contract: Callable[[], object], really: Callable[[], object]) -> None:
        """What the contract refuses is refused, and for the same reason; what it does not refuse succeeds."""
        refusal = self._refusal(by_contract)
        if refusal is None:
            really()
        else:
            self._refuses(really, refusal)

    def _refusal(self, by_contract: Callable[[], object]) -> type[Exception] | None:
        try:
            by_contract()
        except Unknown:
            return NotFound
        except Refused:
            return Conflict
        return None

    def _refuses(self, really: Callable[[], object], refusal: type[Exception] = Conflict) -> None:
        try:
            really()
        except refusal:
            return
        raise AssertionError("the contract refuses what the ledger did")
