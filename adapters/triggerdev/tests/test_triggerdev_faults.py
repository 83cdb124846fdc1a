"""What breaks between service, server and worker: nothing is lost, nothing runs twice.

All behaviours start together and are asserted together, each by its name: most of their time is
waiting. The server is the double, the worker the stand-in; what is killed is a process of its own.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from standardwebhooks.webhooks import Webhook
from starlette.responses import JSONResponse, Response
from turnout_triggerdev_double.standin import service as spoken

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))

from triggerdev_faults import Answer, Asked, Plan
from triggerdev_stage import (
    SIGNING_KEY,
    Stage,
    completes,
    ended,
    held,
    kill,
    large,
    plain,
    say_yes,
    start,
    until,
    vendor_ends,
    waiting,
)

from turnout import Event, Turnout
from turnout.errors import TooLarge
from turnout.model.protocol import LARGEST_MESSAGE
from turnout.model.reports import RunReport
from turnout.model.status import RunStatus

PAGE = Response("<html>oops</html>", 500, media_type="text/html")
SOON = {"retry_after_ms": 50}
MEGABYTE = 1024 * 1024


def refusal(status: int, /, **body: Any) -> Response:
    """An answer in JSON."""
    return JSONResponse(body, status)


# -- the ways between them ------------------------------------------------------------------------

TO_THE_SERVER: Mapping[str, list[Answer]] = {
    "cut": ["cut"],
    "drop": ["drop", "drop"],
    "limited-with-a-hint": [refusal(429, error="slow down", secondsUntilReset=0.3)] * 2,
    "limited": [Response("slow down", 429)],
    "limited-for-good": [Response("", 429, {"x-should-retry": "false"})],
    "page": [PAGE] * 2,
    "away": [Response("", 503, {"retry-after": "1"})] * 2,
    "odd": [refusal(200, status=200)],
    "no-json": [Response("<html>hello</html>", 200)],
    "too-big": [refusal(413, error="Request body too large")],
    "may-pass": [Response("", 400, {"x-should-retry": "true"})],
    "nowhere": [Response("<html>404</html>", 404, media_type="text/html")],
}
"""What the first triggers of a task's run meet."""

TO_THE_SERVICE: Mapping[str, list[Answer]] = {
    "unheard": ["cut"] * 4,
    "unsent": ["drop"] * 4,
    "twice": ["double"] * 20,
    "busy-with-a-hint": [refusal(429, code="overloaded", message="", **SOON)] * 3,
    "busy": [Response("", 429)] * 3,
    "restarting-with-a-hint": [refusal(503, code="unavailable", message="", **SOON)] * 3,
    "restarting": [Response("", 503)] * 3,
    "broken": [PAGE] * 3,
}
"""What the first messages of a task's run meet; the worker says them again."""

TO_THE_SERVICE_FOR_GOOD: Mapping[str, list[Answer]] = {
    "refused-as-too-large": [Response("<html>413</html>", 413)],
    "refused-by-a-page": [Response("<html>404</html>", 404)],
    "nonsense": [Response("<html>hello</html>", 200)],
    "no-next": [refusal(200, seq="one")],
}
"""What ends the vendor's attempt: the next one says the message again."""


async def ways_that_break(folder: Path) -> None:
    """Whatever meets a trigger, a step call or a wake: each run ends, each step ran once."""
    stage = Stage(folder)
    to_server = Plan(left={name: list(each) for name, each in TO_THE_SERVER.items()})
    given = {**TO_THE_SERVICE, **TO_THE_SERVICE_FOR_GOOD}
    to_service = Plan(left={name: list(each) for name, each in given.items()})
    wakes: list[Answer] = ["drop", PAGE, "cut"]
    parks: list[Answer] = [Response("<html>hello</html>", 200), "cut", "drop"]

    def at_server(asked: Asked) -> Answer | None:
        if asked.path.endswith("/complete") and "/waitpoints/" in asked.path:
            return wakes.pop(0) if wakes else None
        return to_server.next(_triggered(asked))

    def at_service(asked: Asked) -> Answer | None:
        message = asked.message
        if message.get("op") == "report":
            return None  # A hint, which nobody says again.
        if message.get("op") == "park" and parks:
            return parks.pop(0)
        return to_service.next(str(message.get("task")))

    stage.server_side.fault, stage.service_side.fault = at_server, at_service
    ledger = stage.ledger
    names = [*to_server.left, *to_service.left]
    app = stage.app(*(plain(ledger, each) for each in names), waiting(ledger, "waiting"))
    # A released run has no token that a wake could complete.
    waits = {"TURNOUT_TRIGGER_RELEASE_AFTER": "never"}
    async with stage.server(), stage.service(app, **waits) as live, stage.worker(app):
        await stage.ready(live)
        waiter = await start(live, "waiting")
        await until(lambda: _all_met(parks))
        runs: dict[str, str] = {}
        for name in to_server.left:
            # One after the other, and before all others: two that are due go as one batch.
            runs[name] = await start(live, name)
            await completes(stage, live, runs[name])
        runs |= {name: await start(live, name) for name in to_service.left}
        await say_yes(live, waiter)
        await completes(stage, live, waiter)
        for name, run_id in runs.items():
            await _ends_as_planned(stage, live, name, run_id)
    assert not wakes
    assert not parks
    assert not any(to_server.left.values()), to_server.left
    assert not any(to_service.left[name] for name in given if name != "twice"), to_service.left


