"""`POST /turnout/v1/step`: the step protocol over HTTP, the same for every provider."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

from pydantic import SecretStr
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from turnout.errors import (
    DefinitionMismatch,
    FailureLog,
    Refused,
    TooLarge,
    TurnoutError,
    Unauthorised,
    Unavailable,
    UnknownRun,
    UnknownTask,
    WrongUse,
)
from turnout.model.protocol import LARGEST_MESSAGE, Message, Refusal
from turnout.model.protocol_versions import OLDEST
from turnout.ports.worker import Worker
from turnout.web.signature import check_headers, verify
from turnout.web.wire import read_call, write

log = logging.getLogger(__name__)

READ_SECONDS = 20
"""How long a body may take to come."""
SMALL = 64 * 1024
"""Bodies of at most so many bytes never wait for others; nearly all calls are that small."""
LARGE_AT_ONCE = 32
"""How many larger bodies are read at once; others wait unread."""
_TOO_LARGE = f"a step call has at most {LARGEST_MESSAGE:,} bytes"


class StepEndpoint:
    """Checks size, signature, version and shape, then makes the call on the worker."""

    def __init__(self, worker: Worker, keys: Sequence[SecretStr]) -> None:
        self._worker = worker
        self._keys = keys
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def answer(self, request: Request) -> Response:
        """Answer one message; every refusal is a `Refusal` in JSON."""
        with FailureLog(log, "a step call failed", action="step"):
            return await self._answer(request)
        message = "the call failed inside the service; its log says why"
        return _response(500, Refusal(code="error", message=message))

    async def _answer(self, request: Request) -> Response:
        try:
            check_headers(request.headers, self._keys)
            _check_length(request.headers)
            body = await self._read(request)
            verify(body, request.headers, self._keys)
            call = read_call(body)
            return _response(200, await self._worker.answer(call), call.protocol)
        except ClientDisconnect:
            return Response(status_code=499)
        except TurnoutError as error:
            return refusal(error)

    async def _read(self, request: Request) -> bytes:
        """Read the body: bounded in size, in time, and in how many large ones are in memory.

        Unavailable where it does not come in time, so that a caller sends it again.
        """
        try:
            async with asyncio.timeout(READ_SECONDS):
                return await self._read_all(request)
        except TimeoutError:
            message = f"the body did not come within {READ_SECONDS} seconds"
            raise Unavailable(message) from None

    async def _read_all(self, request: Request) -> bytes:
        body = bytearray()
        async with AsyncExitStack() as held:
            async for chunk in request.stream():
                if len(body) <= SMALL < len(body) + len(chunk):
                    await held.enter_async_context(self._large)
                body += chunk
                if len(body) > LARGEST_MESSAGE:
                    raise TooLarge(_TOO_LARGE)
            return bytes(body)


def refusal(error: TurnoutError) -> Response:
    """Translate an error into the protocol's answer."""
    status = _status_of(error)
    if status >= 500:  # noqa: PLR2004 - server errors
        log.warning("step call not answered", extra={"action": "step", "error": str(error)})
    wait = getattr(error, "retry_after", None)
    body = Refusal(
        code=error.code,
        message=str(error)[:2_000],
        retry_after_ms=round(wait.total_seconds() * 1_000) if wait else _default_wait(error),
    )
    return _response(status, body)


_STATUS: Final[tuple[tuple[type[TurnoutError], int], ...]] = (
    (Unauthorised, 401),
    (Refused, 409),
    (DefinitionMismatch, 426),
    (TooLarge, 413),
    (Unavailable, 503),
    (UnknownRun, 404),
    (UnknownTask, 404),
    (WrongUse, 400),
)


def _status_of(error: TurnoutError) -> int:
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def _default_wait(error: TurnoutError) -> int | None:
    return 1_000 if isinstance(error, Unavailable) else None


def _check_length(headers: Mapping[str, str]) -> None:
    """Refuse a body that is announced as too large, before it is read."""
    announced = headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > LARGEST_MESSAGE:
        raise TooLarge(_TOO_LARGE)


def _response(status: int, message: Message | None, protocol: int = OLDEST) -> Response:
    """A refusal is written in the oldest version, which every caller reads."""
    if message is None:
        return Response(status_code=202)
    content = write(message, protocol)
    return Response(content, status_code=status, media_type="application/json")
