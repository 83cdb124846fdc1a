"""The vendor's alert webhooks, as its documentation and its source show them."""

import asyncio
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest
from turnout_triggerdev.alerts import SIGNATURE, alerts, secrets_of
from turnout_triggerdev_double.server.clock import FrozenClock

from turnout.errors import Unavailable
from turnout.model.protocol import Report, ReportEvent

NOW = 1_795_199_580_000
RUN = {
    "id": "run_1",
    "number": 7,
    "status": "COMPLETED_WITH_ERRORS",
    "createdAt": "2026-11-20T18:42:00.000Z",
    "isTest": False,
    "tags": ["turnout:r1.2", "task:work"],
    "error": {"message": "boom"},
    "isOutOfMemoryError": False,
    "machine": "small-1x",
    "dashboardUrl": "https://cloud.example.org/runs/run_1",
}


class Taking:
    """A worker's ear for reports."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.away = False

    async def answer(self, call: Report) -> None:
        if self.away:
            raise Unavailable("the store is away")
        self.reports.append(call)


def alert(kind: str = "alert.run.failed", **run: Any) -> dict[str, Any]:
    """An alert of that type."""
    task = {"id": "work", "filePath": "src/trigger/tasks.ts", "version": "20261120.1"}
    found = {"task": task, "run": {**RUN, **run}, "environment": {"id": "e", "type": "PRODUCTION"}}
    made = {"id": "a", "created": "2026-11-20T18:42:01.000Z", "webhookVersion": "v1"}
    return {**made, "type": kind, "object": found}


async def post(taking: Taking, value: Any, *, key: str = "old", **headers: str) -> httpx.Response:
    """Post an alert, signed by the key, to a service that knows two."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    sign = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
    clock: Any = FrozenClock(NOW)
    app = alerts(secrets_of({"TRIGGER_ALERT_WEBHOOK_SECRET": "old, new"}), taking, clock)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        return await client.post("/alerts", content=body, headers={SIGNATURE: sign, **headers})


@pytest.mark.parametrize("key", ["old", "new"])
async def test_a_failed_run_is_reported_as_a_hint(key: str) -> None:
    """The tag names run and delivery; either secret counts while they are changed."""
    taking = Taking()
    answer = await post(taking, alert(), key=key)
    (report,) = taking.reports
    assert answer.status_code == 202
    assert (report.run_id, report.delivery, report.task) == ("r1", 2, "work")
    assert (report.provider_run_id, report.event, report.at) == ("run_1", ReportEvent.FAILED, NOW)


@pytest.mark.parametrize(
    ("status", "event"),
    [("CRASHED", "crashed"), ("SYSTEM_FAILURE", "crashed"), ("TIMED_OUT", "timed_out")],
)
async def test_a_status_has_its_word(status: str, event: str) -> None:
    """A crash is told apart from a failure."""
    taking = Taking()
    await post(taking, alert(status=status))
    assert taking.reports[0].event == event


@pytest.mark.parametrize(
    "value",
    [alert("alert.deployment.success"), alert("alert.error"), alert(tags=[]), alert(tags=["x"])],
)
async def test_other_alerts_and_other_runs_are_taken_and_left(value: Any) -> None:
    """The vendor shall not send them again, and nothing is looked at."""
    taking = Taking()
    assert (await post(taking, value)).status_code == 200
    assert taking.reports == []


@pytest.mark.parametrize("headers", [{SIGNATURE: each} for each in ("", "00", "c3a9")])
async def test_a_wrong_signature_is_refused(headers: dict[str, str]) -> None:
    """Nobody else can make the service look."""
    taking = Taking()
    assert (await post(taking, alert(), **headers)).status_code == 401
    assert (await post(taking, alert(), key="other")).status_code == 401
    assert taking.reports == []


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"{", b"[]", b"{}", b"[" * 200_000, b"[" * 900 + b"]" * 900, b'{"a":' * 100_000),
        *(b"\xff", b'{"type": NaN}', b'{"type": 1e999}', b"9" * 5_000),
        *({"type": "alert.run.failed"}, alert(tags=["turnout:nonsense"])),
        alert(tags=["turnout:r." + "9" * 5_000]),
    ],
    ids=str,
)
async def test_what_is_no_alert_is_refused_by_name(value: Any) -> None:
    """A signed body of another shape is answered, not raised."""
    assert (await post(Taking(), value)).status_code == 400


async def test_a_body_is_bounded() -> None:
    """More than a mebibyte is not read."""
    assert (await post(Taking(), b"x" * (1024 * 1024 + 1))).status_code == 413


async def test_without_a_secret_nothing_is_taken() -> None:
    """An empty secret would let everybody sign."""
    clock: Any = FrozenClock(NOW)
    transport = httpx.ASGITransport(alerts(secrets_of({}), Taking(), clock))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answer = await client.post("/alerts", json=alert())
    assert answer.status_code == 401
    assert "TRIGGER_ALERT_WEBHOOK_SECRET" in answer.json()["message"]


async def test_an_alert_that_cannot_be_taken_is_sent_again() -> None:
    """A store that is away is 503: the vendor tries three times."""
    taking = Taking()
    taking.away = True
    assert (await post(taking, alert())).status_code == 503


async def test_an_unsigned_body_is_not_read() -> None:
    """Its refusal needs no body: not a byte is asked for."""
    clock: Any = FrozenClock(NOW)
    app = alerts(["old"], Taking(), clock)  # type: ignore[arg-type]
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/alerts", "headers": []}
    await app(scope, receive, send)
    assert sent[0]["status"] == 401


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever signs, or says so, has some seconds for the body."""
    monkeypatch.setattr("turnout_triggerdev.alerts.READ_SECONDS", 0.05)
    clock: Any = FrozenClock(NOW)
    app = alerts(["old"], Taking(), clock)  # type: ignore[arg-type]
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(SIGNATURE.lower().encode(), b"00")]
    scope = {"type": "http", "method": "POST", "path": "/alerts", "headers": headers}
    await asyncio.wait_for(app(scope, receive, send), 5)
    assert sent[0]["status"] == 408
