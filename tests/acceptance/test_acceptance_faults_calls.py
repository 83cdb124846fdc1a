"""Step calls that must not be answered, and calls that come twice, over HTTP to a real service.

The service runs on an adapter of someone else's whose vendor is this test: it signs, or forges.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from standardwebhooks.webhooks import Webhook

from tests.acceptance.faults_commands import ROOT, SIGNING_KEY, service
from tests.acceptance.faults_ledger import effects_of
from tests.acme_installed import ACME
from turnout import Event, open_turnout
from turnout.model.protocol import LARGEST_MESSAGE

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(100)]

APP = """
import asyncio
from tests.acceptance.faults_app import note
from turnout import app, task

@task("slow", on="calls/go")
async def slow(ctx, payload):
    async def body():
        note(ctx, "begin")
        await asyncio.sleep(0.5)
        return note(ctx, "end")
    first = await ctx.step("body", body)
    await ctx.sleep("nap", "1h")
    return first

calls = app("calls", slow)
"""


@dataclass(kw_only=True)
class Vendor:
    """What a vendor run knows, and how it signs."""

    url: str
    environ: dict[str, str]
    http: httpx.AsyncClient
    signer: Webhook

    async def emitted(self) -> dict[str, Any]:
        """Start a run; what its vendor run would say of itself."""
        calls = _load(self.environ)
        async with open_turnout(calls, self.environ, serve=False) as live:
            (emitted,) = await live.orchestrator.emit(Event(name="calls/go"))
        run_id = emitted.runs[0].run_id
        return {
            "task": "slow",
            "run_id": run_id,
            "delivery": 1,
            "provider_run_id": f"{run_id}.1",
        }

    async def call(self, message: Any, **given: Any) -> httpx.Response:
        """Send a signed message."""
        body = message if isinstance(message, bytes) else orjson.dumps(message)
        return await self.send(body, self.signed(body, **given))

    async def send(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Send a message as it is."""
        return await self.http.post(f"{self.url}/turnout/v1/step", content=body, headers=headers)

    def signed(self, body: bytes, *, age: float = 0, signer: Webhook | None = None) -> Any:
        """The headers of a message of some seconds ago."""
        at, name = datetime.now(UTC) - timedelta(seconds=age), uuid.uuid4().hex
        return {
            "webhook-id": name,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": (signer or self.signer).sign(name, at, body.decode()),
        }


