"""The HTTP application: every route of the contract, every error a problem, and what lies around them all."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import FrameType
from typing import Any

from fastapi import Depends, FastAPI

from service import problems
from service.access.cors import Cors
from service.access.description import add_security
from service.access.door import Access, Door, authorise
from service.assembly import Assembly
from service.edge.asgi import ASGIApp
from service.edge.edge import Edge, Traffic
from service.metrics import Metrics
from service.predicting.readiness import overruled
from service.release import release
from service.routes import ROUTERS
from service.setting_groups import named
from service.settings import Settings

EVERYWHERE = (
    "Every error is application/problem+json. What is at no path is 404; a method that a path does not have is 405, "
    "with those that it has in Allow."
)
"""What the description says of all calls, and of none alone."""

NOTICE_S = 0.3
"""At least so long readiness says `draining` before the server closes its door."""

log = logging.getLogger(__name__)


def make_app(settings: Settings) -> "Service":
    """The application with these settings; its parts are put together when it starts."""
    return Service(settings)


class Application(FastAPI):
    """FastAPI, with keys in its description."""

    def openapi(self) -> dict[str, Any]:
        """The description of every call; the same object each time."""
        if self.openapi_schema is None:
            add_security(super().openapi())
        assert self.openapi_schema is not None
        return self.openapi_schema


class Service:
    """The FastAPI application, and the layers around it in the order in which a request passes them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics()
        self._traffic = Traffic()
        self.app = Application(
            title="Everclass",
            summary="A model server that keeps learning new image classes and never stops serving.",
            description=EVERYWHERE,
            version=release(),
            lifespan=self._lifespan,
            dependencies=[Depends(authorise)],
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
        )
        routes = [route for router in ROUTERS for route in router.routes]
        problems.install(self.app, routes)
        for router in ROUTERS:
            self.app.include_router(router)
        door = Door(self.app, routes, self._access)
        inside = Cors(door, named(settings.keys.allowed_origins))
        self.asgi: ASGIApp = Edge(inside, self._traffic, self._metrics, settings.limits)

    def _access(self) -> Access:
        assembly: Assembly = self.app.state.assembly
        return assembly.access

    def running(self) -> AbstractAsyncContextManager[object]:
        """Inside the block the parts are together and `asgi` answers, for who does not send ASGI's lifespan events."""
        return self.app.router.lifespan_context(self.app)

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        assembly = await asyncio.to_thread(Assembly.open, self._settings, self._metrics, self._traffic)
        app.state.assembly = assembly
        for sentence in overruled(assembly):
            log.warning("%s", sentence)
        restore = drain_on_sigterm(self._traffic, self._settings.serve.drain_s)
        try:
            yield
        finally:
            restore()
            self._traffic.draining = True
            await asyncio.to_thread(assembly.close)


def drain_on_sigterm(traffic: Traffic, most_s: float) -> Any:
    """On SIGTERM or SIGINT first say so and let requests end, at most `most_s`; then what the server does on it.

    Returns a function that puts things back. Outside the main thread nothing is changed: signals do not reach it.
    """
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {}
    stopping: set[asyncio.Task[None]] = set()

    async def drain(number: int, frame: FrameType | None) -> None:
        await asyncio.sleep(NOTICE_S)
        await traffic.drained(most_s)
        before[number](number, frame)

    def begin(number: int, frame: FrameType | None) -> None:
        if traffic.draining:
            before[number](number, frame)
            return
        traffic.draining = True
        loop.call_soon_threadsafe(lambda: stopping.add(loop.create_task(drain(number, frame))))

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if callable(handler):
            try:
                signal.signal(number, begin)
            except ValueError:
                return restore
            before[number] = handler
    return restore
