"""Presence: a stream of server-sent events that says a worker is there.

The vendor's CLI only keeps it open. A worker that adds `?owner=<name>` also hears `moved` events
with the ids of runs that changed, and its runs end when it stays away.
"""

import asyncio
from collections.abc import AsyncIterator

from starlette.responses import Response, StreamingResponse

from turnout_triggerdev_double.server import engine
from turnout_triggerdev_double.server.wiring import ApiCall
from turnout_triggerdev_double.server.world import OfflineWorld

BEAT = 4.0
GRACE = 3_000
"""How long in milliseconds a worker may be away before its runs are cancelled."""
GRACE_AFTER_START = 15_000


def presence(call: ApiCall) -> Response:
    """`GET /engine/v1/dev/presence`."""
    owner = call.query.get("owner")
    stream = _events(call.world, call.env.id, owner)
    return StreamingResponse(stream, media_type="text/event-stream")


async def _events(world: OfflineWorld, env: str, owner: str | None) -> AsyncIterator[str]:
    _arrive(world, env, owner)
    listener = world.notices.listen(env) if owner else asyncio.Queue[str]()
    try:
        yield "event: start\ndata: {}\n\n"
        while not world.stopping.is_set():
            try:
                async with asyncio.timeout(BEAT):
                    moved = [await listener.get()]
            except TimeoutError:
                yield f"event: time\ndata: {world.now()}\n\n"
                continue
            while not listener.empty():
                moved.append(listener.get_nowait())
            yield "".join(f"event: moved\ndata: {run}\n\n" for run in dict.fromkeys(moved) if run)
    finally:
        world.notices.leave(env, listener)
        _leave(world, env, owner)


def _arrive(world: OfflineWorld, env: str, owner: str | None) -> None:
    world.connected[env] += 1
    if owner:
        world.owners[owner] += 1


def _leave(world: OfflineWorld, env: str, owner: str | None) -> None:
    world.connected[env] -= 1
    if owner:
        world.owners[owner] -= 1
        expect(world, owner, GRACE)


def expect(world: OfflineWorld, owner: str, grace: int) -> None:
    """Cancel the owner's runs, unless it is connected again by then."""
    world.alarms.at(world.now() + grace, lambda: _give_up(world, owner))


def _give_up(world: OfflineWorld, owner: str) -> None:
    if world.owners[owner] > 0 or world.stopping.is_set():
        return
    for run in list(world.runs.values()):
        if run.owner == owner and run.execution_status != "FINISHED":
            engine.worker_gone(world, run)
