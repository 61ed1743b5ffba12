"""The BentoML service: Everclass's application in front of all that BentoML would answer by itself.

`bentoml serve service.bento:Everclass` is `everclass serve --no-learner`: it reads the same file and environment.
BentoML loads this module in its main process too, which only looks after the worker: so the application is imported
where it starts.
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import bentoml
from _bentoml_sdk.service import Service  # type: ignore[import-untyped]
from bentoml._internal.utils.analytics import usage_stats
from starlette.applications import Starlette

from service.address import numeric, refuse_open_host
from service.edge.asgi import ASGIApp, Receive, Scope, Send
from service.offered import check_runtime
from service.orphans import die_with_parent
from service.settings import Settings, load_settings


def forbid_tracking() -> None:
    """BentoML would report each start to its makers; it looks at the variable once, possibly before it is set here."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    usage_stats.do_not_track.cache_clear()


class Shell(Starlette):
    """What BentoML mounts: starts the application and stops it with the worker; `inside` is it while it runs."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(lifespan=self._run)
        self.settings = settings
        self.inside: ASGIApp | None = None

    @asynccontextmanager
    async def _run(self, _: Starlette) -> AsyncIterator[None]:
        from service.app import make_app

        logging.getLogger("service").setLevel(logging.INFO)
        service = make_app(self.settings)
        async with service.running():
            self.inside = service.asgi
            yield


class Front:
    """Sends HTTP to the application; what concerns the life of the process goes to BentoML, which passes it on.

    It stands before BentoML's own layers, which would answer 504 after a minute, and keep a timer for every request
    until then: uploads, exports and event streams take their time.
    """

    def __init__(self, app: ASGIApp, shell: Shell) -> None:
        self._bentoml = app
        self._shell = shell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and self._shell.inside is not None:
            await self._shell.inside(scope, receive, send)
        else:
            await self._bentoml(scope, receive, send)


class FrontedService(Service[Any]):  # type: ignore[misc]
    """A BentoML service whose requests the mounted shell answers."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """What BentoML's worker serves."""
        [(shell, _, _)] = self.mount_apps
        assert isinstance(shell, Shell)
        # Imported in the worker alone, which goes on to start uvicorn.
        from service.edge.patience import install

        install(shell.settings.limits)
        return Front(super().to_asgi(is_main), shell)


def tls_options(settings: Settings) -> dict[str, Any]:
    """The certificate as BentoML takes it."""
    if settings.tls.certfile is None:
        return {"enabled": False}
    keyfile = settings.tls.keyfile or settings.tls.certfile
    return {"enabled": True, "certfile": str(settings.tls.certfile), "keyfile": str(keyfile)}


def make_service() -> FrontedService:
    """The service with the settings of file and environment.

    Raises WrongSettings where they cannot be used, or where nothing is installed that runs a version.
    """
    forbid_tracking()
    settings = load_settings().settings
    check_runtime(settings)
    refuse_open_host(settings)
    shell = Shell(settings)

    @bentoml.asgi_app(shell, path="/")
    class Everclass:
        """Learns new image classes, predicts all the while, rolls back to any version."""

        @bentoml.on_startup  # type: ignore[untyped-decorator]
        def started(self) -> None:
            """In the worker: never outlive BentoML's main process."""
            die_with_parent(os.getppid())

    service = bentoml.service(
        name="everclass",
        service_class=FrontedService,
        workers=1,
        http={"host": numeric(settings.host), "port": settings.port},
        ssl=tls_options(settings),
        metrics={"enabled": False},
        logging={"access": {"enabled": False}},
    )(Everclass)
    assert isinstance(service, FrontedService)
    return service


Everclass = make_service()
