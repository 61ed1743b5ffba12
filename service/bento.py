"""The BentoML service: Everclass's application in front of all that BentoML would answer by itself.

`bentoml serve service.bento:Everclass` is `everclass serve --no-learner`: it reads the same file and environment.
"""

import logging
import os

import bentoml
from bentoml._internal.utils.analytics import usage_stats

from service.app import make_app
from service.guard import ASGIApp, Receive, Scope, Send
from service.orphans import die_with_parent
from service.settings import load_settings
from service.supervisor import numeric, refuse_open_host

LONGEST_REQUEST_S = 24 * 3600.0
"""BentoML answers 504 after this; uploads, exports and event streams take their time."""


def forbid_tracking() -> None:
    """BentoML would report each start to its makers; it looks at the variable once, possibly before it is set here."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    usage_stats.do_not_track.cache_clear()


class Front:
    """Sends HTTP to Everclass; what concerns the life of the process goes on to BentoML, which passes it on."""

    def __init__(self, inner: ASGIApp, everclass: ASGIApp) -> None:
        self._inner = inner
        self._everclass = everclass

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        await (self._everclass if scope["type"] == "http" else self._inner)(scope, receive, send)


def make_service() -> "bentoml.Service[object]":
    """The service with the settings of file and environment.

    Raises WrongSettings where they cannot be used.
    """
    forbid_tracking()
    settings = load_settings().settings
    refuse_open_host(settings)
    application = make_app(settings)

    @bentoml.asgi_app(application.app, path="/")
    class Everclass:
        """Learns new image classes, predicts all the while, rolls back to any version."""

        @bentoml.on_startup  # type: ignore[untyped-decorator]
        def started(self) -> None:
            """In the worker: write its log, and never outlive BentoML's main process."""
            logging.getLogger("service").setLevel(logging.INFO)
            die_with_parent(os.getppid())

    service = bentoml.service(
        name="everclass",
        workers=1,
        traffic={"timeout": LONGEST_REQUEST_S},
        http={"host": numeric(settings.host), "port": settings.port},
        metrics={"enabled": False},
        logging={"access": {"enabled": False}},
        tracing={"excluded_urls": ".*"},
    )(Everclass)
    service.add_asgi_middleware(Front, everclass=application.asgi)
    return service


Everclass = make_service()
