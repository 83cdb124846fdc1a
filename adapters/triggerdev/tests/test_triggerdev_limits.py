"""The stand-in and a server's rate limits: what is refused is asked again, when it may be."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from turnout_triggerdev_double.standin.http_client import HttpAnswer, HttpClient
from turnout_triggerdev_double.standin.limits import pause_of
from turnout_triggerdev_double.standin.server import VendorServer

NOW = 1_795_199_580


class Limiting:
    """A server that gives these answers first, then good ones; it notes when it was asked."""

    def __init__(self, *answers: Response) -> None:
        self.asked: list[tuple[str, float]] = []
        self._answers = list(answers)

    async def take(self, request: Request) -> Response:
        """Note the request and answer it."""
        self.asked.append((request.url.path, time.monotonic()))
        good = {"id": "waitpoint_1", "execution": {}, "dequeuedMessages": []}
        return self._answers.pop(0) if self._answers else JSONResponse(good)

    def app(self) -> Starlette:
        """The server as an application."""
        return Starlette(routes=[Route("/{path:path}", self.take, methods=["GET", "POST", "PUT"])])


@asynccontextmanager
async def connected(listening: Any, limiting: Limiting) -> AsyncIterator[VendorServer]:
    """A stand-in's connection to that server."""
    async with listening(limiting.app()) as url, HttpClient(url) as http:
        yield VendorServer(http, "proj_x", "me")


def limited(seconds: float) -> Response:
    """The recorded refusal of a 4.5.12 server, condensed."""
    reset = str(int((time.time() + seconds) * 1000))
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    body = {"title": "Rate Limit Exceeded", "status": 429, "secondsUntilReset": seconds}
    return JSONResponse(body, 429, headers)


async def test_a_refused_call_is_made_again_after_the_reset(listening: Any) -> None:
    """429 is no refusal of what was asked: the caller gets the answer, later."""
    limiting = Limiting(limited(0.4), limited(0.4))
    async with connected(listening, limiting) as server:
        assert await server.new_token("k", NOW * 1000) == "waitpoint_1"
    times = [at for _, at in limiting.asked]
    assert len(times) == 3
    assert all(after - before >= 0.4 for before, after in pairwise(times))


async def test_other_calls_wait_too_but_for_those_of_another_bucket(listening: Any) -> None:
    """The server counts `/api` and `/engine` apart; within one, nobody asks in vain."""
    limiting = Limiting(limited(1.0))
    async with connected(listening, limiting) as server:
        refused = asyncio.create_task(server.new_token("k", NOW * 1000))
        while not limiting.asked:
            await asyncio.sleep(0.01)
        await server.latest("run_1")
        await server.new_token("k2", NOW * 1000)
        await refused
    paths = [path for path, _ in limiting.asked]
    assert paths[1] == "/engine/v1/dev/runs/run_1/snapshots/latest"
    (_, began), *_, (_, third), (_, last) = limiting.asked
    assert len(limiting.asked) == 4
    assert min(third, last) - began >= 1.0


async def test_after_the_last_call_allowed_the_next_one_waits(listening: Any) -> None:
    """What `x-ratelimit-remaining: 0` says is believed before a 429 comes."""
    reset = str(int((time.time() + 1.5) * 1000))
    headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
    limiting = Limiting(JSONResponse({"id": "waitpoint_1"}, 200, headers))
    async with connected(listening, limiting) as server:
        for key in ("a", "b"):
            await server.new_token(key, NOW * 1000)
    (_, first), (_, second) = limiting.asked
    assert second > first
    assert time.time() * 1000 >= int(reset)


DATE = formatdate(NOW, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"retry-after": "7"}, b"{}", 7),
        ({"retry-after": "soon"}, b"{}", 5),
        ({}, b'{"secondsUntilReset": 2.5}', 2.5),
        ({"x-ratelimit-reset": f"{NOW + 3}000", "date": DATE}, b"{}", 3),
        ({"x-ratelimit-reset": f"{NOW + 3600}000", "date": DATE}, b"{}", 60),
        ({"x-ratelimit-reset": f"{NOW - 9}000", "date": DATE}, b"{}", 0.2),
        ({}, b"Too many", 5),
        ({}, b'{"secondsUntilReset": true}', 5),
    ],
)
def test_the_pause_is_what_the_server_says_within_bounds(
    headers: dict[str, str], body: bytes, seconds: float
) -> None:
    """Retry-After, the body, the reset by the server's own clock, in this order; at most 60 s."""
    assert pause_of(HttpAnswer(status=429, body=body, headers=headers)) == seconds
