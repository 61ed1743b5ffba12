"""What the learner does with its lease, and what a crash leaves of it."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from stream.tasks import Phase
from stream.versions import SERVING
from tests.faults.machine.client_rules import ClientRules
from tests.faults.machine.contract import UNFINISHED, PlainTask
from tests.faults.machine.history import PLACES, History, a_learner, at_work, no_learner
from tests.faults.machine.stage import POLICY, TTL_S

KINDS = st.sampled_from(["provisional", "final"])
TURNS = st.sampled_from(["none", "dies before the purge", "dies after the purge", "cancelled after the purge"])
WANTED = st.sampled_from(["serve", "serve", "serve", "hold", "damaged"])
CONTENTS = st.sampled_from(["first", "first", "second"])
PHASES = st.sampled_from([Phase.FEATURES, Phase.TRAINING])


def forgetting(history: History) -> bool:
    """A learner works on a task that shall purge its class."""
    return at_work(history) and history.plain_task.purges


class LearnerRules(ClientRules):
    """Tasks claimed, published, ended; what is kept too long swept; everything gone at once."""

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
        if self.plain_task.forgets is None or self.plain.can_forget(self.task.id):
            self.stage.stored(self.task, "final", content)
        self.crash()

    @precondition(at_work)
    @rule(kind=KINDS, content=CONTENTS, wanted=WANTED)
    def publish(self, kind: str, content: str, wanted: str) -> None:
        assert self.lease is not None and self.task is not None
        if self.plain_task.forgets is not None:
            kind = "final"
            if not self.plain.can_forget(self.task.id):
                return
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

    @precondition(forgetting)
    @rule()
    def purge_the_class(self) -> None:
        assert self.lease is not None and self.task is not None
        lease, task = self.lease, self.task.id
        self._both(lambda: self.plain.purge_class(task), lambda: self.stage.ledger.purge_class(lease, task))

    @precondition(a_learner)
    @rule(place=PLACES, turn=TURNS)
    def forget_and_purge(self, place: int, turn: str) -> None:
        """What mostly happens, as with `claim_and_publish`, and what may come between the version and the end.

        The first purge is too early, as a version in force knows the class, unless only older ones do.
        """
        self._work_off()
        if len(self._labels(self.plain.points_at(SERVING))) < 2:
            self.learn([place % 10, (place + 1) % 10], None, None, True, 0)
            self._work_off()
        self.forget(place, True)
        self.claim()
        if not forgetting(self):
            return
        self.purge_the_class()
        self.publish("final", "first", "serve")
        if turn == "dies before the purge":
            self.crash()
            return
        self.purge_the_class()
        if turn == "dies after the purge":
            self.crash()
            self.start_learner()
            self.claim()
        elif turn == "cancelled after the purge":
            self.cancel_what_is_learned()
        else:
            self.finish(failed=False)

    @precondition(at_work)
    @rule(failed=st.booleans())
    def finish(self, failed: bool) -> None:
        """Done only with a final version, or when its class is purged, as the learner does it."""
        assert self.lease is not None and self.task is not None
        mine = [version for version in self.plain.versions.values() if version.task == self.task.id]
        came = any(version.kind == "final" for version in mine) or self.plain.purged(self.task.id)
        if not failed and came:
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
            gone = {item.label for item in self.stage.ledger.items(task.id) if item.purged}
            assert gone == task.gone or self._may_go(task), f"images of {task} are gone"
            task.gone = gone

    @rule()
    def crash(self) -> None:
        """Every process is gone at once; the learner's lease runs out by itself."""
        if self.lease is not None and self.task is not None:
            self.zombies.append((self.lease, self.task))
        self.lease = self.task = None
        self.stage.close()
        self.stage.open()

    def _work_off(self) -> None:
        """All that waits is learned."""
        self.claim()
        while self.task is not None:
            self.publish("final", "first", "serve")
            self.finish(failed=False)
            self.claim()

    def _may_go(self, task: PlainTask) -> bool:
        """Images that retention may take: of what is done, or was given up more than a day ago."""
        if task.state in UNFINISHED or task.finished_at is None:
            return False
        old = (self.stage.clock() - task.finished_at).days >= POLICY.task_days
        return old or (task.state == "done" and self.plain.came_to_something(task.id))