def _triggered(asked: Asked) -> str:
    *_, tasks, task, word = ("", *asked.path.split("/"))
    return task if (tasks, word) == ("tasks", "trigger") else ""


async def _all_met(answers: list[Answer]) -> bool:
    return not answers


async def _ends_as_planned(stage: Stage, live: Turnout, name: str, run_id: str) -> None:
    report = await completes(stage, live, run_id)
    attempts = 2 if name in TO_THE_SERVICE_FOR_GOOD else 1
    assert await vendor_ends(stage, report) == [("COMPLETED", attempts)], name


# -- signatures -----------------------------------------------------------------------------------


async def forged_stale_and_replayed_calls(folder: Path) -> None:
    """A call that nobody signed now is refused and records nothing; a copy changes nothing."""
    stage = Stage(folder)
    app = stage.app(held(stage.ledger, "held"))
    async with stage.server(), stage.service(app) as live, stage.worker(app):
        await stage.ready(live)
        run_id = await start(live, "held")
        await until(lambda: _tried(stage, run_id, "held"))
        genuine = next(each for each in stage.service_side.asked if each.message["op"] == "execute")
        before = _recorded(await live.orchestrator.status(run_id))
        for what, headers, body in _forgeries(genuine):
            answer = await _said(stage, headers, body)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised"), what
            assert SIGNING_KEY not in answer.text
            assert _recorded(await live.orchestrator.status(run_id)) == before, what
        stage.ledger.go_on.set()
        report = await completes(stage, live, run_id)
        # Inside the five minutes the copy is believed, and told what has become of the run.
        replayed = await _said(stage, genuine.headers, genuine.body)
        assert replayed.status_code in {200, 409}
        assert (await live.orchestrator.status(run_id)).journal == report.journal


def _recorded(report: RunReport) -> Any:
    """All but leases and looks, and that the run parks while its step goes on by itself."""
    run = report.journal.run
    facts = (run.state, run.fence, run.delivery, run.result, run.error, run.progress, run.chunks)
    tries = {
        step: [(each.number, each.state) for each in attempts]
        for step, attempts in report.journal.attempts.items()
    }
    named = [(each.number, each.provider_run_id) for each in report.deliveries]
    return facts, report.journal.steps, tries, report.transitions, named


def _forgeries(genuine: Asked) -> list[tuple[str, dict[str, str], bytes]]:
    body = genuine.body
    other = body.replace(b'"attempt":1', b'"attempt":2')
    assert other != body
    now = datetime.now(UTC)
    late, early = now - timedelta(minutes=6), now + timedelta(minutes=6)
    own = genuine.headers
    return [
        ("another key", _signed(body, now, "whsec_" + "YWFh" * 8), body),
        ("another body", own, other),
        ("older than five minutes", _signed(body, late), body),
        ("of the future", _signed(body, early), body),
        ("an old one made young", {**_signed(body, late), "webhook-timestamp": _at(now)}, body),
        ("another's id", {**own, "webhook-id": "msg_other"}, body),
        ("no signature", {**own, "webhook-signature": ""}, body),
        ("another scheme", {**own, "webhook-signature": "v2,AAAA"}, body),
        ("no headers", {}, body),
    ]


def _signed(body: bytes, at: datetime, key: str = SIGNING_KEY) -> dict[str, str]:
    signature = Webhook(key).sign("msg_1", at, body.decode())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": _at(at),
        "webhook-signature": signature,
    }


def _at(moment: datetime) -> str:
    return str(int(moment.timestamp()))


async def _said(stage: Stage, headers: Mapping[str, str], body: bytes) -> httpx.Response:
    kept = {name: value for name, value in headers.items() if name.startswith("webhook-")}
    async with httpx.AsyncClient() as http:
        return await http.post(f"{stage.service_url}/turnout/v1/step", headers=kept, content=body)


