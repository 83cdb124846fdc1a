"""The transport by socket: no endpoint, and a link that outlives every outage."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import inngest_tasks
import pytest
from inngest.connect._internal import conn_init_starter, isolated_worker
from inngest_stage import Stage, ended, start, until
from turnout_inngest import connect
from turnout_inngest.caller import InngestCaller
from turnout_inngest.settings import read_settings
from turnout_operator.doctor.check import Health
from turnout_operator.doctor.examine import examine

import turnout
from turnout import App, Schedule, Turnout
from turnout.errors import InvalidSettings, ProviderRefused
from turnout.model.providers import LinkState
from turnout.model.status import RunStatus
from turnout.service import heartbeat


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage without anything on it."""
    return Stage(tmp_path)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK gives up after two tries, and everyone tries again at once."""
    monkeypatch.setattr(conn_init_starter, "CONN_INIT_RETRY_INTERVAL_SEC", 0.1)
    monkeypatch.setattr(conn_init_starter, "MAX_CONN_INIT_ATTEMPTS", 2)
    monkeypatch.setattr(isolated_worker, "RECONNECTION_DELAY_SEC", 0.1)
    monkeypatch.setattr(connect, "MAX_PAUSE", 0.3)
    monkeypatch.setattr(connect, "LOOK_INTERVAL", 0.2)


@contextlib.asynccontextmanager
async def linked(stage: Stage, app: App, **environ: str) -> AsyncIterator[Turnout]:
    """A service that listens nowhere, once the server has taken it in."""
    given = {**stage.environ, "TURNOUT_INNGEST_TRANSPORT": "connect", **environ}
    del given["TURNOUT_SERVICE_URL"]
    live = turnout.open_turnout(app, given)
    async with live:
        await until(lambda: _ready(live))
        yield live


async def test_runs_come_down_the_socket(stage: Stage) -> None:
    """Steps, retries, waits and branches, with no endpoint; the server lists the worker."""
    async with stage.server(), linked(stage, inngest_tasks.everything) as live:
        assert (await stage.api.get("/v2/apps/stage")).json()["data"]["method"] == "CONNECT"
        names = ("do/plain", "do/retried", "do/wide", "do/parent")
        run_ids = [await start(live, name) for name in names]
        for run_id in run_ids:
            report = await ended(live, run_id)
            assert report.journal.run.state is RunStatus.COMPLETED, report.journal.run
        failed = await ended(live, await start(live, "do/failing"))
        assert failed.journal.run.state is RunStatus.FAILED


@pytest.mark.usefixtures("hasty")
async def test_what_another_replica_undoes_is_armed_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came back with older schedules registers those: what is owned is armed once more."""
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.2)
    hourly = Schedule(id="hourly", task="plain", cron="0 * * * *")
    timely = turnout.app("timely", inngest_tasks.plain, schedules=[hourly])
    async with stage.server(), linked(stage, timely) as live:
        await link_of(live).offer({})
        await until(lambda: _lists(live, {"hourly"}))


@pytest.mark.usefixtures("hasty")
async def test_a_server_killed_in_the_middle_of_runs(stage: Stage) -> None:
    """A step under way, a sleep and a wait all go on after its restart; each step runs once."""
    inngest_tasks.tried.clear()
    async with stage.server(), linked(stage, inngest_tasks.everything) as live:
        link = link_of(live)
        step = await start(live, "do/long")
        asleep = await start(live, "do/asleep")
        waiting = await start(live, "do/waiting", {"who": "k"})
        await until(lambda: _parked(live, waiting, "event"))
        await stage.kill_server()
        await until(lambda: _in(link, LinkState.CONNECTING))
        meanwhile = await start(live, "do/plain")
        await stage.start_server()
        await start_nothing(live, "said/yes", {"who": "k"})
        for run_id in (step, asleep, waiting, meanwhile):
            report = await ended(live, run_id)
            assert report.journal.run.state is RunStatus.COMPLETED, report.journal.run
        assert len(inngest_tasks.tried["before"]) == 1
        assert link.status.connections > 1


@pytest.mark.usefixtures("hasty")
async def test_a_long_outage(stage: Stage) -> None:
    """The SDK gives up again and again; the link says why, and is there when the server is."""
    async with stage.server(), linked(stage, inngest_tasks.everything) as live:
        link = link_of(live)
        await stage.kill_server()
        await until(lambda: _in(link, LinkState.CONNECTING))
        assert await until(lambda: _problem(link))
        for _ in range(3):
            await asyncio.sleep(0.5)
            assert link.status.state is LinkState.CONNECTING
        await stage.start_server()
        await until(lambda: _in(link, LinkState.CONNECTED))
        report = await ended(live, await start(live, "do/plain"))
        assert report.journal.run.state is RunStatus.COMPLETED


