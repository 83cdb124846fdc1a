"""Servers and services that are killed, keys, and schedules."""

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import inngest_tasks
import pytest
from inngest_stage import ShiftedClock, Stage, ended, kill, start, until
from turnout_inngest import run_loop

import turnout
from turnout import Event, Schedule, Turnout
from turnout.errors import PolicyRefused, ProviderRefused
from turnout.model.runs import Delivery, RunFilter
from turnout.model.status import DeliveryReason, RunStatus

MINUTE = 60_000


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage without anything on it."""
    return Stage(tmp_path)


async def test_a_killed_server_loses_nothing(stage: Stage) -> None:
    """Waiting and sleeping runs go on after its restart; what came meanwhile is delivered then."""
    async with stage.server(), stage.service(inngest_tasks.everything) as live:
        waiting = await start(live, "do/waiting", {"who": "w"})
        asleep = await start(live, "do/asleep")
        await until(lambda: _parked(live, waiting, "event"))
        await until(lambda: _asleep_or_over(live, asleep))
        await stage.kill_server()
        meanwhile = await start(live, "do/plain")
        await live.orchestrator.emit(Event(name="said/yes", payload={"who": "w"}))
        await stage.start_server()
        for run_id in (waiting, asleep, meanwhile):
            report = await ended(live, run_id)
            assert report.journal.run.state is RunStatus.COMPLETED, report.journal.run


async def test_a_killed_service_runs_finished_steps_once(stage: Stage) -> None:
    """The step that was running is lost, which counts, and is tried again; the others are not."""
    notes = stage.folder / "notes"
    notes.mkdir()
    live = turnout.open_turnout(inngest_tasks.everything, stage.environ, serve=False)
    async with stage.server(), live:
        service = await stage.start_service(NOTES=str(notes))
        run_id = await start(live, "do/killed")
        await until(lambda: _exists(notes / "second"))
        await kill(service)
        service = await stage.start_service(NOTES=str(notes))
        report = await ended(live, run_id)
        await kill(service)
    assert report.journal.run.result == b"[1,2,1]"
    states = [each.state.value for each in report.journal.attempts["second"]]
    assert states == ["lost", "completed"]


async def test_a_delivery_that_was_sent_twice_is_found_by_its_key(stage: Stage) -> None:
    """A service was killed between the server's answer and its record: only the first has a run.

    The second event is recorded. A look shows the first one's run, and a stop stops that one.
    """
    async with stage.server(), stage.service(inngest_tasks.everything) as live:
        caller, run_id = live.callers["inngest"], await start(live, "do/waiting", {"who": "w"})
        await until(lambda: _parked(live, run_id, "event"))
        (delivery,) = await live.store.deliveries.read(run_id)
        vendor_run_id = delivery.provider_run_id
        (again,) = await caller.deliver([delivery])
        second = replace(
            delivery, provider_run_id=again.provider_run_id, sent_at=delivery.sent_at or 0
        )
        sighting = await caller.look(second)
        assert (sighting.state, sighting.evidence["id"]) == (RunStatus.RUNNING, vendor_run_id)
        await until(lambda: _stops(live, second))
        assert (await caller.look(delivery)).state is RunStatus.CANCELLED


async def test_a_run_of_many_steps_is_handed_over(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Near the vendor's limit of steps its run ends, and the next delivery goes on from there."""
    monkeypatch.setattr(run_loop, "MAX_STEPS", 6)
    async with stage.server(), stage.service(inngest_tasks.everything) as live:
        report = await ended(live, await start(live, "do/wide"))
        assert report.journal.run.result == b"3"
        assert len(report.deliveries) > 2
        reasons = {delivery.reason for delivery in report.deliveries[1:]}
        assert reasons == {DeliveryReason.RELEASED}, "not lost: nobody is warned, pairs compare"
        assert all(len(tries) == 1 for tries in report.journal.attempts.values())
        first = await live.callers["inngest"].look(report.deliveries[0])
        assert first.state is RunStatus.COMPLETED


