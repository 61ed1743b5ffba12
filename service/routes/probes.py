"""Probes and metrics, answered in front of BentoML's own."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from service.asking import NoQuery, Parts
from service.metrics import MEDIA_TYPE
from service.predicting.readiness import readiness
from service.problems import Problem
from service.schemas import ReadyBody

router = APIRouter(tags=["probes"])


@router.get("/livez")
async def livez() -> dict[str, bool]:
    """200 while the server's loop turns."""
    return {"live": True}


@router.get("/readyz", responses={200: {"model": ReadyBody}, 503: {"model": ReadyBody}})
async def readyz(parts: Parts) -> Response:
    """200 while a version is loaded, warm and answers; else, and while the server stops, 503. The body says why."""
    ready = await asyncio.to_thread(readiness, parts)
    headers = {} if ready.ready else {"Retry-After": "1"}
    return JSONResponse(ready.model_dump(mode="json"), 200 if ready.ready else 503, headers=headers)


@router.get(
    "/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
)
async def metrics(request: Request, parts: Parts, query: NoQuery) -> Response:
    """Counts, times and states as Prometheus reads them, where the setting `serve.metrics` is on."""
    if not parts.settings.serve.metrics:
        raise Problem(404, "the setting serve.metrics is off")
    return Response(await asyncio.to_thread(parts.metrics.text), media_type=MEDIA_TYPE)
