"""What the adapter makes of a server's answers, one request at a time, on a scripted transport."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from turnout_testing.clock import TurnableClock
from turnout_triggerdev.api import Api
from turnout_triggerdev.caller import BATCH, CANCEL_IN, TriggerdevCaller
from turnout_triggerdev.definition import TICK_TASK
from turnout_triggerdev.schedules import VendorSchedules
from turnout_triggerdev.settings import TriggerdevSettings

from turnout.errors import ProviderRefused, ProviderUnavailable
from turnout.model.schedules import Schedule
from turnout.model.status import DeliveryState
from turnout.model.tasks import Task, app, task
from turnout.ports.caller import Surroundings
from turnout.ports.listing import Lists

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))

from triggerdev_peer import delivery

SETTINGS = TriggerdevSettings(api_url="http://server.test", secret_key="tr_dev_key")
Script = Callable[[httpx.Request], httpx.Response]


def scripted(api: Api, script: Script) -> Api:
    """Let a script answer all requests."""
    api._http = httpx.AsyncClient(base_url=SETTINGS.api_url, transport=httpx.MockTransport(script))
    return api


def scripted_caller(
    script: Script, clock: TurnableClock | None = None, *tasks: Task
) -> TriggerdevCaller:
    """Make an adapter whose requests a script answers."""
    worker: Any = None
    surroundings = Surroundings(
        settings={}, app=app("shop", *tasks), worker=worker, clock=clock or TurnableClock()
    )
    caller = TriggerdevCaller(surroundings, SETTINGS)
    scripted(caller._api, script)
    return caller


@pytest.mark.parametrize("status", [408, 409, 500, 502, 503, 504])
async def test_what_may_pass_is_not_refused_for_good(status: int) -> None:
    """A timeout, a conflict and a server's fault are tried again."""
    api = scripted(Api(SETTINGS, TurnableClock()), lambda _: httpx.Response(status, json={}))
    with pytest.raises(ProviderUnavailable):
        await api.post("/api/v1/x", {})


@pytest.mark.parametrize("status", [400, 401, 403, 405, 413, 422])
async def test_what_will_not_pass_is_refused(status: int) -> None:
    """The same request would be refused again."""
    api = scripted(Api(SETTINGS, TurnableClock()), lambda _: httpx.Response(status, json={}))
    with pytest.raises(ProviderRefused):
        await api.post("/api/v1/x", {})


@pytest.mark.parametrize(
    ("status", "advice", "error"),
    [
        (409, "false", ProviderRefused),
        (500, "false", ProviderRefused),
        (400, "true", ProviderUnavailable),
        (422, "true", ProviderUnavailable),
        (500, "perhaps", ProviderUnavailable),
    ],
)
async def test_the_servers_advice_comes_before_its_status(
    status: int, advice: str, error: type[Exception]
) -> None:
    """`x-should-retry` says whether the same request may succeed later."""
    answer = httpx.Response(status, json={}, headers={"x-should-retry": advice})
    api = scripted(Api(SETTINGS, TurnableClock()), lambda _: answer)
    with pytest.raises(error):
        await api.post("/api/v1/x", {})


@pytest.mark.parametrize("pages", [1, 2, 5])
async def test_every_page_of_a_list_is_read_once(pages: int) -> None:
    """The last one, too; none beyond it."""
    requested: list[int] = []

    def script(request: httpx.Request) -> httpx.Response:
        page = int(request.url.params["page"])
        requested.append(page)
        listing = {"data": [{"id": f"s{page}"}], "pagination": {"totalPages": pages}}
        return httpx.Response(200, json=listing)

    api = scripted(Api(SETTINGS, TurnableClock()), script)
    items = [item["id"] async for item in api.pages("/api/v1/schedules")]
    assert items == [f"s{page}" for page in range(1, pages + 1)]
    assert requested == list(range(1, pages + 1))


DELIVERIES = [delivery(number) for number in range(BATCH + 2)]