@pytest.mark.usefixtures("hasty")
async def test_the_link_is_shown_by_health_and_doctor(stage: Stage) -> None:
    """Whoever asks a replica, or the doctor, is told how its socket stands, and what went wrong."""
    environ = {**stage.environ, "TURNOUT_INNGEST_TRANSPORT": "connect"}
    async with stage.server(), linked(stage, inngest_tasks.everything) as live:
        shown = await _health(live)
        assert shown["links"]["inngest"] == {"state": "connected", "connections": 1, "problem": ""}
        await until(lambda: _told(environ, Health.OK, "1 of 1 replica(s) connected"))
        await stage.kill_server()
        assert await until(lambda: _problem(link_of(live)))
        assert (await _health(live))["links"]["inngest"]["state"] == "connecting"
        await until(lambda: _told(environ, Health.FAIL, "0 of 1 replica(s) connected"))
        await stage.start_server()
        await until(lambda: _in(link_of(live), LinkState.CONNECTED))
        shown = (await _health(live))["links"]["inngest"]
        assert shown["connections"] > 1
        assert shown["problem"], "what went wrong last is kept"


@pytest.mark.usefixtures("hasty")
async def test_a_service_that_starts_before_its_server(stage: Stage) -> None:
    """It registers as soon as there is one."""
    given = {**stage.environ, "TURNOUT_INNGEST_TRANSPORT": "connect"}
    live = turnout.open_turnout(inngest_tasks.everything, given)
    async with live:
        run_id = await start(live, "do/plain")
        async with stage.server():
            report = await ended(live, run_id)
            assert report.journal.run.state is RunStatus.COMPLETED


async def test_a_stop_drains(stage: Stage) -> None:
    """What is under way is ended or handed back, uncounted; another process goes on with it."""
    inngest_tasks.tried.clear()
    async with stage.server():
        async with linked(stage, inngest_tasks.everything) as live:
            link = link_of(live)
            run_id = await start(live, "do/long")
            await until(lambda: _claimed(live, run_id))
        assert link.status.state is LinkState.CLOSED
        assert (await _workers(stage)) == []
        async with linked(stage, inngest_tasks.everything) as live:
            report = await ended(live, run_id)
            assert report.journal.run.state is RunStatus.COMPLETED
            states = {each.state.value for each in report.journal.attempts["dawdle"]}
            assert states <= {"completed", "interrupted"}


@pytest.mark.usefixtures("hasty")
async def test_schedules_need_a_new_connection(stage: Stage) -> None:
    """What is armed while connected is registered, and another replica takes it over."""
    hourly = Schedule(id="hourly", task="plain", cron="0 * * * *")
    timely = turnout.app("timely", inngest_tasks.plain, schedules=[hourly])
    async with stage.server(), linked(stage, timely) as one, linked(stage, timely) as other:
        daily = Schedule(id="daily", task="plain", cron="@daily")
        await one.orchestrator.schedule_recurring(daily)
        # The other replica may register what it knew a moment longer: until, not at once.
        await until(lambda: _lists(one, {"hourly", "daily"}))
        await until(lambda: _offers(link_of(other), "daily"))
        await until(lambda: _alone(stage, 2))
        await stage.kill_server()
        await stage.start_server()
        await until(lambda: _lists(other, {"hourly", "daily"}))


class OpenSocket:
    """A connection that stays until it is closed."""

    def __init__(self) -> None:
        self._closed = asyncio.Event()

    async def start(self) -> None:
        await self._closed.wait()

    async def close(self, *, wait: bool = False) -> None:
        self._closed.set()


async def test_a_list_from_before_does_not_undo_an_offer(hasty: None) -> None:
    """The server may list for a moment what was there before; what stays listed is taken over."""
    daily, hourly = {"daily": "0 0 * * *"}, {"hourly": "0 * * * *"}
    listed = iter([{}, daily, daily, hourly])
    looks: list[dict[str, str]] = []

    async def armed() -> dict[str, str]:
        looks.append(next(listed, hourly))
        return looks[-1]

    async def greeted(_connection: Any) -> None:
        pass

    link = connect.Link(lambda _crons: OpenSocket(), greeted, armed)
    await link.offer(daily)
    await until(lambda: _seen(len(looks) == 4))
    assert link.crons == daily
    await until(lambda: _seen(link.crons == hourly))
    await link.close()


class StubbornSocket(OpenSocket):
    """A connection that stays when it is closed; its closing ends with an error of the SDK."""

    def __init__(self, error: Exception | None) -> None:
        super().__init__()
        self.error = error
        self.ended = asyncio.Event()

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            self.ended.set()

    async def close(self, *, wait: bool = False) -> None:
        if self.error is not None:
            raise self.error


