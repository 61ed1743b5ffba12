"""The same histories over HTTP, on a real server: what it tells is what the contract says, after every step."""

import httpx
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from stream.versions import SERVING
from tests.faults.invariants import broken
from tests.faults.machine.contract import SERVABLE, UNFINISHED
from tests.faults.machine.history import PLACES, some_task, some_version
from tests.faults.machine.over_http import ServerStage
from tests.faults.machine.rules import Machine

TOLERANCE = 1e-4
ALL = "limit=1000"


def lives_left(machine: "ServerMachine") -> bool:
    return machine.deaths < machine.most_deaths


class ServerMachine(Machine):
    """One server; it may die `most_deaths` times. A history goes on where the one `before` it on this server ended."""

    stage: ServerStage
    most_deaths = 1

    def __init__(self, stage: ServerStage, before: "ServerMachine | None" = None) -> None:
        super().__init__(stage)
        self.deaths = 0
        if before is not None:
            self.plain, self.deaths = before.plain, before.deaths
            self.lease, self.task, self.zombies = before.lease, before.task, before.zombies

    @precondition(some_task)
    @rule(place=PLACES)
    def cancel(self, place: int) -> None:
        """`DELETE` gives up what is not finished, and lets go of the images of what was given up."""
        task, now = self._task(place), self.stage.clock()
        unfinished = self.plain.tasks[task].state in UNFINISHED
        self._both(
            lambda: self.plain.cancel(task, now) if unfinished else self.plain.purge(task),
            lambda: self.stage.cancel(task),
        )

    @precondition(lambda self: False)
    @rule()
    def purge(self) -> None:  # type: ignore[override]
        """Nothing of its own here: see `cancel`."""

    @precondition(lambda self: False)
    @rule()
    def forget(self) -> None:  # type: ignore[override]
        """Not here: a taught version answers as it was taught, with every class."""

    @precondition(lambda self: False)
    @rule()
    def forget_and_purge(self) -> None:  # type: ignore[override]
        """See `forget`."""

    @precondition(lambda self: False)
    @rule()
    def days_pass(self) -> None:
        """Not here: the server's clock is the real one."""

    @precondition(some_version)
    @rule(place=PLACES)
    def ask_a_version(self, place: int) -> None:
        version = self._version(place)
        reply = self.stage.ask(f"&version={version}")
        if self.plain.versions[version].state in SERVABLE:
            self._answers_as(version, reply)
        else:
            assert reply.status_code == 409, reply.text

    @rule()
    def ask_an_alias(self) -> None:
        version, reply = self.plain.points_at("stable"), self.stage.ask("&alias=stable")
        if version is None:
            assert reply.status_code == 404, reply.text
        elif self.plain.versions[version].state in SERVABLE:
            self._answers_as(version, reply)
        else:
            assert reply.status_code == 409, reply.text

    @precondition(lives_left)
    @rule(gently=st.booleans())
    def server_dies(self, gently: bool) -> None:
        self.deaths += 1
        self.stage.die_and_come_back(gently=gently)

    @invariant()
    def http_tells_the_promotions(self) -> None:
        log = self.stage.read(f"/promotions?{ALL}")["items"]
        told = [(move["seq"], move["alias"], move["version"], move["previous"]) for move in reversed(log)]
        assert told == [(move.seq, move.alias, move.version, move.previous) for move in self.plain.log]
        for move in log:
            before, after = self._labels(move["previous"]), self._labels(move["version"])
            assert (set(move["lost"]), set(move["won"])) == (before - after, after - before)
        assert self.stage.read("/aliases") == self.plain.aliases()

    @invariant()
    def http_tells_the_tasks(self) -> None:
        told = {task["id"]: task for task in self.stage.read(f"/tasks?{ALL}")["items"]}
        assert set(told) == set(self.plain.tasks)
        for name, task in self.plain.tasks.items():
            made = [version.number for version in self.plain.versions.values() if version.task == name]
            assert (told[name]["state"], told[name]["base"]) == (task.state, task.base)
            assert (told[name]["attempts"], told[name]["versions"]) == (task.attempts, made)

    @invariant()
    def http_tells_the_versions(self) -> None:
        told = {version["version"]: version for version in self.stage.read(f"/versions?{ALL}")["items"]}
        assert set(told) == set(self.plain.versions)
        for number, version in self.plain.versions.items():
            found = told[number]
            assert (found["state"], found["parent"]) == (version.state, version.parent)
            assert (found["task"], found["kind"]) == (version.task, version.kind)
            assert {one["label"] for one in found["classes"]} == self._labels(number)

    @invariant()
    def what_is_in_force_answers(self) -> None:
        """At once, whoever moved it, and whatever became of its state since."""
        version, reply = self.plain.points_at(SERVING), self.stage.ask()
        last = self.plain.last_move()
        assert {one["label"] for one in self.stage.read("/classes")["items"]} == self._labels(version)
        if version is None or last is None:
            assert reply.status_code == 503, reply.text
        else:
            self._answers_as(version, reply)
            assert reply.headers["x-promotion-seq"] == str(last.seq)

    @initialize()
    def begin(self) -> None:
        """Something in force, whatever was before: all that waits is learned, and the last of it promoted."""
        if self.lease is None:
            self.start_learner()
        self.learn([3], "none", None, True, 0)
        self._work_off()
        self.promote(0, SERVING)

    def end(self) -> None:
        """Killed once more: what there was is there again; then the folder is looked at."""
        try:
            self.stage.die_and_come_back(gently=False)
            self.http_tells_the_promotions()
            self.http_tells_the_tasks()
            self.http_tells_the_versions()
            self.what_is_in_force_answers()
        finally:
            self.stage.leave()
        self.stage.server.assert_quiet()
        assert broken(self.stage.folder, list(self.plain.tasks), [], self.stage.url) == []

    def _answers_as(self, version: int, reply: httpx.Response) -> None:
        """The answer names this version, and is what stands behind it says."""
        assert reply.status_code == 200, reply.text
        body = reply.json()
        assert (body["version"], reply.headers["x-model-version"]) == (version, str(version))
        scores = {one["label"]: one["score"] for one in body["predictions"][0]["top"]}
        assert scores == pytest.approx(self._content(version), abs=TOLERANCE)

    def _content(self, version: int) -> dict[str, float]:
        return self.stage.bodies[self.plain.versions[version].content].scores

    def _labels(self, version: int | None) -> set[str]:
        return set() if version is None else set(self._content(version))
