"""`GET /versions/{n}/export`: a version as one archive that runs without Everclass."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.archives.exporting import archive_of
from service.archives.zipping import stream_zip
from service.asking import Nothing, Parts
from service.edge.edge import HEAD
from service.predicting.following import check_servable
from service.routes.versions import Number

router = APIRouter(tags=["versions"])

MEDIA_TYPE = "application/zip"


class ExportQuery(Nothing):
    """How the version is packed."""

    format: Literal["onnx", "safetensors"] = "onnx"


@router.get(
    "/versions/{number}/export",
    response_class=StreamingResponse,
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}},
)
def export_version(number: Number, request: Request, parts: Parts, query: Annotated[ExportQuery, Query()]) -> Response:
    """A zip: with `onnx` a graph with the head put back in, with `safetensors` all parts and the manifest."""
    version = parts.ledger.version(number)
    check_servable(version)
    name = f"everclass-version-{number}-{query.format}"
    headers = {"Content-Disposition": f'attachment; filename="{name}.zip"'}
    if request.scope.get(HEAD):
        return Response(headers=headers, media_type=MEDIA_TYPE)
    entries = archive_of(parts.blobs, version, query.format)
    return StreamingResponse(stream_zip(name, entries), headers=headers, media_type=MEDIA_TYPE)
