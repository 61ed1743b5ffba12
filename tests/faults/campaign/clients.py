"""Clients that learn, predict and roll back without a pause, whatever happens to the server, and keep a record."""

import http.client
import json
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests import digits
from tests.faults.campaign.record import Answer, Record
from tests.service.pictures import files

PICTURES = [digits.pngs(digit)[15] for digit in range(10)]
WAITING_TASKS = 2
"""The learning client sends no more while so many of its tasks are unfinished."""

TIMEOUT_S = 60.0
AWAY_S = 0.2
"""How long a client waits before it asks a server again that did not answer."""


@dataclass
class Clients:
    """The clients of one server, each a thread; they act inside `at_work`."""

    port: int
    record: Record
    seed: int
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self, *, predicting: int, learning: bool, rolling_back: bool) -> Iterator[None]:
        """Run so many predicting clients, and one that learns and one that rolls back where wanted."""
        works: list[Callable[[], None]] = [lambda number=number: self._predict(number) for number in range(predicting)]
        works += [self._learn] * learning + [self._roll_back] * rolling_back
        threads = [threading.Thread(target=self._watched, args=(work,)) for work in works]
        with ExitStack() as stack:
            for thread in threads:
                thread.start()
                stack.callback(thread.join)
            stack.callback(self._stop.set)
            yield

    def _watched(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self.record.complain(f"a client broke: {error!r}")

    def _predict(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        while not self._stop.is_set():
            picture = number % len(PICTURES)
            number += 1
            floor, sent_s = self.record.floor, time.time()
            try:
                connection.request("POST", "/predict?top_k=100", PICTURES[picture], {"Content-Type": "image/png"})
                reply = connection.getresponse()
                body = reply.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self._away("predict")
                continue
            if reply.status == 200:
                self._note(json.loads(body), reply.headers, Answer(sent_s, time.time(), 0, 0, picture, floor))
            elif reply.status == 503:
                self._away("predict")
            else:
                self.record.complain(f"predict answered {reply.status}: {body!r}")
        connection.close()

    def _note(self, body: dict[str, Any], headers: http.client.HTTPMessage, sent: Answer) -> None:
        seq, version = int(headers["X-Promotion-Seq"]), int(headers["X-Model-Version"])
        if version != body["version"]:
            self.record.complain(f"the header names version {version} and the body {body['version']}")
        scores = tuple((one["label"], one["score"]) for one in body["predictions"][0]["top"])
        answer = Answer(sent.sent_s, sent.received_s, version, seq, sent.picture, sent.floor)
        self.record.answer(answer, scores)

    def _learn(self) -> None:
        chosen = random.Random(self.seed)
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=TIMEOUT_S) as client:
            while not self._stop.is_set():
                unfinished = self._unfinished(client)
                if unfinished is None or unfinished >= WAITING_TASKS:
                    self._stop.wait(AWAY_S)
                    continue
                pair = chosen.sample(range(10), 2)
                self._send(client, digits.labelled(*pair, count=10, start=chosen.randrange(20, 150)))

    def _unfinished(self, client: httpx.Client) -> int | None:
        reply = self._asked("tasks", lambda: client.get("/tasks?limit=50"))
        if reply is None or reply.status_code != 200:
            return None
        return sum(task["finished_at"] is None for task in reply.json()["items"])

    def _send(self, client: httpx.Client, images: list[tuple[bytes, str]]) -> None:
        """One task, sent again under the same key until it is answered."""
        key = secrets.token_hex(8)
        form = {"labels": [label for _, label in images], "name": key}
        while not self._stop.is_set():
            reply = self._asked(
                "learn",
                lambda: client.post(
                    "/learn", files=files(*[data for data, _ in images]), data=form, headers={"Idempotency-Key": key}
                ),
            )
            if reply is not None and reply.status_code == 202:
                self.record.accept(reply.json()["id"])
                return
            if reply is not None and reply.status_code not in (409, 429, 503):
                self.record.complain(f"learn answered {reply.status_code}: {reply.text}")
                return
            self._stop.wait(AWAY_S)

    def _roll_back(self) -> None:
        chosen = random.Random(self.seed + 1)
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=TIMEOUT_S) as client:
            while not self._stop.wait(chosen.uniform(0.3, 2.0)):
                reply = self._asked("versions", lambda: client.get("/versions?limit=20"))
                if reply is None or reply.status_code != 200:
                    continue
                ready = [one["version"] for one in reply.json()["items"] if one["state"] in ("ready", "held")]
                wish = {"version": chosen.choice(ready)}
                reply = self._asked("rollback", lambda wish=wish: client.post("/rollback", json=wish))
                if reply is not None and reply.status_code == 200:
                    self.record.promote(reply.json())
                elif reply is not None and reply.status_code not in (409, 503):
                    self.record.complain(f"rollback answered {reply.status_code}: {reply.text}")

    def _asked(self, kind: str, ask: Callable[[], httpx.Response]) -> httpx.Response | None:
        try:
            reply = ask()
        except httpx.TransportError:
            self._away(kind)
            return None
        if reply.status_code == 503:
            self._away(kind)
        elif reply.status_code >= 500:
            self.record.complain(f"{kind} answered {reply.status_code}: {reply.text}")
        return reply

    def _away(self, kind: str) -> None:
        self.record.outage(kind)
        self._stop.wait(AWAY_S)
