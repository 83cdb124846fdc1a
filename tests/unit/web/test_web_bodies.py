"""Bodies of strangers: refused by the headers, and never waited for without end."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response

from turnout.model.protocol import LARGEST_MESSAGE, Probe, Probed
from turnout.web import steps
from turnout.web.steps import StepEndpoint

KEY = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
PROBE = b'{"op":"probe","protocol":1}'


class Probes:
    """A worker that is only probed."""

    async def answer(self, call: Any) -> Any:
        """Answer a probe."""
        assert isinstance(call, Probe)
        return Probed(at=1)


class Sender:
    """One request, whose body comes as the test says; counts how often it was read."""

    def __init__(self, *chunks: bytes, silent: bool = False, **headers: str | None) -> None:
        self.reads = 0
        self._chunks = list(chunks)
        self._silent = silent
        now = datetime.now(UTC)
        signed: dict[str, str | None] = {
            "webhook-id": "m",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(KEY).sign("m", now, b"".join(chunks).decode()),
        }
        signed |= {name.replace("_", "-"): value for name, value in headers.items()}
        self._headers = [
            (name.encode(), value.encode()) for name, value in signed.items() if value is not None
        ]

    async def receive(self) -> dict[str, Any]:
        """Give the next chunk; after the last one be silent, or end."""
        self.reads += 1
        if not self._chunks and self._silent:
            await asyncio.Event().wait()
        chunk = self._chunks.pop(0) if self._chunks else b""
        more = self._silent or bool(self._chunks)
        return {"type": "http.request", "body": chunk, "more_body": more}

    async def post(self, endpoint: StepEndpoint) -> Response:
        """Send it."""
        scope = {"type": "http", "method": "POST", "path": "/", "headers": self._headers}
        return await endpoint.answer(Request(scope, self.receive))


@pytest.fixture
def endpoint() -> StepEndpoint:
    """An endpoint with one key."""
    return StepEndpoint(Probes(), [SecretStr(KEY)])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies have a moment to come."""
    monkeypatch.setattr(steps, "READ_SECONDS", 0.2)


def ago(minutes: float) -> str:
    """Write a time as the header has it."""
    return str(int((datetime.now(UTC) - timedelta(minutes=minutes)).timestamp()))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"webhook_id": None}, 401),
        ({"webhook_timestamp": None}, 401),
        ({"webhook_signature": ""}, 401),
        ({"webhook_timestamp": ago(60)}, 401),
        ({"webhook_timestamp": ago(-60)}, 401),
        ({"webhook_timestamp": "soon"}, 401),
        ({"webhook_timestamp": "nan"}, 401),
        ({"content_length": str(LARGEST_MESSAGE + 1)}, 413),
        ({"content_length": "9" * 5_000}, 413),
    ],
)
async def test_what_the_headers_tell_is_refused_unread(
    endpoint: StepEndpoint, headers: dict[str, str | None], status: int
) -> None:
    """Not a byte of the body is asked for."""
    sender = Sender(b"a", silent=True, **headers)
    answer = await asyncio.wait_for(sender.post(endpoint), 5)
    assert (answer.status_code, sender.reads) == (status, 0)


@pytest.mark.usefixtures("quick")
async def test_a_body_that_does_not_come_is_not_waited_for(endpoint: StepEndpoint) -> None:
    """It is refused as something to send again."""
    answer = await asyncio.wait_for(Sender(b"{", silent=True).post(endpoint), 5)
    assert answer.status_code == 503


async def test_large_bodies_that_hang_do_not_stop_small_calls(endpoint: StepEndpoint) -> None:
    """Only so many are held in memory; a call of the usual size is answered at once."""
    chunk = b"a" * (steps.SMALL + 1)
    senders = [Sender(chunk, chunk, silent=True) for _ in range(2 * steps.LARGE_AT_ONCE)]
    hanging = [asyncio.create_task(sender.post(endpoint)) for sender in senders]
    async with asyncio.timeout(5):
        while sum(sender.reads > 1 for sender in senders) < steps.LARGE_AT_ONCE:
            await asyncio.sleep(0)
    for _ in range(100):  # as many turns as any further sender would need
        await asyncio.sleep(0)
    assert sum(sender.reads > 1 for sender in senders) == steps.LARGE_AT_ONCE
    assert (await asyncio.wait_for(Sender(PROBE).post(endpoint), 5)).status_code == 200
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)


async def test_a_large_body_is_read_and_checked(endpoint: StepEndpoint) -> None:
    """Up to the bound the signature is looked at; beyond it the size is told."""
    blank = b" " * (LARGEST_MESSAGE - len(PROBE))
    assert (await Sender(blank, PROBE).post(endpoint)).status_code == 200
    assert (await Sender(blank, PROBE, b" ").post(endpoint)).status_code == 413
