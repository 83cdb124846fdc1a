"""Every signed step call gets an answer that a worker can read, however odd its values."""

import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.routing import Route

import turnout
from turnout import Context, Event, Turnout, task
from turnout.model.protocol import Refusal
from turnout.web.app import asgi
from turnout.web.steps import StepEndpoint

KEY = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
CALL: dict[str, Any] = {
    "op": "advance",
    "task": "waits",
    "delivery": 1,
    "provider_run_id": "p1",
}


@task("waits", on="waits/go")
async def waits(ctx: Context, payload: dict[str, Any]) -> None:
    """Wait, so that the run is still there when it is asked for."""
    del payload
    await ctx.sleep("nap", "1h")


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Turnout]:
    """Open a service on a database of its own."""
    environment = {
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/t.db",
        "TURNOUT_SIGNING_KEYS": KEY,
        "ORCHESTRATOR_PROVIDER": "local",
    }
    async with turnout.open_turnout(turnout.app("odd", waits), environment) as opened:
        yield opened


async def _send(app: Starlette, call: dict[str, Any]) -> httpx.Response:
    body, now = json.dumps(call), datetime.now(UTC)
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(KEY).sign("m1", now, body),
    }
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://here"
    ) as client:
        return await client.post("/turnout/v1/step", content=body, headers=headers)


ODD: list[dict[str, Any]] = [
    {"delivery": 10**30},
    {"delivery": 2**31},
    {"delivery": 0},
    {"provider_attempt": 2**31},
    {"run_id": "a\0b"},
    {"provider_run_id": "a\nb"},
    {"op": "execute", "step": "one", "attempt": 10**30},
    {"op": "execute", "step": "one", "attempt": -1},
    {"op": "execute", "step": "o\0e", "attempt": 1},
    {"op": "park", "seq": 2**63, "token": "t"},
    {"op": "park", "seq": 1, "token": "t\x7f"},
    {"op": "follow", "streamed": 2**31},
    {"op": "follow", "streamed": -1},
    {"op": "report", "event": "failed", "at": 2**63},
    {"op": "report", "event": "failed", "at": -1},
]


async def test_odd_values_are_refused_and_leave_the_run_alone(live: Turnout) -> None:
    """A number beyond its bound, or a control character, is wrong use; the run goes on."""
    app = asgi(live)
    (emitted,) = await live.orchestrator.emit(Event(name="waits/go", payload={}))
    call = {**CALL, "run_id": emitted.runs[0].run_id}
    before = await _send(app, call)
    for odd in ODD:
        answer = await _send(app, {**call, **odd})
        assert answer.status_code == 400, odd
        assert Refusal.model_validate_json(answer.content).code == "wrong_use"
    slot = {"op": "tick", "schedule": "s", "slot": 10**30, "provider": "x", "provider_run_id": "p"}
    assert (await _send(app, slot)).status_code == 400
    assert before.status_code == 200
    assert (await _send(app, call)).json() == before.json()


class _Defective:
    """A worker with a defect that nobody has thought of."""

    async def answer(self, call: Any) -> Any:
        raise ValueError(f"secret of {call.op}")


async def test_a_defect_is_answered_without_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    """The answer to a defect is a `Refusal` that tells nothing; the log tells all."""
    steps = StepEndpoint(_Defective(), [SecretStr(KEY)])
    app = Starlette(routes=[Route("/turnout/v1/step", steps.answer, methods=["POST"])])
    with caplog.at_level(logging.ERROR):
        answer = await _send(app, {**CALL, "run_id": "r1"})
    assert answer.status_code == 500
    assert Refusal.model_validate_json(answer.content).code == "error"
    assert "secret" not in answer.text
    assert "secret of advance" in caplog.text
