"""The stand-in beside a service whose clock is another one: it asks seldom, and gets there."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from turnout_triggerdev_double.standin.http_client import HttpClient
from turnout_triggerdev_double.standin.loop import Identity, drive
from turnout_triggerdev_double.standin.messages import read_next
from turnout_triggerdev_double.standin.pauses import Pauses
from turnout_triggerdev_double.standin.service import StepService

KEY = "whsec_" + "YWFh" * 8
DONE = {"seq": 99, "state": "completed"}
IDENTITY = Identity(
    task="work",
    definition="d",
    run_id="r1",
    delivery=1,
    provider_run_id="run_1",
    provider_attempt=1,
)


class Noting:
    """A vendor's run that notes how long it was to sleep, and sleeps not at all."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.tokens: list[str] = []

    async def new_token(self, key: str, until_ms: int) -> str:
        """Name the token by its key."""
        self.tokens.append(key)
        return key

    async def wait(self, token: str) -> None:
        """End at once, as a token whose time is past."""

    async def sleep(self, seconds: float) -> None:
        """Note it."""
        self.slept.append(seconds)

    @asynccontextmanager
    async def step_span(self, label: str) -> AsyncIterator[dict[str, Any]]:
        """Show nothing."""
        yield {}

    def progress(self, progress: dict[str, Any]) -> None:
        """Show nothing."""


async def driven(listening: Any, park: dict[str, Any], times: int) -> Noting:
    """Drive a run that gets this wait so often, then its end."""
    advances = 0

    async def take(request: Request) -> Response:
        nonlocal advances
        if (await request.json())["op"] == "park":
            return JSONResponse({"go": True})
        advances += 1
        waits = {"seq": 1, "state": "running", "run": [], "park": park}
        return JSONResponse(waits if advances <= times else DONE)

    host = Noting()
    app = Starlette(routes=[Route("/{path:path}", take, methods=["POST"])])
    async with listening(app) as url, HttpClient(url) as http:
        await drive(IDENTITY, StepService(http, [KEY]), host)
    return host


async def test_a_clock_ahead_of_the_services_makes_no_storm(listening: Any) -> None:
    """A sleep that is over here and not there is looked at ever more seldom."""
    past = time.time_ns() // 1_000_000 - 10_000
    host = await driven(listening, {"until": past, "reasons": ["sleep"]}, 12)
    doubled = [0.005 * 2**each for each in range(9)]
    assert host.slept == [*doubled, 2.0, 2.0, 2.0]


async def test_tokens_that_end_at_once_make_no_storm(listening: Any) -> None:
    """A vendor whose clock is ahead ends a wait that the service still has."""
    host = await driven(listening, {"until": 1, "reasons": ["event"]}, 4)
    assert host.slept == [0.01, 0.02, 0.04]
    assert host.tokens == ["r1.1.1", "r1.1.1.1", "r1.1.1.2", "r1.1.1.3"]


def test_another_answer_and_a_long_wait_begin_again() -> None:
    """Only the same answer, soon after, makes the pause grow."""
    now = 0.0
    pauses = Pauses(lambda: now)
    one, other = (read_next({"seq": each, "state": "running"}) for each in (1, 2))
    assert [pauses.least(one, 0.05) for _ in range(3)] == [0.05, 0.1, 0.2]
    assert pauses.is_repeated
    assert pauses.least(other, 0.05) == 0.05
    now = 60.0
    assert pauses.least(other, 0.05) == 0.05
    assert not pauses.is_repeated


def test_a_start_without_a_label_is_shown_by_its_step_and_attempt() -> None:
    """The service's label has the number in it already; nothing is added to it."""
    run = [{"step": "load", "attempt": 2}, {"step": "a", "attempt": 3, "label": "a #3"}]
    found = read_next({"seq": 1, "state": "running", "run": run})
    assert [each.label for each in found.run] == ["load #2", "a #3"]
