"""Connections that go nowhere are ended: slow heads, answers that nobody takes, and more of them than are allowed.

uvicorn waits for ever for a head and for a reader; BentoML lets nobody tell it otherwise, but takes its protocol from a
table. Bodies are not waited for here: the edge does that, and can say so (408).

A TLS handshake comes before a connection is one that can be counted, and asyncio gives it a minute. It gets the time of
a head here, and the process as many files as it may have, so that idle handshakes leave room for others.
"""

import asyncio
import asyncio.constants
import resource
from typing import Any

import uvicorn.config
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.problems import busy
from service.setting_groups import LimitSettings

Protocol: Any = H11Protocol
"""Whatever else is installed: it bounds the head of a request."""


def install(limits: LimitSettings) -> None:
    """Let uvicorn, once it starts in this process, look after its connections with these limits."""
    asyncio.constants.SSL_HANDSHAKE_TIMEOUT = limits.header_s
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvicorn.config.HTTP_PROTOCOLS["auto"] = type("Limited", (Patient,), {"limits": limits})  # type: ignore[assignment]


class Patient(Protocol):  # type: ignore[misc]
    """uvicorn's own protocol, which gives its clients only so much time."""

    limits: LimitSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head: asyncio.TimerHandle | None = None
        self._taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        """As uvicorn's; one connection too many is told so and closed."""
        super().connection_made(transport)
        # The transport says at once when the client lags, not only after 64 KB. Not 0: asyncio's TLS calls that reached
        # with nothing waiting, and an answer would never be sent to its end.
        transport.set_write_buffer_limits(high=1, low=0)
        self._expect_head()
        if len(self.connections) > self.limits.connections:
            transport.write(one_too_many())
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's."""
        self._stop(self._head)
        self._stop(self._taking)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As uvicorn's; what comes between two requests has to become a head in time."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._waits_for_head and self._head is None:
            self._expect_head()
        elif not self._waits_for_head:
            self._stop(self._head)
            self._head = None

    def pause_writing(self) -> None:
        """As uvicorn's; the client has to take what waits in time."""
        super().pause_writing()
        waiting_kb = self.transport.get_write_buffer_size() / 1024
        allowed_s = self.limits.patience_s + waiting_kb / self.limits.slowest_kb_s
        self._taking = self.loop.call_later(allowed_s, self.transport.abort)

    def resume_writing(self) -> None:
        """As uvicorn's."""
        self._stop(self._taking)
        self._taking = None
        super().resume_writing()

    def _should_upgrade(self) -> bool:
        """Never: a call for a WebSocket is answered like any other, by the same limits and into the same log."""
        return False

    @property
    def _waits_for_head(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _expect_head(self) -> None:
        self._head = self.loop.call_later(self.limits.header_s, self._no_head)

    def _no_head(self) -> None:
        self._head = None
        if self._waits_for_head:
            self.transport.abort()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def one_too_many() -> bytes:
    """The answer to a connection beyond the limit, before it has asked for anything."""
    answer = busy("there are too many connections").response()
    head = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
    return b"HTTP/1.1 429 Too Many Requests\r\n" + head + b"connection: close\r\n\r\n" + bytes(answer.body)
