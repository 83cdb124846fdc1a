"""A bare request to the vendor's ingress, for `scripts/bench/emit.py`: an emit without Turnout."""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx
import restate
import uvicorn
from turnout_dev.supervisor import free_port


@contextlib.asynccontextmanager
async def emitting(
    settings: Mapping[str, str], payload: Mapping[str, Any]
) -> AsyncIterator[Callable[[], Awaitable[object]]]:
    """Send to a handler that does nothing, with an idempotency key of its own each time."""
    service = restate.Service("bench")

    @service.handler("run")
    async def run(_ctx: restate.Context, _payload: dict[str, Any]) -> None:
        """Be invoked."""

    port, keys = free_port(), itertools.count()
    async with served(restate.app([service]), port), httpx.AsyncClient() as client:
        await register(client, settings["RESTATE_ADMIN_URL"], port)
        url = settings["RESTATE_INGRESS_URL"] + "/bench/run/send"

        async def emit() -> None:
            """Send once."""
            key = {"idempotency-key": f"bench-{next(keys)}"}
            (await client.post(url, json=dict(payload), headers=key)).raise_for_status()

        yield emit


@contextlib.asynccontextmanager
async def served(app: Any, port: int) -> AsyncIterator[None]:
    """Serve an application on loopback, in this process."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        # Only with the protocol named does asyncio send small writes at once.
        listening.bind(("127.0.0.1", port))
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield
        finally:
            server.should_exit = True
            await task


async def register(client: httpx.AsyncClient, admin: str, port: int) -> None:
    """Have the server discover the handlers at a port."""
    body = {"uri": f"http://127.0.0.1:{port}", "use_http_11": True, "force": True}
    (await client.post(f"{admin}/deployments", json=body)).raise_for_status()
