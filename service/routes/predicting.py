"""`POST /predict`: what images show, from the version in force or another."""

import asyncio
import json
from concurrent.futures import Executor
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from model.served import Prediction
from service.asking import Parts, PredictQuery, media_type
from service.intake.room import Share
from service.intake.uploads import Part, read_body, read_form
from service.predicting.predictor import Answered, Wanted
from service.problems import Problem, unreadable, wrong
from service.schemas import NUMBER, PredictBody
from service.setting_groups import BYTES_PER_MB, LimitSettings

router = APIRouter(tags=["predict"])

FORM_FIELDS = frozenset({"images"})

MOST_LABELS_ON_THE_LOOP = 2000
"""An answer of more labels is written in a thread: so many take a few milliseconds, for which nobody else is served."""

IMAGES = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
                    },
                    "additionalProperties": False,
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}

WHO_SAYS_SO = {
    "X-Model-Version": {"description": "the version that answers", "required": True, "schema": NUMBER},
    "X-Promotion-Seq": {
        "description": "the promotion that was in force",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
}


@router.post("/predict", openapi_extra=IMAGES, responses={200: {"model": PredictBody, "headers": WHO_SAYS_SO}})
async def predict(request: Request, parts: Parts, query: Annotated[PredictQuery, Query()]) -> Response:
    """What the images show. The version that says so stands in the answer and in its headers."""
    if query.version is not None and query.alias is not None:
        raise wrong("alias", "a version is named already; only one of the two can be")
    predictor, wanted = parts.predictor, Wanted(query.version, query.alias)
    predictor.check_room()
    with predictor.room.share() as share:
        images = await read_images(request, parts.settings.limits, share)
        answered = await predictor.predict(images, query.top_k, wanted)
        return await response(answered, query.top_k, parts.writers)


async def read_images(request: Request, limits: LimitSettings, share: Share) -> list[bytes]:
    """The bytes of every image, of a form or of the body itself.

    Raises Problem: 400, 413, 415 or 422 where there is no image or too many, 429 where the memory is full.
    """
    most_bytes = limits.predict_mb * BYTES_PER_MB
    if media_type(request) != "multipart/form-data":
        return [await read_raw(request, most_bytes, share)]
    form = await read_form(request, most_bytes, share=share)
    form.refuse_others(FORM_FIELDS)
    images = form.named("images")
    if not images:
        raise wrong("images", "there are no images")
    if len(images) > limits.images_per_predict:
        most = limits.images_per_predict
        raise wrong("images", f"{len(images)} are more than the {most} allowed (limits.images_per_predict)", status=413)
    return [in_memory(part) for part in images]


async def read_raw(request: Request, most_bytes: int, share: Share) -> bytes:
    """The body as one image."""
    kind = media_type(request)
    if kind and kind != "application/octet-stream" and not kind.startswith("image/"):
        raise Problem(415, f"the body must be an image or multipart/form-data, not {kind}")
    data = await read_body(request, most_bytes, share)
    if not data:
        raise unreadable("the body is empty; an image is expected")
    return data


def in_memory(part: Part) -> bytes:
    """The part's bytes; forms of predict requests are never spooled."""
    assert isinstance(part.content, bytes)
    return part.content


async def response(answered: Answered, top_k: int, writers: Executor) -> Response:
    """The answer; made by hand, since checking our own values again costs as much as a small image's decoding."""
    if labels_in(answered, top_k) <= MOST_LABELS_ON_THE_LOOP:
        body = written(answered, top_k)
    else:
        body = await asyncio.get_running_loop().run_in_executor(writers, written, answered, top_k)
    headers = {"X-Model-Version": str(answered.version), "X-Promotion-Seq": str(answered.seq)}
    return Response(body, 200, headers, "application/json")


def labels_in(answered: Answered, top_k: int) -> int:
    """How many labels with their scores the answer holds."""
    return len(answered.predictions) * min(top_k, len(answered.predictions[0].top))


def written(answered: Answered, top_k: int) -> str:
    """The body, prediction by prediction: `json.dumps` of all of them would let no other thread run meanwhile."""
    predictions = ", ".join(json.dumps(shown(one, top_k), ensure_ascii=False) for one in answered.predictions)
    return f'{{"version": {answered.version}, "kind": {json.dumps(answered.kind)}, "predictions": [{predictions}]}}'


def shown(prediction: Prediction, top_k: int) -> dict[str, object]:
    """A prediction as the contract has it; a batch may have been asked for more labels than this request."""
    return {
        "label": prediction.label,
        "score": prediction.score,
        "known": prediction.known,
        "top": [{"label": one.label, "score": one.score} for one in prediction.top[:top_k]],
    }
