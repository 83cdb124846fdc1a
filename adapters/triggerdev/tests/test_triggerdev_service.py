"""How the stand-in speaks: over kept connections, signed, and again until it is answered."""

import asyncio
import json
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from turnout_triggerdev_double.standin.http_client import HttpClient, NoResponse
from turnout_triggerdev_double.standin.service import EndQuietly, ServiceRefused, StepService

OLD_KEY, NEW_KEY = "whsec_" + "YWFh" * 8, "whsec_" + "YmJi" * 8
MESSAGE = {"op": "advance", "run_id": "r1"}


class Listener:
    """A service that remembers what it heard."""

    def __init__(self, *answers: Response) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.peers: set[Any] = set()
        self._answers = list(answers)

    async def take(self, request: Request) -> Response:
        """Give the next answer, or a good one."""
        self.heard.append((dict(request.headers), await request.body()))
        self.peers.add(request.client)
        return self._answers.pop(0) if self._answers else JSONResponse({"seq": 1})

    def app(self) -> Starlette:
        """The service as an application."""
        return Starlette(routes=[Route("/{path:path}", self.take, methods=["GET", "POST"])])


def refusal(status: int, **body: Any) -> Response:
    """An answer that is not 2xx."""
    return JSONResponse({"code": "no", "message": "because", **body}, status)


async def test_every_key_signs_each_sending_anew(listening: Any) -> None:
    """Keys can be rotated: the service needs to know only one of them."""
    peer = Listener(refusal(503, retry_after_ms=10))
    async with listening(peer.app()) as url, HttpClient(url) as http:
        assert await StepService(http, [OLD_KEY, NEW_KEY]).say(MESSAGE) == {"seq": 1}
    assert [json.loads(body) for _, body in peer.heard] == [MESSAGE, MESSAGE]
    assert len({headers["webhook-id"] for headers, _ in peer.heard}) == 2
    for headers, body in peer.heard:
        for key in (OLD_KEY, NEW_KEY):
            Webhook(key).verify(body, headers)


async def test_a_service_that_is_away_hears_the_message_when_it_is_back(
    listening: Any, port: int
) -> None:
    """No answer is no verdict."""
    peer = Listener()
    async with HttpClient(f"http://127.0.0.1:{port}") as http:
        saying = asyncio.create_task(StepService(http, [OLD_KEY]).say(MESSAGE))
        await asyncio.sleep(0.3)
        assert not saying.done()
        async with listening(peer.app(), port), asyncio.timeout(15):
            assert await saying == {"seq": 1}


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (refusal(409, code="superseded"), EndQuietly, "superseded"),
        (refusal(426), ServiceRefused, "definition_mismatch"),
        (refusal(401, code="unauthorised"), ServiceRefused, "unauthorised"),
        (refusal(413, code="too_large"), ServiceRefused, "too_large"),
    ],
)
async def test_final_answers_are_not_asked_for_again(
    listening: Any, answer: Response, error: type[EndQuietly | ServiceRefused], code: str
) -> None:
    """A refusal is raised at once, with its code."""
    peer = Listener(answer)
    async with listening(peer.app()) as url, HttpClient(url) as http:
        with pytest.raises(error) as refused:
            await StepService(http, [OLD_KEY]).say(MESSAGE)
    assert (refused.value.code, len(peer.heard)) == (code, 1)


async def test_a_message_beyond_the_protocols_size_is_not_sent(listening: Any) -> None:
    """One mebibyte is the limit of a message."""
    peer = Listener()
    async with listening(peer.app()) as url, HttpClient(url) as http:
        with pytest.raises(ServiceRefused):
            await StepService(http, [OLD_KEY]).say({"x": "y" * 1024 * 1024})
    assert peer.heard == []


async def test_connections_are_kept_and_bodies_may_come_in_chunks(listening: Any) -> None:
    """Twenty calls use one connection; a chunked answer is read whole."""

    async def parts() -> Any:
        for part in (b"[1,", b"2", b"]"):
            yield part

    peer = Listener(StreamingResponse(parts()))
    async with listening(peer.app()) as url, HttpClient(url) as http:
        assert (await http.get("/x")).json() == [1, 2]
        for _ in range(20):
            assert (await http.post("/x", {})).fields() == {"seq": 1}
    assert len(peer.peers) == 1


async def test_a_call_that_is_not_answered_in_time_is_told_so(port: int) -> None:
    """Nobody listening, and somebody silent, are the same: no answer."""
    async with HttpClient(f"http://127.0.0.1:{port}") as http:
        with pytest.raises(NoResponse):
            await http.get("/", seconds=2)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with (
        await asyncio.start_server(silent, "127.0.0.1", port),
        HttpClient(f"http://127.0.0.1:{port}") as http,
    ):
        with pytest.raises(NoResponse):
            await http.get("/", seconds=0.1)


async def test_an_answer_that_is_not_http_is_no_answer(port: int) -> None:
    """Garbage is not believed."""

    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"hello\r\n\r\n")

    async with (
        await asyncio.start_server(garbage, "127.0.0.1", port),
        HttpClient(f"http://127.0.0.1:{port}") as http,
    ):
        with pytest.raises(NoResponse):
            await http.get("/", seconds=5)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_final_and_says_what_to_set(listening: Any, status: int) -> None:
    """A signed message goes nowhere else."""
    peer = Listener(Response(status_code=status, headers={"location": "/elsewhere"}))
    async with listening(peer.app()) as url, HttpClient(url) as http:
        with pytest.raises(ServiceRefused, match="TURNOUT_SERVICE_URL"):
            await StepService(http, [NEW_KEY]).say(MESSAGE)
    assert len(peer.heard) == 1


@pytest.mark.parametrize("asked", [0, -5_000, "1"])
async def test_a_wait_of_nothing_is_our_own_growing_pause(listening: Any, asked: Any) -> None:
    """A service that asks for no pause gets one."""
    peer = Listener(*(refusal(503, retry_after_ms=asked) for _ in range(3)))
    began = asyncio.get_running_loop().time()
    async with listening(peer.app()) as url, HttpClient(url) as http:
        await StepService(http, [NEW_KEY]).say(MESSAGE)
    assert asyncio.get_running_loop().time() - began >= 0.05 + 0.1 + 0.2


async def test_a_service_that_is_away_is_told_once(
    listening: Any, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has one line for a call, however often it is tried."""
    async with HttpClient(f"http://127.0.0.1:{port}") as http:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await StepService(http, [NEW_KEY]).say(MESSAGE)
    (line,) = caplog.records
    assert "does not answer" in line.getMessage()
