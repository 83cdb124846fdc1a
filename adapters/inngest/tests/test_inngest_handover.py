"""What native functions do with a run during the change."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import handed_shop
import httpx
import inngest
import pytest
from inngest_lab import HOUR_MS, Lab, free_port, until
from turnout_inngest.adoption import Adopted, adopt
from turnout_inngest.adoption.handover import HandoverPlan, created_at
from turnout_inngest_double.ids import ulid
from turnout_inngest_double.options import Options

from turnout import Event, open_turnout
from turnout.control.emissions import Emissions
from turnout.errors import InvalidDefinition, Unavailable, WrongUse
from turnout.model.events import Emitted, RunRef
from turnout.model.routing import Selection
from turnout.model.runs import RunFilter

PAST = datetime(2026, 1, 1, tzinfo=UTC)
FAR = datetime(2090, 1, 1, tzinfo=UTC)


class Taking:
    """Takes events in, after it was away a few times."""

    def __init__(self, away: int = 0) -> None:
        self.away = away
        self.events: list[Event] = []

    async def __call__(self, events: Sequence[Event]) -> Sequence[Emitted]:
        if self.away:
            self.away -= 1
            raise Unavailable("the run store is away")
        self.events += events
        run = RunRef(run_id="r", task="t")
        return [Emitted(event_id="e", runs=(run,)) for _ in events]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """An offline server whose clock a test turns."""
    return Lab(Options(port=free_port(), data=tmp_path, test_clock=True))


def test_a_run_id_tells_when_the_run_was_made() -> None:
    """To the millisecond, and nothing else is taken for one."""
    at = datetime(2026, 11, 21, 7, 8, 9, 123_000, UTC)
    assert created_at(ulid(round(at.timestamp() * 1_000))) == at
    with pytest.raises(WrongUse, match="no ULID"):
        created_at("?")


@pytest.mark.parametrize("moments", [{"after": FAR}, {"after": PAST, "until": PAST}])
async def test_a_run_made_at_another_time_is_native(lab: Lab, moments: dict[str, Any]) -> None:
    """Its own code runs it, whoever serves it: before the change, and after it was taken back."""
    lab.function("order")(_native)
    adopted, taking = adopt(lab.client, lab.functions), Taking()
    lab.functions = adopted.handover(taking, **moments)
    async with lab.server(), lab.application():
        event = await lab.emit("lab/order", {"n": 1})
        run = await lab.run_in(event, "COMPLETED")
    assert (run["output"], taking.events) == ({"data": "native"}, [])


@pytest.mark.parametrize("is_sync", [False, True])
async def test_a_later_run_starts_the_task(lab: Lab, is_sync: bool) -> None:
    """Under the event's own key; while Turnout is away it waits, however few tries there are."""
    lab.function("order", retries=0)(_native_sync if is_sync else _native)
    taking = Taking(away=1)
    lab.functions = adopt(lab.client, lab.functions).handover(taking, after=PAST)
    async with lab.server(), lab.application():
        event = await lab.emit("lab/order", {"n": 1}, id="o-1")
        await lab.run_in(event, "RUNNING")
        assert await lab.run_in(event, "COMPLETED")
    (taken,) = taking.events
    assert (taken.name, taken.payload, taken.key) == (
        "lab/order",
        {"n": 1},
        "inngest:lab/order:o-1",
    )


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_process_that_dies_as_it_hands_over_loses_nothing(
    lab: Lab, tmp_path: Path, when: str
) -> None:
    """Killed before or after the event is recorded, of a function that is never retried."""
    environ = {**os.environ, "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path / 'runs.db'}"}
    port = free_port()
    command = [sys.executable, handed_shop.__file__, lab.url, str(port), str(tmp_path), when]
    async with lab.server():
        first = await asyncio.create_subprocess_exec(*command, env=environ)
        try:
            await until(lambda: _registered(lab, port))
            event = await lab.emit("handed/order", {"n": 1}, id="o-1")
            assert await first.wait() == -signal.SIGKILL
        finally:
            if first.returncode is None:
                first.kill()
        second = await asyncio.create_subprocess_exec(*command, env=environ)
        try:
            await until(lambda: _registered(lab, port))
            await lab.advance(HOUR_MS)
            await lab.run_in(event, "COMPLETED")
        finally:
            second.kill()
            await second.wait()
    live = open_turnout(handed_shop.adopted(lab.url).app(schedules=False), environ)
    runs = await live.store.runs.find(RunFilter(limit=9))
    await live.close()
    assert [(each.task, each.key) for each in runs] == [("order", "inngest:handed/order:o-1")]