async def _tried(stage: Stage, run_id: str, step: str) -> bool:
    return stage.ledger.tried[run_id, step] > 0


# -- sizes ----------------------------------------------------------------------------------------


async def large_values_and_larger_ones(folder: Path) -> None:
    """A large value stays with the service, whole; one beyond the limit is refused by name."""
    stage = Stage(folder)
    app = stage.app(large(stage.ledger, "large"))
    async with stage.server(), stage.service(app) as live, stage.worker(app):
        await stage.ready(live)
        run_id = await start(live, "large", bytes=3 * MEGABYTE, ballast="y" * MEGABYTE)
        beyond = await start(live, "large", bytes=5 * MEGABYTE)
        with pytest.raises(TooLarge, match="payload"):
            await start(live, "large", bytes=0, ballast="y" * 5 * MEGABYTE)
        report = await completes(stage, live, run_id)
        assert report.journal.run.result == b'"' + b"x" * 3 * MEGABYTE + b'"'
        told = await stage.vendor_run(report.deliveries[-1].provider_run_id)
        assert set(told["output"]) == {"turnout", "run_id", "sha256"}
        failed = await ended(live, beyond)
        assert failed.journal.run.state is RunStatus.FAILED
        assert failed.journal.run.error is not None
        assert "5,242,882 bytes" in failed.journal.run.error.message
        assert stage.ledger.of(beyond) == {"large": 1}
        assert await vendor_ends(stage, failed) == [("FAILED", 1)]
        await _is_too_large(stage, live, report.journal.run.run_id)
    # Neither way carried the values: to the vendor go ids, back come digests.
    asked = [*stage.server_side.asked, *stage.service_side.asked]
    assert max(len(each.body) for each in asked if each.status < 400) < 64 * 1024
    assert max(each.size for each in stage.service_side.asked) < 64 * 1024


async def _is_too_large(stage: Stage, live: Turnout, run_id: str) -> None:
    before = await live.orchestrator.status(run_id)
    body = orjson.dumps({"op": "advance", "run_id": run_id, "more": "z" * LARGEST_MESSAGE})
    answer = await _said(stage, _signed(body, datetime.now(UTC)), body)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert await live.orchestrator.status(run_id) == before


# -- what dies ------------------------------------------------------------------------------------


async def a_worker_killed_mid_step(folder: Path) -> None:
    """The step goes on in the service and is recorded; another worker goes on after it."""
    stage = Stage(folder)
    app = stage.app(held(stage.ledger, "held"))
    async with stage.server(), stage.service(app) as live, AsyncExitStack() as workers:
        first = await workers.enter_async_context(stage.worker_process(app))
        await stage.ready(live)
        run_id = await start(live, "held")
        await until(lambda: _tried(stage, run_id, "held"))
        await kill(first)
        await workers.enter_async_context(stage.worker_process(app))
        stage.ledger.go_on.set()
        report = await completes(stage, live, run_id)
        *lost, last = await vendor_ends(stage, report)
        assert last == ("COMPLETED", 1)
        assert lost
        assert {word for word, _ in lost} == {"CANCELED"}


async def a_server_killed_mid_run(folder: Path) -> None:
    """Parked and executing runs survive its SIGKILL: no second delivery, no second attempt."""
    stage = Stage(folder)
    app = stage.app(held(stage.ledger, "held"), waiting(stage.ledger, "waiting"))
    async with AsyncExitStack() as servers, stage.service(app) as live:
        first = await servers.enter_async_context(stage.server_process())
        await servers.enter_async_context(stage.worker(app))
        await stage.ready(live)
        runs = [await start(live, "held"), await start(live, "waiting")]
        await until(lambda: _tried(stage, runs[0], "held"))
        await until(lambda: _token(live, runs[1]))
        await kill(first)
        stage.ledger.go_on.set()
        unsent = await start(live, "waiting")
        await live.orchestrator.emit(Event(name="said/yes", payload={"run": runs[1]}))
        await servers.enter_async_context(stage.server_process())
        await say_yes(live, unsent)
        for run_id in (*runs, unsent):
            report = await completes(stage, live, run_id)
            assert await vendor_ends(stage, report) == [("COMPLETED", 1)]


async def _token(live: Turnout, run_id: str) -> Any:
    return (await live.orchestrator.status(run_id)).deliveries[-1].token


