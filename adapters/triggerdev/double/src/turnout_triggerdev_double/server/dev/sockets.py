"""The CLI's socket: socket.io 4 over one websocket, enough for `run:notify`.

Of engine.io: open, ping, pong, close. Of socket.io: connect to `/dev-worker`, events, disconnect.
A client that cannot use it polls.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
from starlette.websockets import WebSocket, WebSocketDisconnect

from turnout_triggerdev_double.server import access
from turnout_triggerdev_double.server.errors import ApiRefusal
from turnout_triggerdev_double.server.ids import hex_id
from turnout_triggerdev_double.server.records import Environment
from turnout_triggerdev_double.server.world import OfflineWorld

PING_EVERY = 25.0
NAMESPACE = "/dev-worker"


def endpoint(world: OfflineWorld) -> Callable[[WebSocket], Awaitable[None]]:
    """The websocket endpoint over this world."""

    async def serve(socket: WebSocket) -> None:
        try:
            token = access.bearer(socket.headers.get("authorization"))
            env = access.environment_of_key(world, token)
        except ApiRefusal:
            await socket.close(code=4401)
            return
        await socket.accept()
        await _converse(world, env, socket)

    return serve


async def _converse(world: OfflineWorld, env: Environment, socket: WebSocket) -> None:
    opening = {
        "sid": hex_id(10),
        "upgrades": [],
        "pingInterval": int(PING_EVERY * 1000),
        "pingTimeout": 20_000,
        "maxPayload": 1_000_000,
    }
    listener = world.notices.listen(env.id)
    subscribed: set[str] = set()
    beating = asyncio.create_task(_beat(socket))
    telling = asyncio.create_task(_tell(socket, listener, subscribed))
    try:
        await socket.send_text("0" + orjson.dumps(opening).decode())
        while True:
            await _hear(socket, await socket.receive_text(), subscribed)
    except (WebSocketDisconnect, RuntimeError):
        return
    finally:
        world.notices.leave(env.id, listener)
        for task in (beating, telling):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(beating, telling)


async def _hear(socket: WebSocket, text: str, subscribed: set[str]) -> None:
    if text.startswith("40"):
        sid = orjson.dumps({"sid": hex_id(10)}).decode()
        await socket.send_text(f"40{NAMESPACE},{sid}")
    elif text.startswith("42"):
        name, body = _event(text)
        runs = body.get("runFriendlyIds") or []
        if name == "run:subscribe":
            subscribed.update(runs)
        elif name == "run:unsubscribe":
            subscribed.difference_update(runs)


def _event(text: str) -> tuple[str, dict[str, Any]]:
    try:
        name, body = orjson.loads(text[text.index("[") :])
    except ValueError:
        return "", {}
    return str(name), body if isinstance(body, dict) else {}


async def _beat(socket: WebSocket) -> None:
    while True:
        await asyncio.sleep(PING_EVERY)
        await socket.send_text("2")


async def _tell(socket: WebSocket, listener: asyncio.Queue[str], subscribed: set[str]) -> None:
    while True:
        run = await listener.get()
        if run in subscribed:
            event = ["run:notify", {"version": "1", "run": {"friendlyId": run}}]
            await socket.send_text(f"42{NAMESPACE},{orjson.dumps(event).decode()}")
