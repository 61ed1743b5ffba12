"""Load on a server over HTTP, made with as little work of its own as Python allows."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from everclass.multipart import File, Multipart


@dataclass(frozen=True)
class Body:
    """A request that is ready to be sent again and again; `images` is how many it holds."""

    data: bytes
    content_type: str
    images: int

    @classmethod
    def of(cls, images: Sequence[bytes]) -> "Body":
        """One image as it is, several as a form."""
        if len(images) == 1:
            return cls(images[0], "image/jpeg", 1)
        form = Multipart([File("images", f"{number}.jpg", data) for number, data in enumerate(images)])
        return cls(b"".join(form), form.headers["Content-Type"], len(images))


@dataclass(frozen=True)
class Answered:
    """One answer: when it came and how long it took (seconds; `at_s` is monotonic), and the version that gave it."""

    at_s: float
    latency_s: float
    images: int
    version: int


@dataclass
class Outcome:
    """What came of a load."""

    seconds: float = 0.0
    answers: list[Answered] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def images_per_s(self) -> float:
        """Images answered in a second."""
        return sum(answer.images for answer in self.answers) / self.seconds


class Clients:
    """Several clients, a thread and a connection each. `interval_s` 0: each asks again as soon as it is answered.

    With an interval each client asks on a fixed schedule, and a latency counts from the time that the schedule set, so
    that a server that stalls is not spared the requests that should have come meanwhile.
    """

    def __init__(self, url: str, bodies: Sequence[Body], clients: int, interval_s: float = 0.0) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._bodies = bodies
        self._clients = clients
        self._interval_s = interval_s

    def run(self, until: Callable[[], bool]) -> Outcome:
        """Ask until `until()`."""
        outcome = Outcome()
        started = time.monotonic()
        threads = [
            threading.Thread(target=self._ask, args=(number, outcome, until, started))
            for number in range(self._clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        outcome.seconds = time.monotonic() - started
        return outcome

    def run_for(self, seconds: float) -> Outcome:
        """Ask for so long."""
        end = time.monotonic() + seconds
        return self.run(lambda: time.monotonic() >= end)

    def _ask(self, number: int, outcome: Outcome, until: Callable[[], bool], started: float) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=60)
        due_s = started + self._interval_s * number / self._clients
        while not until():
            now_s = time.monotonic()
            if self._interval_s and now_s < due_s:
                time.sleep(min(due_s - now_s, 0.05))
                continue
            since_s = due_s if self._interval_s else now_s
            due_s += self._interval_s
            body = self._bodies[number % len(self._bodies)]
            number += self._clients
            self._one(connection, body, since_s, outcome)
        connection.close()

    def _one(self, connection: http.client.HTTPConnection, body: Body, since_s: float, outcome: Outcome) -> None:
        try:
            connection.request("POST", "/predict", body.data, {"Content-Type": body.content_type})
            response = connection.getresponse()
            said = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            outcome.failures.append(repr(error))
            return
        now_s = time.monotonic()
        if response.status == 200:
            outcome.answers.append(Answered(now_s, now_s - since_s, body.images, said["version"]))
        else:
            outcome.failures.append(f"{response.status} {said.get('detail')}")
