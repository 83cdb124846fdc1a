"""The adapter at the double in this process, or at a few lines that give fixed answers.

Time is the double's: whoever waits turns its clock.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from turnout_triggerdev.caller import TriggerdevCaller
from turnout_triggerdev.plugin import plugin
from turnout_triggerdev_double.server.batching import MADE_AFTER
from turnout_triggerdev_double.server.main import ACCESS_TOKEN, KEYS, PROJECT_REF

from turnout.model.runs import Delivery
from turnout.model.tasks import App, define_task
from turnout.ports.caller import DurableCaller, Surroundings

TASKS = ({"id": "work"}, {"id": "other"}, {"id": "turnout-tick", "triggerSource": "schedule"})


def _collect(_: Any) -> None:
    """Do nothing."""


WORK = define_task("work", steps=[_collect], on="work/asked")


class ServersTime:
    """The double's frozen clock as ours: waiting is turning it."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.slept = 0

    def now(self) -> int:
        return int(self.world.now())

    async def sleep(self, duration: int) -> None:
        self.slept += 1
        due = self.now() + duration
        await asyncio.sleep(0)
        if self.now() < due:
            self.world.clock.turn(due - self.now())
            self.world.alarms.turned()


class StandingTime:
    """A clock that jumps whenever somebody waits."""

    def __init__(self) -> None:
        self.moment = 0

    def now(self) -> int:
        return self.moment

    async def sleep(self, duration: int) -> None:
        await asyncio.sleep(0)
        self.moment += duration


def delivery(number: int, **more: Any) -> Delivery:
    """A delivery of a run that is called by its number."""
    return Delivery(
        **({"run_id": f"r{number}", "task": "work"} | more), number=1, provider="triggerdev"
    )


@asynccontextmanager
async def calling(url: str, clock: Any, **more: str) -> AsyncIterator[DurableCaller]:
    """The adapter, opened as the core opens it."""
    settings = {"TRIGGER_API_URL": url, "TRIGGER_SECRET_KEY": KEYS["dev"], **more}
    surroundings = Surroundings(
        settings=settings,
        app=App(name="shop", tasks=(WORK,)),
        worker=None,
        clock=clock,  # type: ignore[arg-type]
    )
    caller = plugin.open(surroundings)
    try:
        yield caller
    finally:
        await caller.close()


@asynccontextmanager
async def rig(served_with: Any, **more: Any) -> AsyncIterator[tuple[Any, TriggerdevCaller]]:
    """The double with a worker's tasks, and the adapter at it."""
    async with served_with(**more) as server:
        await server.register(*TASKS)
        token = {"TRIGGER_ACCESS_TOKEN": ACCESS_TOKEN, "TRIGGER_PROJECT_REF": PROJECT_REF}
        async with calling(server.url, ServersTime(server.world), **token) as caller:
            assert isinstance(caller, TriggerdevCaller)
            yield server, caller


RUNS_IN = MADE_AFTER / 1_000
"""Seconds until the items of a batch are runs."""


class Oracle:
    """A server that answers everything alike, and remembers what it was asked."""

    def __init__(self, *answers: Response) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str]]] = []

    async def take(self, request: Request) -> Response:
        """Give the next answer; the last one for ever."""
        self.asked.append((request.method, request.url.path, dict(request.headers)))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def app(self) -> Starlette:
        """The server as an application."""
        methods = ["GET", "POST", "DELETE"]
        return Starlette(routes=[Route("/{path:path}", self.take, methods=methods)])
