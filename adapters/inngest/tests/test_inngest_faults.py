"""What breaks between the service and the server: nothing is lost, nothing runs twice.

Servers and services that are killed, and runs that are started by hand, are tried beside what they
concern: in the tests of the adapter's life, of `connect` and of the doctor.
"""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import inngest_tasks
import pytest
from inngest_faults import first, proxied
from inngest_lab import serving
from inngest_stage import Stage, ended, start, until
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from turnout_inngest.server_clock import ServerClock
from turnout_testing.clock import TurnableClock

import turnout
from turnout import Event, Turnout
from turnout.model.reports import RunReport
from turnout.model.runs import RunFilter
from turnout.model.status import DeliveryState, RunStatus
from turnout.model.time import Millis
from turnout.service.clock import SystemClock

EVENTS = "/e/"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage without anything on it."""
    inngest_tasks.tried.clear()
    return Stage(tmp_path)


def through(stage: Stage, url: str) -> dict[str, str]:
    """The settings that send our requests to the server through a proxy."""
    found = {"INNGEST_BASE_URL": url}
    return (
        found if stage.real and "INNGEST_DEV" not in stage.real else {**found, "INNGEST_DEV": url}
    )


async def completes(live: Turnout, run_id: str, attempts: int = 1) -> RunReport:
    """The run ends well, each of its steps after so many tries."""
    report = await ended(live, run_id)
    assert report.journal.run.state is RunStatus.COMPLETED, report.journal.run
    assert {len(tries) for tries in report.journal.attempts.values()} == {attempts}
    return report


async def vendor_runs(stage: Stage, live: Turnout, run_id: str) -> list[str]:
    """How the vendor runs of a run ended, first started first."""
    found = []
    for delivery in (await live.orchestrator.status(run_id)).deliveries:
        answer = await stage.api.get(f"/v2/runs/{delivery.provider_run_id}")
        found.append(str(answer.json()["data"]["status"]))
    return found


# -- the way to the server ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "drop"])
async def test_a_connection_cut_while_a_run_is_handed_over(stage: Stage, how: str) -> None:
    """Whether the server had taken it or not: it is sent again, and runs once."""
    async with (
        stage.server(),
        proxied(stage.url, first(2, EVENTS, how)) as proxy,
        stage.service(inngest_tasks.everything, **through(stage, proxy.url)) as live,
    ):
        run_ids = [await start(live, "do/plain") for _ in range(5)]
        for run_id in run_ids:
            await completes(live, run_id)
            assert await vendor_runs(stage, live, run_id) == ["COMPLETED"]
        assert len(proxy.seen) > 2


BUSY = Response("slow down", 429)
BUSY_WITH_A_HINT = Response("slow down", 429, {"retry-after": "1"})
BROKEN = Response("<html>oops</html>", 500)
AWAY = Response("", 503, {"retry-after": "1"})
ODD = JSONResponse({"ids": [], "status": 200})


@pytest.mark.parametrize(
    "answer",
    [BUSY, BUSY_WITH_A_HINT, BROKEN, AWAY, ODD],
    ids=["429", "429 1s", "500", "503", "odd"],
)
async def test_a_server_that_refuses_events_for_a_while(stage: Stage, answer: Response) -> None:
    """With a hint and without: later, and once; wakes are events, too."""
    async with (
        stage.server(),
        proxied(stage.url, first(2, EVENTS, answer)) as proxy,
        stage.service(inngest_tasks.everything, **through(stage, proxy.url)) as live,
    ):
        plain = await start(live, "do/plain")
        waiting = await start(live, "do/waiting", {"who": "f"})
        await completes(live, plain)
        await until(lambda: _parked(live, waiting, "event"))
        proxy.fault = first(1, EVENTS, answer)
        await live.orchestrator.emit(Event(name="said/yes", payload={"who": "f"}))
        report = await ended(live, waiting)
        assert report.journal.run.state is RunStatus.COMPLETED


async def test_an_api_that_fails_while_it_is_asked(stage: Stage) -> None:
    """Registration, looking and stopping are tried again; a cancel is confirmed in the end."""
    answers = {"/v2/": BROKEN, "/v1/": BUSY, "/fn/register": AWAY}
    left = dict.fromkeys(answers, 3)

    def fault(request: Request) -> Response | None:
        for path, answer in answers.items():
            if request.url.path.startswith(path) and left[path]:
                left[path] -= 1
                return answer
        return None

    async with (
        stage.server(),
        proxied(stage.url, fault) as proxy,
        stage.service(inngest_tasks.everything, **through(stage, proxy.url)) as live,
    ):
        run_id = await start(live, "do/stoppable", {"who": "x"})
        await until(lambda: _parked(live, run_id, "sleep"))
        left.update(dict.fromkeys(answers, 2))
        await live.orchestrator.cancel(run_id)
        await until(lambda: _stopped(live, run_id))
        assert await vendor_runs(stage, live, run_id) == ["CANCELLED"]


# -- the way to the service -----------------------------------------------------------------------


async def test_every_call_comes_twice_at_once(stage: Stage) -> None:
    """Steps, branches, retries and sleeps: each body runs as often as it should."""

    def fault(request: Request) -> str | None:
        return "double" if request.method == "POST" else None

    target = stage.environ["TURNOUT_SERVICE_URL"]
    async with stage.server(), proxied(target, fault) as proxy:
        given = {"TURNOUT_SERVICE_URL": proxy.url}
        async with stage.service(inngest_tasks.everything, **given) as live:
            run_ids = {
                name: await start(live, f"do/{name}")
                for name in ("plain", "retried", "wide", "asleep")
            }
            for name, run_id in run_ids.items():
                await completes(live, run_id, attempts=3 if name == "retried" else 1)
            assert len(inngest_tasks.tried["shaky"]) == 3
            assert len(inngest_tasks.tried["before"]) == len(inngest_tasks.tried["after"]) == 1


async def test_answers_that_never_arrive(stage: Stage) -> None:
    """The step is done, the server does not know: it calls again, and gets what is recorded."""
    left = [4]

    def fault(request: Request) -> str | None:
        if request.method != "POST" or not left[0]:
            return None
        left[0] -= 1
        return "cut"

    target = stage.environ["TURNOUT_SERVICE_URL"]
    async with stage.server(), proxied(target, fault) as proxy:
        given = {"TURNOUT_SERVICE_URL": proxy.url}
        async with stage.service(inngest_tasks.everything, **given) as live:
            await completes(live, await start(live, "do/plain"))
            assert left == [0]


# -- silence --------------------------------------------------------------------------------------


async def test_a_vendor_run_that_hangs_is_replaced(stage: Stage) -> None:
    """The server calls it running, and it calls for nothing: it is delivered again, and stopped."""
    inngest_tasks.tried.clear()
    hung: list[str] = []

    def fault(request: Request) -> str | None:
        """Hang the first call behind the first step."""
        if request.method != "POST" or hung or "before" not in inngest_tasks.tried:
            return None
        hung.append(request.url.path)
        return "hang"

    target = stage.environ["TURNOUT_SERVICE_URL"]
    async with stage.server(), proxied(target, fault) as proxy:
        given = {"TURNOUT_SERVICE_URL": proxy.url, "TURNOUT_SILENCE": "3s"}
        async with stage.service(inngest_tasks.everything, **given) as live:
            run_id = await start(live, "do/asleep")
            report = await completes(live, run_id)
            assert hung
            *before, last = (each.state.value for each in report.deliveries)
            assert (set(before), last) == ({"superseded"}, "ended")
            assert len(inngest_tasks.tried["before"]) == len(inngest_tasks.tried["after"]) == 1
            old = report.deliveries[0]

            async def stopped() -> bool | None:
                state = (await live.callers["inngest"].look(old)).state
                return state is RunStatus.CANCELLED or None

            await until(stopped)


# -- repetition -----------------------------------------------------------------------------------


async def test_one_event_emitted_many_times_at_once(stage: Stage) -> None:
    """A key starts one run, whoever is first; everyone is told its id."""
    async with stage.server(), stage.service(inngest_tasks.everything) as live:
        event = Event(name="do/plain", payload={}, key=f"once-{stage.port}")
        told = await asyncio.gather(*(live.orchestrator.emit(event) for _ in range(8)))
        (run_id,) = {each[0].runs[0].run_id for each in told}
        await completes(live, run_id)
        assert len(await live.store.runs.find(RunFilter(limit=10))) == 1


async def test_one_delivery_handed_over_many_times_at_once(stage: Stage) -> None:
    """The event's id is the delivery's: whatever the server starts, one vendor run has the run."""
    async with stage.server(), stage.service(inngest_tasks.everything) as live:
        run_id = await start(live, "do/asleep")
        (delivery,) = await until(lambda: _sent(live, run_id))
        caller = live.callers["inngest"]
        await asyncio.gather(*(caller.deliver([delivery]) for _ in range(6)))
        await completes(live, run_id)
        assert len(inngest_tasks.tried["before"]) == 1


# -- time -----------------------------------------------------------------------------------------


class SkewedClock:
    """The system's clock, wrong by so much."""

    def __init__(self, skew: Millis) -> None:
        self._skew = skew
        self._clock = SystemClock()

    def now(self) -> Millis:
        """Tell the wrong time."""
        return self._clock.now() + self._skew

    async def sleep(self, duration: Millis) -> None:
        """Sleep as long as it is."""
        await self._clock.sleep(duration)


