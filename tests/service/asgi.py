"""Talking to an ASGI application message by message, for tests of what HTTP clients would smooth over."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from service.edge.asgi import ASGIApp


@dataclass
class Reply:
    """What an application sent, and how much of the request's body it had taken."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks_taken: int = 0


def scope(
    method: str = "GET", path: str = "/", headers: dict[str, str] | None = None, query: str = ""
) -> dict[str, Any]:
    """A request's scope, on loopback."""
    named = {"host": "localhost:3000", **(headers or {})}
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
        "server": ("127.0.0.1", 3000),
        "client": ("127.0.0.1", 50000),
    }


def ask(app: ASGIApp, request: dict[str, Any], chunks: Iterable[bytes] = (b"",), *, breaks_off: bool = False) -> Reply:
    """The application's reply to a request whose body arrives in `chunks`; `breaks_off`: the client goes away then."""
    return asyncio.run(exchange(app, request, list(chunks), breaks_off))


async def exchange(app: ASGIApp, request: dict[str, Any], chunks: list[bytes], breaks_off: bool = False) -> Reply:
    """As `ask`, within a running loop."""
    reply = Reply()
    waiting = list(chunks)

    async def receive() -> dict[str, Any]:
        if not waiting:
            return {"type": "http.disconnect"}
        reply.chunks_taken += 1
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting) or breaks_off}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            reply.status = message["status"]
            reply.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            reply.body += message.get("body", b"")

    await app(request, receive, send)
    return reply
