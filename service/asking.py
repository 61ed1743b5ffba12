"""What a route gets from a request: the assembly, a JSON body that was checked, a page's place, who is asking."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from service.access.caller import Caller, caller_of
from service.assembly import Assembly
from service.intake.uploads import read_body
from service.problems import Problem, not_valid
from service.schemas import Base

Body = TypeVar("Body", bound=BaseModel)

BYTES_PER_KB = 1 << 10
CURSOR = re.compile("[0-9]{1,18}")


async def assembly_of(request: Request) -> Assembly:
    """The parts of the service that answers."""
    assembly: Assembly = request.app.state.assembly
    return assembly


Parts = Annotated[Assembly, Depends(assembly_of)]


async def asking_now(request: Request) -> Caller:
    """Who sends this request."""
    return caller_of(request.scope)


Asking = Annotated[Caller, Depends(asking_now)]


class Nothing(BaseModel):
    """A query without parameters."""

    model_config = ConfigDict(extra="forbid")


def checked_cursor(cursor: str) -> str:
    """The cursor, if it may be one."""
    if not CURSOR.fullmatch(cursor):
        raise ValueError("this is not a cursor of this list")
    return cursor


Cursor = Annotated[str, AfterValidator(checked_cursor), Field(json_schema_extra={"pattern": f"^{CURSOR.pattern}$"})]


class Paging(Nothing):
    """Which part of a list; `next` of the last answer is the cursor. Pages of long items hold fewer than `limit`."""

    cursor: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 100


class ClassPaging(Nothing):
    """Which part of the classes, from the `cursor`-th on; all of them where no `limit` is given."""

    cursor: Annotated[int, Field(ge=0, lt=2**31)] = 0
    limit: Annotated[int, Field(ge=1, le=1000)] | None = None


class LearnQuery(Nothing):
    """What a learn request says of its task."""

    task: Annotated[str, Field(max_length=64)] | None = None
    commit: bool = True
    base: Base = None
    promote: Literal["auto", "manual"] | None = None


class CancelQuery(Nothing):
    """Only cancel (`purge=false`), only delete the images that are kept (`true`), or whichever its state allows."""

    purge: bool | None = None


class ForgetQuery(Nothing):
    """Whether everything else that knows the class goes too."""

    purge: bool = False


class PredictQuery(Nothing):
    """How many labels, and whose."""

    top_k: Annotated[int, Field(ge=1, le=1000)] = 5
    version: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    alias: Annotated[str, Field(min_length=1, max_length=64)] | None = None


NoQuery = Annotated[Nothing, Query()]
Page = Annotated[Paging, Query()]
ClassPage = Annotated[ClassPaging, Query()]


def json_body(model: type[Body]) -> Callable[[Request], Awaitable[Body]]:
    """A dependency that reads a body of this model; an empty body is an empty object.

    Raises Problem: 400 no JSON, 413 too long, 415 another content type, 422 not the model.
    """

    async def read(request: Request) -> Body:
        limits = (await assembly_of(request)).settings.limits
        data = await read_body(request, limits.json_kb * BYTES_PER_KB)
        if data and media_type(request) != "application/json":
            raise Problem(415, "the body must be application/json")
        try:
            return model.model_validate_json(data or b"{}")
        except ValidationError as error:
            raise not_valid(error.errors()) from None

    return read


def described(model: type[BaseModel]) -> dict[str, Any]:
    """The body's description for OpenAPI, for a route that reads it by itself."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})
    content = {"application/json": {"schema": _inlined(schema, parts)}}
    return {"requestBody": {"required": bool(schema.get("required")), "content": content}}


def _inlined(value: Any, parts: Mapping[str, Any]) -> Any:
    """Each reference replaced by what it names: OpenAPI looks for references in the whole document, not in a body."""
    if isinstance(value, list):
        return [_inlined(one, parts) for one in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        return _inlined(parts[value["$ref"].rpartition("/")[2]], parts)
    return {key: _inlined(one, parts) for key, one in value.items()}


def media_type(request: Request) -> str:
    """The content type without its parameters, lower case."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()
