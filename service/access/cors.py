"""Which pages of other origins may use a server with keys: those that the setting names, by default none."""

from starlette.datastructures import MutableHeaders
from starlette.responses import Response

from service.edge.asgi import ASGIApp, Message, Receive, Scope, Send

METHODS = "GET, HEAD, POST, PUT, DELETE"
MAY_SEND = "Authorization, Content-Type, Idempotency-Key"
MAY_READ = "Location, Retry-After, WWW-Authenticate, X-Model-Version, X-Promotion-Seq"
KEPT_S = "600"


class Cors:
    """Answers the question that a browser asks before a page's request, and lets the page read the answer."""

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; without a named origin, as if this layer were not there."""
        if scope["type"] != "http" or not self._origins:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin", b"").decode("latin-1").lower()
        allowed = origin if origin in self._origins else None
        if allowed is not None and scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await self._preflight(allowed)(scope, receive, send)
            return
        await self._app(scope, receive, _readable(send, allowed))

    def _preflight(self, origin: str) -> Response:
        return Response(
            status_code=204,
            headers={
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Methods": METHODS,
                "Access-Control-Allow-Headers": MAY_SEND,
                "Access-Control-Max-Age": KEPT_S,
                "Vary": "Origin",
            },
        )


def _readable(send: Send, origin: str | None) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.add_vary_header("Origin")
            if origin is not None:
                headers["Access-Control-Allow-Origin"] = origin
                headers["Access-Control-Expose-Headers"] = MAY_READ
        await send(message)

    return sending