def _load(environ: dict[str, str]) -> Any:
    namespace: dict[str, Any] = {}
    exec(Path(environ["PYTHONPATH"].partition(":")[0], "calling.py").read_text(), namespace)
    return namespace["calls"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A service, whose vendor is not there: nobody but the test calls."""
    folder = tmp_path_factory.mktemp("calls")
    (folder / "calling.py").write_text(APP)
    environ = {
        "ORCHESTRATOR_PROVIDER": "acme",
        "ACME_URL": "http://127.0.0.1:1",
        "ACME_KEY": "key",
        "TURNOUT_DATABASE_URL": f"sqlite:///{folder / 'run-store.db'}",
        "TURNOUT_ARTIFACTS": "none",
        "TURNOUT_SIGNING_KEYS": SIGNING_KEY,
        "FAULTS_EFFECTS": str(folder / "effects"),
        "PYTHONPATH": f"{folder}:{ACME}:{ROOT}",
    }
    with service("calling:calls", environ) as url:
        yield url, environ


@pytest.fixture
async def vendor(
    served: tuple[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Vendor]:
    """The vendor's part of one test."""
    url, environ = served
    monkeypatch.syspath_prepend(str(ACME))
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        yield Vendor(url=url, environ=environ, http=http, signer=Webhook(SIGNING_KEY))


OTHER = Webhook("whsec_" + "A" * 40)


async def test_a_forged_or_stale_call_is_refused(vendor: Vendor) -> None:
    """Without a right and fresh signature nothing is claimed; the answer tells no secret."""
    run = await vendor.emitted()
    body = orjson.dumps({**run, "op": "advance"})
    right = vendor.signed(body)
    forged = {
        "no signature": (body, {}),
        "another key": (body, vendor.signed(body, signer=OTHER)),
        "ten minutes old": (body, vendor.signed(body, age=600)),
        "ten minutes ahead": (body, vendor.signed(body, age=-600)),
        "another body": (body.replace(b'"delivery":1', b'"delivery":2'), right),
        "another time": (body, {**right, "webhook-timestamp": str(int(time.time()) + 1)}),
        "a signature that is none": (body, {**right, "webhook-signature": "v1,%%%"}),
        "a time that is none": (body, {**right, "webhook-timestamp": "yesterday"}),
    }
    for name, (sent, headers) in forged.items():
        answer = await vendor.send(sent, headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised"), name
        assert SIGNING_KEY not in answer.text
    async with open_turnout(_load(vendor.environ), vendor.environ, serve=False) as live:
        (delivery,) = await live.store.deliveries.read(run["run_id"])
    assert delivery.claimed_at is None


async def test_a_replayed_call_changes_nothing(vendor: Vendor) -> None:
    """A message that is sent again is answered again; its step runs once."""
    run = await vendor.emitted()
    await vendor.call({**run, "op": "advance"})
    body = orjson.dumps({**run, "op": "execute", "step": "body", "attempt": 1})
    headers = vendor.signed(body)
    first = await vendor.send(body, headers)
    again = await vendor.send(body, headers)
    assert first.status_code == again.status_code == 200
    assert first.json()["receipt"]["sha256"] == again.json()["receipt"]["sha256"]
    assert _begun(vendor, run) == 1


async def test_two_callers_of_one_step_run_it_once(vendor: Vendor) -> None:
    """One claims; the other hears that it is busy, or what came of it."""
    run = await vendor.emitted()
    await vendor.call({**run, "op": "advance"})
    call = {**run, "op": "execute", "step": "body", "attempt": 1}
    answers = await asyncio.gather(*(vendor.call(call) for _ in range(6)))
    assert {each.status_code for each in answers} == {200}
    outcomes = [each.json()["receipt"]["outcome"] for each in answers]
    assert outcomes.count("completed") >= 1
    assert set(outcomes) <= {"completed", "busy"}
    assert _begun(vendor, run) == 1


BAD: dict[str, tuple[Any, int, str, str]] = {
    "too large": ({"task": "x" * (LARGEST_MESSAGE + 1)}, 413, "too_large", "1,048,576"),
    "no JSON": (b"{'op': 1}", 400, "wrong_use", "not JSON"),
    "no object": (b"[]", 400, "wrong_use", ""),
    "another operation": ({"op": "destroy"}, 400, "wrong_use", "op"),
    "a missing field": ({"op": "advance", "run_id": None}, 400, "wrong_use", "run_id"),
    "a field too many": ({"op": "advance", "admin": True}, 400, "wrong_use", "admin"),
    "a delivery that is none": ({"op": "advance", "delivery": 0}, 400, "wrong_use", "delivery"),
    "another protocol": ({"op": "advance", "protocol": 2}, 426, "definition_mismatch", "2"),
    "another definition": (
        {"op": "advance", "definition": "f" * 64},
        426,
        "definition_mismatch",
        "f" * 64,
    ),
    "another task": ({"op": "advance", "task": "other"}, 426, "definition_mismatch", "'other'"),
    "an unknown run": ({"op": "advance", "run_id": "../up"}, 404, "unknown_run", "../up"),
    "a delivery to come": ({"op": "advance", "delivery": 2}, 409, "superseded", "delivery 2"),
}


async def test_a_call_that_cannot_be_right_names_its_fault(vendor: Vendor) -> None:
    """Each is refused with the protocol's status, a stable code, and the field."""
    run = await vendor.emitted()
    for name, (change, status, code, word) in BAD.items():
        message = change if isinstance(change, bytes) else {**run, **change}
        answer = await vendor.call(message)
        told = answer.json()
        assert (answer.status_code, told["code"]) == (status, code), (name, told)
        assert word in told["message"], (name, told)
        assert len(answer.content) < 4_000, name
    (right,) = [await vendor.call({**run, "op": "advance"})]
    assert right.status_code == 200
    assert [each["step"] for each in right.json()["run"]] == ["body"]


async def test_an_old_delivery_or_another_vendor_run_ends_quietly(vendor: Vendor) -> None:
    """409 superseded, whatever it asks for; the one that holds the run goes on."""
    run = await vendor.emitted()
    assert (await vendor.call({**run, "op": "advance"})).status_code == 200
    second = {**run, "provider_run_id": "another"}
    step = {"op": "execute", "step": "body", "attempt": 1}
    assert _told(await vendor.call({**second, "op": "advance"})) == (409, "superseded")
    assert _told(await vendor.call({**second, **step})) == (409, "superseded")
    async with open_turnout(_load(vendor.environ), vendor.environ, serve=False) as live:
        assert await live.store.deliveries.redeliver(run["run_id"], 1, "acme", live.clock.now())
    for message in ({"op": "advance"}, step, {"op": "park", "seq": 1, "token": "t"}):
        assert _told(await vendor.call({**run, **message})) == (409, "superseded"), message
    moved = {**run, "delivery": 2, "provider_run_id": "newer"}
    assert (await vendor.call({**moved, **step})).status_code == 200
    assert _begun(vendor, run) == 1


async def test_a_cancelled_run_is_told_so(vendor: Vendor) -> None:
    """A vendor run of a cancelled run hears it, or ends quietly; its step never begins."""
    run = await vendor.emitted()
    assert (await vendor.call({**run, "op": "advance"})).status_code == 200
    async with open_turnout(_load(vendor.environ), vendor.environ, serve=False) as live:
        await live.orchestrator.cancel(run["run_id"])
    answer = await vendor.call({**run, "op": "execute", "step": "body", "attempt": 1})
    told = answer.json()
    assert told.get("code") == "cancelled" or told["next"]["state"] == "cancelled", told
    assert _begun(vendor, run) == 0


def _told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def _begun(vendor: Vendor, run: dict[str, Any]) -> int:
    path = Path(vendor.environ["FAULTS_EFFECTS"])
    found = effects_of(path) if path.exists() else []
    return sum(each["what"] == "begin" and each["step"].startswith(run["run_id"]) for each in found)