async def a_service_down_for_a_minute(folder: Path) -> None:
    """What is in front of it answers 502: vendor attempts are spent, and no committed step again.

    A minute's worth of the worker's delays, a hundred times faster.
    """
    stage = Stage(folder)
    app = stage.app(held(stage.ledger, "held"), waiting(stage.ledger, "waiting"))
    refused: list[Asked] = []

    def down(asked: Asked) -> Answer:
        refused.append(asked)
        return Response("<html>502</html>", 502)

    async with stage.server(), stage.service(app) as live, stage.worker(app):
        await stage.ready(live)
        runs = [await start(live, "held"), await start(live, "waiting")]
        await until(lambda: _tried(stage, runs[0], "held"))
        await until(lambda: _token(live, runs[1]))
        stage.service_side.fault = down
        stage.ledger.go_on.set()
        # The step that was under way commits, but what follows it is not heard of.
        await live.orchestrator.emit(Event(name="said/yes", payload={"run": runs[1]}))
        await until(lambda: _spent(refused, runs))
        stage.service_side.fault = lambda _asked: None
        for run_id in runs:
            report = await completes(stage, live, run_id)
            (end,) = await vendor_ends(stage, report)
            assert end[0] == "COMPLETED"
            assert end[1] > 1


async def _spent(refused: list[Asked], runs: list[str]) -> bool:
    """Whether each run has made two vendor attempts in vain."""
    tries = {(each.message["run_id"], each.message["provider_attempt"]) for each in refused}
    return all((run_id, 3) in tries for run_id in runs)


async def a_service_down_beyond_the_vendors_budget(folder: Path) -> None:
    """The vendor gives the run up; the run store does not, and hands it over again."""
    stage = Stage(folder)
    app = stage.app(plain(stage.ledger, "plain"))
    left = [5]

    def down(asked: Asked) -> Answer | None:
        if asked.message.get("op") != "execute" or not left[0]:
            return None
        left[0] -= 1
        return Response("<html>404</html>", 404)

    stage.service_side.fault = down
    async with stage.server(), stage.service(app) as live, stage.worker(app):
        await stage.ready(live)
        report = await completes(stage, live, await start(live, "plain"))
        assert await vendor_ends(stage, report) == [("FAILED", 5), ("COMPLETED", 1)]


async def a_worker_of_an_older_definition(folder: Path) -> None:
    """It is refused by 426 and runs nothing; the run waits for one that fits."""
    stage = Stage(folder)
    app = stage.app(plain(stage.ledger, "plain"))
    older = replace(app, tasks=(*app.tasks, plain(stage.ledger, "gone")))
    assert older.definition != app.definition
    async with stage.server(), stage.service(app) as live, AsyncExitStack() as workers:
        first = await workers.enter_async_context(stage.worker_process(older))
        await stage.ready(live)
        run_id = await start(live, "plain")
        await until(lambda: _refused_twice(stage))
        report = await live.orchestrator.status(run_id)
        assert not report.journal.steps
        assert stage.ledger.of(run_id) == {}
        await kill(first)
        await workers.enter_async_context(stage.worker_process(app))
        report = await completes(stage, live, run_id)
        lost, *_, last = await vendor_ends(stage, report)
        assert (lost[0], last) == ("CANCELED", ("COMPLETED", 1))


async def _refused_twice(stage: Stage) -> bool:
    attempts = {
        each.message["provider_attempt"] for each in stage.service_side.asked if each.status == 426
    }
    return {1, 2} <= attempts


# -- all of them ----------------------------------------------------------------------------------

BEHAVIOURS: tuple[Callable[[Path], Awaitable[None]], ...] = (
    ways_that_break,
    forged_stale_and_replayed_calls,
    large_values_and_larger_ones,
    a_worker_killed_mid_step,
    a_server_killed_mid_run,
    a_service_down_for_a_minute,
    a_service_down_beyond_the_vendors_budget,
    a_worker_of_an_older_definition,
)


@pytest.mark.timeout(110)
async def test_nothing_is_lost_and_nothing_runs_twice(
    tmp_path: Path, subtests: pytest.Subtests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every behaviour's docstring is a rule; all are tried at once, and each is told by name."""
    monkeypatch.setattr(spoken, "LONGEST_DELAY", 0.1)
    found = await asyncio.gather(
        *(each(tmp_path / each.__name__) for each in BEHAVIOURS), return_exceptions=True
    )
    for each, wrong in zip(BEHAVIOURS, found, strict=True):
        with subtests.test(each.__name__):
            if wrong is not None:
                raise AssertionError(f"{each.__doc__}\n{type(wrong).__name__}: {wrong}") from wrong