async def _registered(lab: Lab, port: int) -> bool | None:
    """Whether the process serves and has been registered; None for not yet."""
    try:
        answer = await lab.api.put(f"http://127.0.0.1:{port}/api/inngest")
    except httpx.TransportError:
        return None
    return answer.status_code == 200 or None


@pytest.mark.parametrize("is_sync", [False, True])
@pytest.mark.parametrize("retries", [0, 2])
async def test_a_native_run_has_the_tries_that_its_function_declares(
    lab: Lab, retries: int, is_sync: bool
) -> None:
    """Of a step, whose error its code sees by name, and of the code itself; then the run failed."""
    tried: list[str] = []
    lab.function("breaks", retries=retries)((_breaks_sync if is_sync else _breaks)(tried))
    handed = adopt(lab.client, lab.functions).handover(Taking(), after=FAR)
    seen = []
    for functions in (lab.functions, handed):
        lab.functions = functions
        tried.clear()
        async with lab.server(), lab.application():
            run = await _until_over(lab, await lab.emit("lab/breaks"))
        error = run["output"]["error"]
        seen.append((run["status"], list(tried), error["name"], error["message"]))
    assert seen[0] == seen[1]
    assert seen[1][1] == ["step"] * (retries + 1) + ["StepError ValueError", "code"] * (retries + 1)


async def test_a_native_run_whose_last_try_did_not_answer_has_failed(lab: Lab) -> None:
    """Its code is not run again, however often the vendor asks."""
    tried: list[str] = []

    async def dies(ctx: inngest.Context) -> None:
        tried.append(ctx.run_id)
        raise asyncio.CancelledError

    lab.function("dies", retries=1)(dies)
    lab.functions = adopt(lab.client, lab.functions).handover(Taking(), after=FAR)
    async with lab.server(), lab.application():
        run = await _until_over(lab, await lab.emit("lab/dies"))
    assert (run["status"], len(tried)) == ("FAILED", 2)
    assert "2 tries" in str(run["output"])


async def _until_over(lab: Lab, event: str) -> dict[str, Any]:
    """The event's run once it is over; the server's clock runs ahead."""

    async def over() -> dict[str, Any] | None:
        await lab.advance(HOUR_MS)
        runs = await lab.runs(event)
        return runs[0] if runs and runs[0]["status"] in {"FAILED", "COMPLETED"} else None

    found: dict[str, Any] = await until(over)
    return found


def _breaks(tried: list[str]) -> Any:
    async def step() -> None:
        tried.append("step")
        raise ValueError("no stock")

    async def breaks(ctx: inngest.Context) -> None:
        try:
            await ctx.step.run("breaks", step)
        except inngest.StepError as error:
            tried.extend((f"StepError {error.name}", "code"))
            raise KeyError("order") from None

    return breaks


def _breaks_sync(tried: list[str]) -> Any:
    def step() -> None:
        tried.append("step")
        raise ValueError("no stock")

    def breaks(ctx: inngest.ContextSync) -> None:
        try:
            ctx.step.run("breaks", step)
        except inngest.StepError as error:
            tried.extend((f"StepError {error.name}", "code"))
            raise KeyError("order") from None

    return breaks


