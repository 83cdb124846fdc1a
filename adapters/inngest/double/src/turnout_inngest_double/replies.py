"""The shapes of answers that several routes share."""

from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from turnout_inngest_double.engine import Engine

MAX_BODY = 24 * 1024 * 1024


class BadBody(Exception):
    """A request's body that cannot be read."""


def reply(body: Any, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(body), status, media_type="application/json")


def v2_error(status: int, code: str, message: str) -> Response:
    """An error in the shape of the v2 API."""
    return reply({"errors": [{"code": code, "message": message}]}, status)


def engine_of(request: Request) -> Engine:
    """The engine behind the application."""
    engine = request.app.state.engine
    assert isinstance(engine, Engine)
    return engine


async def body_of(request: Request, limit: int = MAX_BODY) -> bytes:
    """The request's body; BadBody when it is longer than the limit."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise BadBody(f"the request is larger than {limit} bytes")
    return bytes(body)


async def json_of(request: Request) -> Any:
    """The request's body as JSON; BadBody when it is not."""
    body = await body_of(request)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadBody(f"invalid JSON: {error}") from error
