"""What a browser shows: the web page at `/`, and the contract at `/docs`. Neither needs anything from elsewhere."""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from service.access.description import without_keys
from service.asking import NoQuery
from service.contract_page import contract_page
from service.problems import Problem

router = APIRouter(include_in_schema=False)

WEB = Path(__file__).parents[1] / "web"
MEDIA = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
INDEX = "index.html"
FILES: Mapping[str, Path] = {path.name: path for path in sorted(WEB.iterdir()) if path.suffix in MEDIA}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
"""Of the page at `/`: its own files alone, no markup out of data, and images that its visitor chose."""


@router.get("/")
def page(query: NoQuery) -> Response:
    """The web page: how things stand, asking, teaching, going back. What it may do, the key says that it is given."""
    return _file(INDEX)


@router.get("/web/{name}")
def page_file(name: str, query: NoQuery) -> Response:
    """One of the files that the page is made of."""
    # Its own places are said from `/` on.
    if name not in FILES or name == INDEX:
        raise Problem(404, f"there is no {name!r} here")
    return _file(name)


@router.get("/openapi.json")
async def openapi(request: Request, query: NoQuery) -> Response:
    """The description of every call, as this server takes it now: with keys or without."""
    asks = request.app.state.assembly.access.ring.asks_for_keys
    return Response(_description(cast(FastAPI, request.app), asks), media_type="application/json")


@router.get("/docs", response_class=HTMLResponse)
async def docs(request: Request, query: NoQuery) -> HTMLResponse:
    """Every call, its parameters and its answers, made from `/openapi.json`."""
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
    return HTMLResponse(_page(cast(FastAPI, request.app)), headers=headers)


@lru_cache(maxsize=2)
def _description(app: FastAPI, asks_for_keys: bool) -> bytes:
    """Made once: anyone may ask for it, as often as he likes."""
    description = app.openapi()
    return json.dumps(description if asks_for_keys else without_keys(description), ensure_ascii=False).encode()


@lru_cache(maxsize=1)
def _page(app: FastAPI) -> str:
    return contract_page(app.openapi())


def _file(name: str) -> Response:
    # A window that the page opened, or that opened it, could otherwise have a copy of the tab's storage.
    headers = {"Content-Security-Policy": POLICY, "Cross-Origin-Opener-Policy": "same-origin"}
    return Response(_bytes(name), media_type=MEDIA[FILES[name].suffix], headers=headers)


@lru_cache(maxsize=len(FILES))
def _bytes(name: str) -> bytes:
    return FILES[name].read_bytes()
