"""Schedules that change hands: by the flag, by the routes, and who may no longer move them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from turnout_testing.clock import TurnableClock

from turnout import App, Context, Schedule, Turnout, open_turnout, task
from turnout.control.emissions import Emissions
from turnout.control.flag import FlagGeneration
from turnout.control.providers import Providers
from turnout.control.schedules import Schedules
from turnout.control.slots import ScheduleSlots
from turnout.errors import ProviderUnavailable
from turnout.local.caller import LocalCaller
from turnout.model.protocol import Tick
from turnout.model.routing import DUAL, Route, Selection, Stage, armed_at
from turnout.model.runs import RunFilter
from turnout.ports.caller import Surroundings

NIGHTLY = Schedule(id="nightly", task="report", cron="0 3 * * *")
DURING = Schedule(id="made-at-run-time", task="report", cron="* * * * *")


@task("report")
async def report(_ctx: Context, _payload: dict[str, Any]) -> None:
    """Do nothing."""


APP = App(name="moving", tasks=(report,), schedules=(NIGHTLY,))


class AwayCaller(LocalCaller):
    """A provider that does not answer while it is away; notes what it is armed with."""

    away = False

    def __init__(self, name: str, surroundings: Surroundings, order: list[str]) -> None:
        super().__init__(name, surroundings)
        self._order = order
        self.slow = False
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def arm(self, schedules: Any) -> None:
        """Arm, unless away; a slow provider takes the first list when the test lets it."""
        if self.away:
            raise ProviderUnavailable
        if self.slow and not self.asked.is_set():
            self.asked.set()
            await self.may_answer.wait()
        await super().arm(schedules)
        self._order.append(f"{self.name}: {', '.join(sorted(each.id for each in schedules))}")


async def unchanged() -> None:
    """Read no routes: the test sets them."""


@dataclass
class Replica:
    """A replica with the providers east and west, under one flag."""

    live: Turnout
    selection: Selection
    routes: Mapping[str, Route] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        live, store = self.live, self.live.store
        surroundings = Surroundings(
            settings={}, app=APP, worker=live.worker, runs_on=live.runs_on, clock=live.clock
        )
        self.callers = {
            name: AwayCaller(name, surroundings, self.order) for name in ("east", "west")
        }
        emissions = Emissions(
            app=APP, selection=self.selection, routes=lambda: self.routes, refresh=unchanged
        )
        self.slots = ScheduleSlots(schedules=store.schedules, emissions=emissions, clock=live.clock)
        self.flag = FlagGeneration(flags=store.flags, selection=self.selection, clock=live.clock)
        self.schedules = Schedules(
            schedules=store.schedules,
            slots=self.slots,
            emissions=emissions,
            providers=Providers(callers=self.callers, selection=self.selection),
            flag=self.flag,
            clock=live.clock,
        )

    async def start(self) -> None:
        """Do what a replica does when it starts, and at each beat."""
        await self.flag.join()
        await self.schedules.declare_all(APP.schedules)
        await self.beat()

    async def beat(self) -> None:
        """Arm what has changed."""
        for _ in range(2):
            await self.schedules.arm_changed(lambda _name: True, force=False)

    async def armed(self, name: str) -> set[str]:
        """Read what a provider is to fire."""
        return {schedule.id for schedule in await self.callers[name].armed()}

    async def owners(self) -> set[str]:
        """Read who owns the schedules."""
        return {owned.provider for owned in await self.live.store.schedules.read()}


@pytest.fixture
def clock() -> TurnableClock:
    """Give a clock that the test turns."""
    return TurnableClock()


@pytest.fixture
async def live(clock: TurnableClock) -> AsyncIterator[Turnout]:
    """Open a run store, and a worker on it; nothing runs."""
    app = App(name="moving", tasks=(report,))
    opened = open_turnout(app, {"ORCHESTRATOR_PROVIDER": "memory"}, clock=clock, serve=False)
    yield opened
    await opened.close()


def dual(**route: Any) -> Route:
    """Make a route from east to west."""
    return Route(old="east", new="west", **route)


async def test_schedules_made_at_run_time_follow_the_flag(live: Turnout) -> None:
    """After the flag is flipped the new provider fires them, and then the old one no longer."""
    east = Replica(live, Selection(provider="east"))
    await east.start()
    await east.schedules.schedule_recurring(DURING)
    both = {NIGHTLY.id, DURING.id}
    assert (await east.armed("east"), await east.armed("west")) == (both, set())
    west = Replica(live, Selection(provider="west"))
    await west.start()
    assert (await west.armed("west"), await west.armed("east")) == (both, set())
    assert await west.owners() == {"west"}


async def test_the_old_owner_is_disarmed_after_the_new_one_is_armed(live: Turnout) -> None:
    """While the new provider is away, the old one goes on firing."""
    await Replica(live, Selection(provider="east")).start()
    west = Replica(live, Selection(provider="west"))
    west.callers["west"].away = True
    await west.start()
    assert (await west.armed("east"), await west.owners()) == ({NIGHTLY.id}, {"east"})
    west.callers["west"].away = False
    west.order.clear()
    await west.beat()
    assert west.order == ["west: nightly", "east: "]


async def test_a_slow_arming_takes_no_newer_schedule_back(live: Turnout) -> None:
    """A change made while the provider is being armed is armed after it, not under it."""
    east = Replica(live, Selection(provider="east"))
    await east.start()
    provider = east.callers["east"]
    provider.slow = True
    first = asyncio.create_task(east.schedules.schedule_recurring(DURING))
    await provider.asked.wait()
    second = asyncio.create_task(east.schedules.unschedule(NIGHTLY.id))
    await asyncio.wait({second}, timeout=0.2)
    provider.may_answer.set()
    await asyncio.gather(first, second)
    armed = [entry for entry in east.order if entry.startswith("east")]
    assert armed[-2:] == [f"east: {DURING.id}, {NIGHTLY.id}", f"east: {DURING.id}"]
    assert await east.armed("east") == {DURING.id}


async def test_armings_that_wait_are_served_together(live: Turnout) -> None:
    """Many changes at once arm a slow provider twice: the first alone, then all the others."""
    east = Replica(live, Selection(provider="east"))
    await east.start()
    provider = east.callers["east"]
    provider.slow = True
    east.order.clear()
    names = [f"schedule-{number}" for number in range(10)]
    changes = [
        asyncio.create_task(east.schedules.schedule_recurring(replace(DURING, id=name)))
        for name in names
    ]
    await provider.asked.wait()
    while len(await east.schedules.schedules()) < len(names) + 1:
        await asyncio.sleep(0)
    await asyncio.wait(changes, timeout=0.2)
    provider.may_answer.set()
    await asyncio.gather(*changes)
    assert sum(entry.startswith("east") for entry in east.order) == 2
    assert await east.armed("east") == {NIGHTLY.id, *names}


async def test_a_replica_of_an_older_flag_neither_declares_nor_arms(live: Turnout) -> None:
    """It would take the schedules back; one that starts with its value again may do both."""
    east = Replica(live, Selection(provider="east"))
    await east.start()
    await Replica(live, Selection(provider="west")).start()
    east.order.clear()
    await east.schedules.declare_all([NIGHTLY, DURING])
    await east.beat()
    await east.schedules.arm_changed(lambda _name: True, force=True)
    assert (east.order, await east.owners()) == ([], {"west"})
    assert [schedule.id for schedule in await east.schedules.schedules()] == [NIGHTLY.id]
    back = Replica(live, Selection(provider="east"))
    await back.start()
    assert await back.owners() == {"east"}


async def test_a_command_with_another_flag_changes_nothing(live: Turnout) -> None:
    """A process that does not serve raises no generation, whatever its settings say."""
    east = Replica(live, Selection(provider="east"))
    await east.start()
    command = Replica(live, Selection(provider="west"))
    await command.schedules.declare_all([DURING])
    await command.schedules.arm_all()
    assert (command.order, await command.owners()) == ([], {"east"})
    same = Replica(live, Selection(provider="east"))
    await same.schedules.schedule_recurring(DURING)
    await east.beat()
    assert await east.armed("east") == {NIGHTLY.id, DURING.id}


async def test_a_move_of_a_task_takes_its_schedules_along(live: Turnout) -> None:
    """Both providers are armed from the first step to the last, so a rollback waits for none."""
    replica = Replica(live, Selection(provider=DUAL, primary="east", shadow="west"))
    replica.routes = {"report": dual(stage=Stage.OLD)}
    await replica.start()
    for stage, east, west, owner in (
        (Stage.OLD, True, False, "east"),
        (Stage.DUAL, True, True, "east"),
        (Stage.RAMP, True, True, "east"),
        (Stage.NEW, True, True, "west"),
        (Stage.DUAL, True, True, "east"),
        (Stage.NEW, True, True, "west"),
        (Stage.DRAINED, False, True, "west"),
    ):
        replica.routes = {"report": dual(stage=stage)}
        await replica.beat()
        armed = [bool(await replica.armed(name)) for name in ("east", "west")]
        assert (armed, await replica.owners()) == ([east, west], {owner}), stage


@pytest.mark.parametrize("ticking", ["east", "west"])
@pytest.mark.parametrize("flag", ["east", "west"])
async def test_the_flag_at_the_claim_chooses_who_runs_a_slot(
    live: Turnout, clock: TurnableClock, flag: str, ticking: str
) -> None:
    """The provider that ticks is a messenger: it may not have the run."""
    replica = Replica(live, Selection(provider=flag))
    await replica.start()
    slot = next(NIGHTLY.slots(live.clock.now()))
    await clock.turn_to(slot + 500)
    tick = Tick(schedule=NIGHTLY.id, slot=slot, provider=ticking, provider_run_id="x")
    assert (await replica.slots.tick(tick)).reason == "started"
    (run,) = await live.store.runs.find(RunFilter())
    assert run.provider == flag


def test_without_a_route_both_sides_of_a_dual_run_are_armed() -> None:
    """A task without a route is dual with the declared primary."""
    selection = Selection(provider=DUAL, primary="east", shadow="west")
    assert armed_at(selection, {}, task="report") == ("east", "west")
    assert armed_at(
        Selection(provider="west"), {"report": dual(stage=Stage.OLD)}, task="report"
    ) == ("west",)