@pytest.mark.parametrize(
    ("error", "level", "message"),
    [
        (None, "WARNING", "a connection did not end"),
        (TimeoutError("the socket's closing handshake"), "WARNING", "a connection did not end"),
        (OSError("reset by the peer"), "DEBUG", "a connection broke"),
        (Exception("a bare one"), "DEBUG", "a connection broke"),
    ],
)
async def test_a_connection_that_does_not_close_is_ended(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception | None,
    level: str,
    message: str,
) -> None:
    """Over its grace, by the SDK's own time limit or by an error: nothing of it goes on."""
    monkeypatch.setattr(connect, "GRACE", 0.05)
    connection = StubbornSocket(error)

    async def greeted(_connection: Any) -> None:
        pass

    async def armed() -> None:
        pass

    link = connect.Link(lambda _crons: connection, greeted, armed)
    with caplog.at_level("DEBUG", connect.log.name):
        await link.offer({})
        await link.close()
        await until(lambda: _seen(connection.ended.is_set()))
    records = [record for record in caplog.records if record.message.startswith("a connection")]
    assert [(record.levelname, record.message) for record in records] == [(level, message)]


async def _seen(condition: bool) -> bool | None:
    return condition or None


async def test_a_refused_function_has_the_servers_reason(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over HTTP: the answer to the greeting does not say why; the app's page does."""
    monkeypatch.setattr(connect, "READY_WITHIN", 2.0)
    given = {**stage.environ, "TURNOUT_INNGEST_TRANSPORT": "connect"}
    live = turnout.open_turnout(turnout.app("odd", inngest_tasks.plain), given)
    caller = live.callers["inngest"]
    assert isinstance(caller, InngestCaller)
    async with stage.server():
        with pytest.raises(ProviderRefused, match="cron"):
            await caller._sync({"bad": "61 * * * *"})
        await live.close()


def test_settings() -> None:
    """Connect needs no address of the service; wrong words are named."""
    found = read_settings({"INNGEST_DEV": "1", "TURNOUT_INNGEST_TRANSPORT": "connect"}, None)
    assert found.transport == "connect"
    for name, value in (("TRANSPORT", "carrier-pigeon"), ("GATEWAY", "http://x")):
        given = {"INNGEST_DEV": "1", f"TURNOUT_INNGEST_{name}": value}
        with pytest.raises(InvalidSettings, match=f"TURNOUT_INNGEST_{name}"):
            read_settings(given, "http://here")


def test_without_the_extra(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is named when the app is opened."""
    monkeypatch.setitem(sys.modules, "inngest.connect", None)
    given = {**stage.environ, "TURNOUT_INNGEST_TRANSPORT": "connect"}
    with pytest.raises(InvalidSettings, match=r"turnout-inngest\[connect\]"):
        turnout.open_turnout(inngest_tasks.everything, given)


def link_of(live: Turnout) -> connect.Link:
    """The link of a service's caller."""
    caller = live.callers["inngest"]
    assert isinstance(caller, InngestCaller)
    assert caller._link is not None
    return caller._link


async def start_nothing(live: Turnout, name: str, payload: Any) -> None:
    """Emit an event that starts no task."""
    await live.orchestrator.emit(turnout.Event(name=name, payload=payload))


async def _ready(live: Turnout) -> bool | None:
    return live.registrar.ready("inngest") or None


async def _in(link: connect.Link, state: LinkState) -> bool | None:
    return link.status.state is state or None


async def _problem(link: connect.Link) -> str | None:
    return link.status.problem or None


async def _health(live: Turnout) -> dict[str, Any]:
    transport = httpx.ASGITransport(app=turnout.asgi(live))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
        return dict((await http.get("/turnout/health")).json())


async def _told(environ: dict[str, str], health: Health, text: str) -> bool | None:
    """Whether the doctor says so of the link; replicas tell of theirs with their next beat."""
    found = await examine(environ, "inngest_tasks:everything")
    return any(each.health is health and text in each.text for each in found) or None


async def _offers(link: connect.Link, schedule: str) -> bool | None:
    return schedule in link.crons or None


async def _lists(live: Turnout, wanted: set[str]) -> bool | None:
    return {each.id for each in await live.orchestrator.armed()} == wanted or None


async def _workers(stage: Stage) -> list[Any]:
    answer = await stage.api.get("/v0/connect/envs/any/conns")
    return list(answer.json()["data"])


async def _alone(stage: Stage, count: int) -> bool | None:
    return len(await _workers(stage)) == count or None


async def _parked(live: Turnout, run_id: str, reason: str) -> bool | None:
    return reason in (await live.orchestrator.status(run_id)).journal.run.parked_for or None


async def _claimed(live: Turnout, run_id: str) -> bool | None:
    return bool((await live.orchestrator.status(run_id)).journal.attempts) or None
