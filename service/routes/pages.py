"""`/docs`: the contract as a page that needs nothing from elsewhere. The web page at `/` is not part of this module."""

import json
from functools import lru_cache
from typing import cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from service.access.description import without_keys
from service.asking import NoQuery
from service.contract_page import contract_page

router = APIRouter(include_in_schema=False)


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