@pytest.mark.parametrize("receipt", [{"sealed": False}, {}, {"sealed": None}])
async def test_a_batch_that_is_not_sealed_was_not_accepted(receipt: dict[str, Any]) -> None:
    """Every delivery of it is sent again; the next batch stands for itself."""
    begun: list[int] = []

    def script(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/api/v3/batches":
            begun.append(json.loads(request.content)["runCount"])
            return httpx.Response(200, json={"id": f"batch_{len(begun)}"})
        is_first = "batch_1" in request.url.path
        return httpx.Response(200, json=receipt if is_first else {"sealed": True})

    delivered = await scripted_caller(script)._send(DELIVERIES)
    assert begun == [BATCH, 2]
    assert [answer.key for answer in delivered] == [sent.key for sent in DELIVERIES]
    assert all(isinstance(answer.error, ProviderUnavailable) for answer in delivered[:BATCH])
    assert all(answer.error is None for answer in delivered[BATCH:])


@pytest.mark.parametrize(
    ("statuses", "confirmed"),
    [
        (["EXECUTING"], False),
        (["QUEUED"], False),
        (["WAITING"], False),
        (["CANCELED"], True),
        (["EXECUTING", "EXECUTING", "CANCELED"], True),
        (["COMPLETED"], True),
    ],
)
async def test_a_cancel_is_confirmed_only_by_an_end(statuses: list[str], confirmed: bool) -> None:
    """The server accepts a cancel before it takes effect: an accepted one confirms nothing."""
    clock, answers = TurnableClock(), list(statuses)

    def script(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json={"id": "run_1"})
        status = answers.pop(0) if len(answers) > 1 else answers[0]
        return httpx.Response(200, json={"status": status})

    claimed = delivery(1, state=DeliveryState.CLAIMED, provider_run_id="run_1")
    stopping = asyncio.create_task(scripted_caller(script, clock).stop(claimed))
    while not stopping.done():
        await asyncio.sleep(0.001)
        await clock.skip()
    assert await stopping is confirmed
    assert clock.now() <= TurnableClock().now() + CANCEL_IN


@pytest.mark.parametrize(
    ("stands", "active", "paused", "changes"),
    [
        (False, False, True, []),
        (False, False, False, ["POST /api/v1/schedules"]),
        (True, True, True, ["POST /api/v1/schedules/sched_1/deactivate"]),
        (True, False, False, ["POST /api/v1/schedules/sched_1/activate"]),
        (True, False, True, []),
        (True, True, False, []),
    ],
)
async def test_a_paused_schedule_does_not_fire(
    stands: bool, active: bool, paused: bool, changes: list[str]
) -> None:
    """It is not created, since a new schedule is active at once; a standing one is deactivated."""
    requests: list[str] = []
    standing = {
        "id": "sched_1",
        "deduplicationKey": "turnout:dev:shop:daily",
        "task": TICK_TASK,
        "externalId": "daily",
        "generator": {"expression": "30 7 * * *"},
        "timezone": "UTC",
        "window": "0m",
        "active": active,
    }

    def script(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            if request.url.path.endswith("/timezones"):
                return httpx.Response(200, json={"timezones": ["UTC"]})
            return httpx.Response(200, json={"data": [standing] if stands else []})
        requests.append(f"{request.method} {request.url.path}")
        return httpx.Response(200, json={"id": "sched_1"})

    api = scripted(Api(SETTINGS, TurnableClock()), script)
    daily = Schedule(id="daily", cron="30 7 * * *", zone="UTC", task="t", paused=paused)
    await VendorSchedules(api, SETTINGS, "shop").arm([daily])
    assert requests == changes


async def _hook(_: Any, payload: Any) -> None:
    """Do nothing."""


async def test_the_runs_of_failure_hooks_are_listed_too() -> None:
    """A hook's run is a vendor run under a task id of its own."""
    filters: list[str] = []

    def script(request: httpx.Request) -> httpx.Response:
        filters.append(request.url.params["filter[taskIdentifier]"])
        return httpx.Response(200, json={"data": [], "pagination": {}})

    caller = scripted_caller(script, None, task("t", on_failure=_hook)(_hook))
    assert isinstance(caller, Lists)
    assert await caller.list_runs() == ({}, "")
    assert filters == ["t,t.on-failure"]