async def test_what_a_native_function_invokes_is_native(lab: Lab) -> None:
    """Its caller waits for what it returns."""

    async def calls(ctx: inngest.Context) -> Any:
        return await ctx.step.invoke_by_id("call", function_id="order")

    lab.function("order")(_native)
    adopted, taking = adopt(lab.client, lab.functions), Taking()
    lab.functions = adopted.handover(taking, after=PAST)
    lab.function("calls")(calls)
    async with lab.server(), lab.application():
        run = await lab.run_in(await lab.emit("lab/calls"), "COMPLETED")
    assert (run["output"], taking.events) == ({"data": "native"}, [])


async def test_events_that_start_several_start_each_alone(lab: Lab) -> None:
    """Each function hands over its own start; the task sees the event under its own name."""
    both = inngest.TriggerEvent(event="lab/both")
    bound = inngest.TriggerEvent(event="lab/bound", expression="event.data.n == 1")
    for name, trigger in (("one", [both]), ("two", [both, bound])):
        lab.function(name, trigger=trigger)(_native)
    adopted, taking = adopt(lab.client, lab.functions), Taking()
    lab.functions = adopted.handover(taking, after=PAST)
    async with lab.server(), lab.application():
        event = await lab.emit("lab/both", id="b")
        other = await lab.emit("lab/bound", {"n": 1})
        await lab.run_in(other, "COMPLETED")
        while len(await lab.runs(event)) < 2 or len(taking.events) < 3:
            await lab.api.get("/health")
    names = sorted(each.name for each in taking.events)
    assert names == ["adopted/one", "adopted/two", "adopted/two"]
    assert {each.key for each in taking.events if each.name == "adopted/one"} == {
        "inngest:lab/both:b"
    }


def test_a_slot_has_one_key_on_both_sides(lab: Lab) -> None:
    """So a schedule that both fire for a while starts one run a slot."""
    cron = inngest.TriggerCron(cron="TZ=Europe/Berlin 0 7 * * *")
    lab.function("daily", trigger=cron)(_native)
    adopted = adopt(lab.client, lab.functions)
    assert (adopted.app(schedules=False).schedules, len(adopted.app().schedules)) == ((), 1)
    slot = datetime(2026, 11, 22, 6, tzinfo=UTC)
    data = {"cron": cron.cron, "scheduledAt": slot.isoformat(), "fireAt": slot.isoformat()}
    timer = inngest.Event(name="inngest/scheduled.timer", id="x", data=data)
    (handed,) = _handing(adopted).events(SimpleNamespace(event=timer, events=[timer]))
    selection = Selection(provider="local")
    app = adopted.app()
    emissions = Emissions(app=app, selection=selection, routes=dict, refresh=_unchanged)
    ms = round(slot.timestamp() * 1_000)
    own = emissions.of_slot(adopted.schedules[0], ms, ms)
    assert handed.key == own.event.key
    assert handed.payload == adopted.schedules[0].payload


def test_what_cannot_be_exact_is_refused(lab: Lab) -> None:
    """An event that starts several and cancels, and a moment without a zone."""
    both = inngest.TriggerEvent(event="lab/both")
    stop = [inngest.Cancel(event="lab/both")]
    lab.function("one", trigger=both)(_native)
    lab.function("two", trigger=both)(_native)
    lab.function("three", cancel=stop)(_native)
    adopted = adopt(lab.client, lab.functions)
    with pytest.raises(InvalidDefinition, match="lab/both"):
        adopted.handover(Taking(), after=PAST)
    with pytest.raises(InvalidDefinition, match="zone"):
        adopted.handover(Taking(), after=PAST.replace(tzinfo=None))


def _handing(adopted: Adopted) -> HandoverPlan:
    (task,) = adopted.tasks
    return HandoverPlan(
        task=task.id,
        sole_events=frozenset(),
        schedules=adopted.schedules,
        after=PAST - timedelta(days=1),
        emit=Taking(),
    )


async def _unchanged() -> None:
    pass


async def _native(ctx: inngest.Context) -> str:
    async def native() -> str:
        return "native"

    return await ctx.step.run("only", native)


def _native_sync(ctx: inngest.ContextSync) -> str:
    return ctx.step.run("only", lambda: "native")
