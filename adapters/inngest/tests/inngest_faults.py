"""Proxies that break what passes through them: answers that are lost, refused or doubled."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from inngest_lab import free_port, serving
from starlette.requests import Request
from starlette.responses import Response

Fault = Callable[[Request], "Response | str | None"]
"""What to do with a request: answer it so, `cut` after it has had its effect, `drop` it before,
`double` it, `hang`: never answer it; None lets it pass."""


@dataclass(kw_only=True)
class Proxy:
    """Passes requests on to another address, all but those that the fault wants."""

    target: str
    fault: Fault
    port: int = field(default_factory=free_port)
    seen: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        self.seen.append(f"{request.method} {request.url.path}")
        wanted = self.fault(request)
        if isinstance(wanted, Response):
            await wanted(scope, receive, send)
            return
        body = await request.body()
        if wanted == "hang":
            await asyncio.Event().wait()
        if wanted != "drop":
            times = 2 if wanted == "double" else 1
            answers = await asyncio.gather(
                *(self._forward(request, body) for _ in range(times)), return_exceptions=True
            )
            answer = answers[0]
            if wanted != "cut" and isinstance(answer, httpx.Response):
                await _reply(answer)(scope, receive, send)
                return
        # More bytes are promised than come: the client sees a connection that broke.
        headers = [(b"content-length", b"1000"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": False})

    async def _forward(self, request: Request, body: bytes) -> httpx.Response:
        kept = {"host", "content-length", "connection", "accept-encoding"}
        headers = {name: value for name, value in request.headers.items() if name not in kept}
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        async with httpx.AsyncClient(timeout=30) as http:
            return await http.request(
                request.method, self.target + path, headers=headers, content=body
            )


@contextlib.asynccontextmanager
async def proxied(target: str, fault: Fault) -> AsyncIterator[Proxy]:
    """Listen on a port of loopback, and pass on to the target."""
    proxy = Proxy(target=target, fault=fault)
    async with serving(proxy, proxy.port):
        yield proxy


def first(count: int, path: str, fault: "Response | str") -> Fault:
    """Break the first few requests to a path, counted."""
    left = [count]

    def wanted(request: Request) -> "Response | str | None":
        if not request.url.path.startswith(path) or not left[0]:
            return None
        left[0] -= 1
        return fault

    return wanted


def _reply(answer: httpx.Response) -> Response:
    dropped = {"content-length", "content-encoding", "transfer-encoding", "connection", "date"}
    headers = {name: value for name, value in answer.headers.items() if name not in dropped}
    return Response(answer.content, answer.status_code, headers=headers)
