"""The probe: a signed look at the service that names no run and changes nothing."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from standardwebhooks.webhooks import Webhook

import turnout
from turnout import Context, task
from turnout.model.protocol import PROTOCOL
from turnout.web.app import asgi

KEY = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
OTHER = "whsec_WllYV1ZVVFNSUVBPTk1MS0pJSEdGRURDQkFmZWRjYmE="
OLD = "0" * 64


@task("work", on="work/wanted")
async def work(ctx: Context, payload: dict[str, Any]) -> None:
    """A task."""
    del ctx, payload


SERVICE = turnout.app("mine", work)


async def probe(
    folder: Path, definition: str, *, key: str = KEY, **settings: str
) -> tuple[int, Mapping[str, Any]]:
    """Send a probe to a service of those settings; the status and the answer."""
    environ = {
        "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/t.db",
        "TURNOUT_SIGNING_KEYS": KEY,
        "ORCHESTRATOR_PROVIDER": "local",
        **settings,
    }
    body = json.dumps({"protocol": PROTOCOL, "op": "probe", "definition": definition})
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "m1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(key).sign("m1", now, body),
    }
    async with turnout.open_turnout(SERVICE, environ) as live:
        transport = httpx.ASGITransport(app=asgi(live))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            answer = await client.post("/turnout/v1/step", content=body, headers=headers)
    return answer.status_code, answer.json()


async def test_a_known_definition_is_answered_with_the_services_time(tmp_path: Path) -> None:
    """The caller learns that the way, the key and the definition are right, and the clock."""
    status, answer = await probe(tmp_path, SERVICE.definition)
    now = datetime.now(UTC).timestamp() * 1_000
    assert status == 200
    assert abs(answer["at"] - now) < 60_000


async def test_another_definition_is_refused_like_in_any_call(tmp_path: Path) -> None:
    """426, so that what a probe says is what a run would meet."""
    status, answer = await probe(tmp_path, OLD)
    assert (status, OLD in answer["message"]) == (426, True)


async def test_an_earlier_definition_is_served_where_the_setting_names_it(tmp_path: Path) -> None:
    """While workers are replaced, those of the version before are still served."""
    status, _ = await probe(tmp_path, OLD, TURNOUT_DEFINITIONS=f"{'1' * 64},{OLD}")
    assert status == 200


async def test_a_wrong_signature_is_refused(tmp_path: Path) -> None:
    """401: the probe is no open door."""
    status, _ = await probe(tmp_path, SERVICE.definition, key=OTHER)
    assert status == 401
