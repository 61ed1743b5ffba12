"""`/docs`: the contract as a page that needs nothing from elsewhere. The web page at `/` is not part of this module."""

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from service.access.description import without_keys
from service.asking import NoQuery
from service.contract_page import contract_page

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def openapi(request: Request, query: NoQuery) -> JSONResponse:
    """The description of every call, as this server takes it now: with keys or without."""
    description = request.app.openapi()
    asks = request.app.state.assembly.access.ring.asks_for_keys
    return JSONResponse(description if asks else without_keys(description))


@router.get("/docs", response_class=HTMLResponse)
async def docs(request: Request, query: NoQuery) -> HTMLResponse:
    """Every call, its parameters and its answers, made from `/openapi.json`."""
    headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
    return HTMLResponse(contract_page(request.app.openapi()), headers=headers)