@pytest.mark.parametrize(
    ("dates", "offset"),
    [
        (["Thu, 01 Jan 2026 00:01:00 GMT"], 60_500),
        (["Wed, 31 Dec 2025 23:59:00 GMT", "Thu, 01 Jan 2026 09:00:00 GMT"], -59_500),
        (["Thu, 01 Jan 2026 00:00:02 GMT"], 0),
        (["Thu, 01 Jan 2026 00:01:00 -0000"], 0),
        (["Thu, 01 Jan 2099 00:01:00 GMT"], 0),
        (["soon"], 0),
        ([""], 0),
        ([], 0),
    ],
)
async def test_what_a_date_tells(dates: list[str], offset: Millis) -> None:
    """Whole seconds and the way are no skew; nonsense is none either."""
    server_time = ServerClock(TurnableClock())
    headers = [("date", each) for each in dates]
    await server_time.hear(httpx.Response(200, headers=headers))
    assert server_time.offset() == offset


@pytest.mark.parametrize("skew", [60_000, -60_000], ids=["ahead", "behind"])
async def test_a_service_whose_clock_is_a_minute_off(stage: Stage, skew: Millis) -> None:
    """Sleeps, waits and delays take as long as they say, never less, and never the minute more."""
    live = turnout.open_turnout(inngest_tasks.everything, stage.environ, clock=SkewedClock(skew))
    async with stage.server(), serving(turnout.asgi(live), stage.service_port):
        await until(lambda: _ready(live))
        names = ("plain", "retried", "asleep", "unanswered")
        run_ids = {name: await start(live, f"do/{name}") for name in names}
        for run_id in run_ids.values():
            report = await ended(live, run_id)
            assert report.journal.run.state is RunStatus.COMPLETED, report.journal.run
        before, after = inngest_tasks.tried["before"][0], inngest_tasks.tried["after"][0]
        assert 1.6 <= after - before < 30


async def _ready(live: Turnout) -> bool | None:
    return live.registrar.ready("inngest") or None


async def _parked(live: Turnout, run_id: str, reason: str) -> bool | None:
    return reason in (await live.orchestrator.status(run_id)).journal.run.parked_for or None


async def _sent(live: Turnout, run_id: str) -> Any:
    found = (await live.orchestrator.status(run_id)).deliveries
    return found if found and found[-1].state is not DeliveryState.PENDING else None


async def _stopped(live: Turnout, run_id: str) -> bool | None:
    report = await live.orchestrator.status(run_id, look=True)
    seen = report.sighting
    return (seen is not None and seen.state is RunStatus.CANCELLED) or None