async def test_a_server_with_keys(stage: Stage) -> None:
    """Requests are signed both ways; nobody without the key can have the app registered."""
    key = "ab" * 16
    stage.options = ("--signing-key", key, "--event-key", "secret")
    keyed = {
        "INNGEST_DEV": "0",
        "INNGEST_BASE_URL": stage.url,
        "INNGEST_SIGNING_KEY": f"signkey-test-{key}",
        "INNGEST_EVENT_KEY": "secret",
    }
    async with stage.server(), stage.service(inngest_tasks.everything, **keyed) as live:
        report = await ended(live, await start(live, "do/plain"))
        assert report.journal.run.state is RunStatus.COMPLETED
        address = f"{stage.environ['TURNOUT_SERVICE_URL']}/turnout/inngest/functions"
        async with httpx.AsyncClient() as stranger:
            assert (await stranger.put(address)).status_code == 401
            called = await stranger.post(address, params={"fnId": "stage-plain"}, json={})
            assert called.status_code == 401
        wrong = turnout.open_turnout(
            inngest_tasks.everything,
            {**stage.environ, **keyed, "INNGEST_SIGNING_KEY": "cd" * 16},
            serve=False,
        )
        with pytest.raises(ProviderRefused, match="INNGEST_SIGNING_KEY"):
            await wrong.callers["inngest"].defined()
        await wrong.close()


async def test_a_schedule_is_armed_and_ticks(stage: Stage) -> None:
    """Each slot starts one run; what is removed is disarmed at the server."""
    hourly = Schedule(id="hourly", task="plain", cron="0 * * * *", zone="Europe/Kyiv")
    timely = turnout.app("timely", inngest_tasks.plain, schedules=[hourly])
    clock = ShiftedClock()
    async with stage.server(), stage.service(timely, clock=clock) as live:
        (armed,) = await live.orchestrator.armed()
        assert (armed.id, armed.cron, armed.zone) == ("hourly", "0 * * * *", "Europe/Kyiv")
        daily = Schedule(id="daily", task="plain", cron="@daily")
        await live.orchestrator.schedule_recurring(daily)
        assert {each.id for each in await live.orchestrator.armed()} == {"hourly", "daily"}
        for refused in ("daily", "sundays"):
            with pytest.raises(PolicyRefused, match=refused):
                await live.orchestrator.schedule_recurring(
                    Schedule(id=refused, task="plain", cron="0 0 * * 7")
                )
        assert {each.id: each.cron for each in await live.orchestrator.schedules()} == {
            "hourly": "0 * * * *",
            "daily": "@daily",
        }
        clock.ahead = 60 * MINUTE
        await stage.advance(60 * MINUTE)
        run_id = await until(lambda: _ticked(live))
        report = await live.orchestrator.status(run_id)
        assert report.journal.run.task == "plain"
        await live.orchestrator.unschedule("hourly")
        assert [each.id for each in await live.orchestrator.armed()] == ["daily"]


async def test_a_replica_that_starts_disarms_nothing(stage: Stage) -> None:
    """Defining the tasks again leaves the schedules as the server has them."""
    hourly = Schedule(id="hourly", task="plain", cron="0 * * * *")
    timely = turnout.app("timely", inngest_tasks.plain, schedules=[hourly])
    async with stage.server(), stage.service(timely) as live:
        second = turnout.open_turnout(timely, stage.environ, serve=False)
        await second.callers["inngest"].define(timely)
        assert [each.id for each in await live.orchestrator.armed()] == ["hourly"]
        await second.close()


@pytest.mark.parametrize("cron", ["0 9 * * 7", "0 0 L * *", "0 0 */2 * 1"])
async def test_a_cron_that_the_vendor_reads_otherwise_is_refused(stage: Stage, cron: str) -> None:
    """At definition, by the schedule's name."""
    bad = turnout.app(
        "timely", inngest_tasks.plain, schedules=[Schedule(id="bad", task="plain", cron=cron)]
    )
    live = turnout.open_turnout(bad, stage.environ)
    with pytest.raises(PolicyRefused, match="bad"):
        await live.start()
    await live.close()


async def _stops(live: Turnout, delivery: Delivery) -> bool | None:
    return await live.callers["inngest"].stop(delivery) or None


async def _parked(live: Turnout, run_id: str, reason: str) -> bool | None:
    return reason in (await live.orchestrator.status(run_id)).journal.run.parked_for or None


async def _asleep_or_over(live: Turnout, run_id: str) -> bool | None:
    return "nap" in (await live.orchestrator.status(run_id)).journal.steps or None


async def _exists(path: Path) -> bool | None:
    await asyncio.sleep(0)
    return path.exists() or None


async def _ticked(live: Turnout) -> str | None:
    runs = await live.store.runs.find(RunFilter(task="plain", limit=10))
    return runs[0].run_id if runs else None
