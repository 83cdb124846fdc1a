"""What breaks requests on their way: they are refused, lost, doubled, or their answers are."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.responses import Response

Answer = Response | str
"""An answer of its own; or `cut` after the effect, `drop` before it, `double` both at once."""
CONTENT_LENGTH = 1_000
Take = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass(kw_only=True)
class Asked:
    """One request that came, and what it was answered."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    size: int = 0

    @property
    def message(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is none."""
        try:
            found = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return found if isinstance(found, dict) else {}


Fault = Callable[[Asked], Answer | None]


@dataclass(kw_only=True)
class Broken:
    """An application, and what comes between it and its callers."""

    app: Any
    fault: Fault = lambda _asked: None
    asked: list[Asked] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, or let the rest pass as it is."""
        if scope["type"] != "http" or scope["method"] == "GET":
            await self.app(scope, receive, send)
            return
        asked = await _read(scope, receive)
        self.asked.append(asked)
        answer = self.fault(asked)
        if isinstance(answer, Response):
            asked.status = answer.status_code
            await answer(scope, receive, send)
            return
        if answer != "drop":
            times = 2 if answer == "double" else 1
            sends = [_Kept(asked, None if answer == "cut" or at else send) for at in range(times)]
            await asyncio.gather(
                *(self.app(dict(scope), _given(asked.body, receive), each) for each in sends)
            )
        if answer in {"cut", "drop"}:
            await _break_off(send)


class _Kept:
    """Notes what is answered, and passes it on unless nobody shall hear it."""

    def __init__(self, asked: Asked, send: Any) -> None:
        self._asked = asked
        self._send = send

    async def __call__(self, event: MutableMapping[str, Any]) -> None:
        self._asked.status = event.get("status", self._asked.status)
        self._asked.size += len(event.get("body", b""))
        if self._send is not None:
            await self._send(event)


async def _read(scope: Any, receive: Any) -> Asked:
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    headers = {name.decode(): value.decode() for name, value in scope["headers"]}
    return Asked(method=scope["method"], path=scope["path"], headers=headers, body=body)


def _given(body: bytes, receive: Any) -> Take:
    """The body once more, then whatever else comes: that the caller hung up."""
    left = [body]

    async def take() -> MutableMapping[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        found: MutableMapping[str, Any] = await receive()
        return found

    return take


async def _break_off(send: Any) -> None:
    """Promise more bytes than come: the caller sees a connection that broke."""
    headers = [(b"content-length", str(CONTENT_LENGTH).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"{", "more_body": False})


@dataclass(kw_only=True)
class Plan:
    """The faults of tasks: each of a task's first calls gets the next of its answers."""

    left: dict[str, list[Answer]]

    def next(self, task: str) -> Answer | None:
        """The answer to a call of this task; None when it shall pass."""
        answers = self.left.get(task)
        return answers.pop(0) if answers else None

    def met(self, task: str) -> bool:
        """Whether all of a task's faults have been met."""
        return not self.left[task]
