"""The outermost layer of the service: what holds for every request, whatever route it is for."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field

from service.access.auditing import METHODS, OTHER_METHOD
from service.access.headers import harden
from service.edge.asgi import ASGIApp, Message, Receive, Scope, Send
from service.metrics import Metrics
from service.problems import Problem, unavailable
from service.setting_groups import LimitSettings

HEAD = "everclass.head"
"""Set in the scope where the client asked for the head alone, so that a route need not make a body."""

PROBES = frozenset({"/livez", "/readyz", "/metrics"})
BYTES_PER_KB = 1 << 10
TWO_LENGTHS = "the request has both Content-Length and Transfer-Encoding"
DISCARD_S = 2.0
"""How long a body that nobody read is still received, so that the client gets to see the answer."""


@dataclass
class Traffic:
    """How many requests are under way, and whether new ones are still taken."""

    in_flight: int = 0
    draining: bool = False
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def entered(self) -> None:
        """One more is under way."""
        self.in_flight += 1
        self._idle.clear()

    def left(self) -> None:
        """One is answered."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def drained(self, most_s: float) -> bool:
        """Wait until nothing is under way; False if something still is after `most_s`."""
        if self.in_flight == 0:
            return True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), most_s)
        return self.in_flight == 0


class Edge:
    """Counts requests, answers HEAD as GET without the body, turns new work away while draining."""

    def __init__(self, app: ASGIApp, traffic: Traffic, metrics: Metrics, limits: LimitSettings | None = None) -> None:
        self._app = app
        self._limits = limits or LimitSettings()
        self._traffic = traffic
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; what is not HTTP passes through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self._limits)
        started = time.perf_counter()
        self._traffic.entered()
        try:
            await self._route(scope)(exchange.scope, exchange.receive, exchange.send)
        finally:
            self._traffic.left()
            route = getattr(exchange.scope.get("route"), "path_format", "none")
            method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
            self._metrics.answered(method, route, exchange.status, time.perf_counter() - started)

    def _route(self, scope: Scope) -> ASGIApp:
        if self._traffic.draining and scope["path"] not in PROBES:
            return unavailable("the server is stopping").response()
        if _has_two_lengths(scope):
            return Problem(400, TWO_LENGTHS, headers={"Connection": "close"}).response()
        return self._app


class Exchange:
    """One request and its answer, seen from the edge."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: LimitSettings) -> None:
        self._receive = receive
        self._send = send
        self._head = scope["method"] == "HEAD"
        self._coming = _has_body(scope)
        self._unread = self._coming and not _waits_for_go_ahead(scope)
        self._pace = Pace(limits)
        self.scope = {**scope, "method": "GET", HEAD: True} if self._head else dict(scope)
        self.status = 500

    async def receive(self) -> Message:
        """As ASGI's, noting when the body is complete. Raises Problem 408 where the client sends it too slowly."""
        message = await (self._pace.kept(self._receive) if self._coming else self._receive())
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._unread = self._coming = False
        return message

    async def send(self, message: Message) -> None:
        """As ASGI's; a HEAD gets no body, and an unread body is read away before the answer begins."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            harden(message)
            if self._unread:
                await self._discard()
            if self._unread:
                message.setdefault("headers", []).append((b"connection", b"close"))
            self._coming = False
        elif self._head and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)

    async def _discard(self) -> None:
        with suppress(TimeoutError, Problem):
            async with asyncio.timeout(DISCARD_S):
                while self._unread:
                    await self.receive()


class Pace:
    """Whether a client sends its body fast enough on the whole; what the server itself takes does not count."""

    def __init__(self, limits: LimitSettings) -> None:
        self._patience_s = limits.patience_s
        self._slowest = limits.slowest_kb_s * BYTES_PER_KB
        self._received_bytes = 0
        self._waited_s = 0.0

    async def kept(self, receive: Receive) -> Message:
        """The next message. Raises Problem 408 where the time for it is over."""
        left_s = self._patience_s + self._received_bytes / self._slowest - self._waited_s
        started = time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                message = await receive()
        except TimeoutError:
            raise Problem(408, "the body comes too slowly") from None
        self._waited_s += time.monotonic() - started
        self._received_bytes += len(message.get("body", b""))
        return message


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def _has_two_lengths(scope: Scope) -> bool:
    """A proxy in front of us may go by the other one, and take the rest of the body for a request (RFC 9112, 6.3)."""
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers and b"content-length" in headers


def _waits_for_go_ahead(scope: Scope) -> bool:
    return bool(dict(scope["headers"]).get(b"expect", b"").lower() == b"100-continue")
