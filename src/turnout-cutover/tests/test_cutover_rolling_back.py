"""A rollback is done when each of its steps was seen to be done; until then it shows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from turnout_cutover.banner import way_back
from turnout_cutover.changes import Action, Entry, Signature
from turnout_cutover.move_file import MoveFile, Probe
from turnout_cutover.moving import MoveRequest, move
from turnout_cutover.outcome import Exit, Stopped
from turnout_cutover.overview import overview
from turnout_cutover.rolling_back import (
    PROBE_COMPLETED,
    RolledBack,
    moved_tasks,
    roll_back,
    rollback_request,
)
from turnout_cutover.stages import read_target
from turnout_testing.conformance.run_store_values import emission, new_run

from tests.operated_service import T0, Service, replica
from turnout.errors import InvalidSettings, ProviderUnavailable, TurnoutError
from turnout.model.routing import Stage
from turnout.model.schedules import ArmedSchedule, Schedule

ANNA = Signature(operator="anna", reason="errors at bolt")


class Vendor:
    """A provider whose runtime has these schedules; None: it does not answer."""

    def __init__(self, *schedules: str, away: bool = False) -> None:
        self.schedules = schedules
        self.away = away

    async def armed(self) -> list[ArmedSchedule]:
        """Read them back."""
        if self.away:
            raise ProviderUnavailable("acme does not answer")
        return [
            ArmedSchedule(id=name, task="order", cron="* * * * *", zone="UTC", active=True)
            for name in self.schedules
        ]


async def back(service: Service, vendor: Vendor | None, **options: Any) -> RolledBack:
    """Roll order back, with as much of an app as is asked; vendor: None: it is not set up."""
    callers = {} if vendor is None else {"acme": vendor}

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield SimpleNamespace(store=service.store, clock=service.clock, callers=callers)

    operations = service.operations()
    request = rollback_request(operations, ("order",), ANNA, **options)
    return await roll_back(operations, request, opened)


@pytest.fixture
async def moved(service: Service) -> Service:
    """A service whose order has gone to the new provider for a quarter, with a schedule."""
    schedule = Schedule(id="nightly", task="order", cron="0 3 * * *", zone="UTC")
    await service.store.schedules.put(schedule, "bolt", T0)
    request = MoveRequest(tasks=("order",), target=read_target("ramp:25"), signature=ANNA)
    await move(service.operations(), request)
    return service


async def test_a_schedule_that_is_not_armed_leaves_a_rollback_half_done(moved: Service) -> None:
    """Status names the step; the same command goes on, and the task is clean after it."""
    for vendor in (Vendor(), Vendor(away=True)):
        with pytest.raises(Stopped, match="2 of 3 steps; not schedules armed") as stopped:
            await back(moved, vendor)
        assert stopped.value.exit is Exit.PARTWAY
        seen = await overview(moved.operations())
        assert (seen.clean, seen.tasks[0].half_done) == (False, True)
        assert seen.next_command == "turnout rollback order --reason …"
    assert (await moved.log.routes())["order"].stage is Stage.OLD
    done = await back(moved, Vendor("nightly"))
    assert [step.verified for step in done.steps] == [True] * 3
    assert (await overview(moved.operations())).clean


async def test_an_old_provider_that_is_not_set_up_leaves_a_rollback_half_done(
    moved: Service,
) -> None:
    """The routes are written, and the step names the provider that cannot be read from here."""
    with pytest.raises(Stopped, match="acme is not set up here") as stopped:
        await back(moved, None)
    assert stopped.value.exit is Exit.PARTWAY
    assert (await moved.log.routes())["order"].stage is Stage.OLD


async def test_a_paused_schedule_need_not_be_armed(moved: Service) -> None:
    """Its slots start nothing at either provider."""
    schedule = Schedule(id="nightly", task="order", cron="0 3 * * *", zone="UTC", paused=True)
    await moved.store.schedules.put(schedule, "bolt", T0)
    assert len((await back(moved, Vendor())).steps) == 3


async def test_a_dry_run_says_what_stays_at_the_new_provider(moved: Service) -> None:
    """By task, with the number of open runs; nothing is changed, and no provider is asked."""
    await moved.store.events.emit(
        [emission(new_run(f"r{n}", task="order", provider="bolt")) for n in range(3)]
    )
    planned = await back(moved, Vendor(away=True), dry_run=True)
    assert [(runs.task, runs.provider, runs.count) for runs in planned.staying] == [
        ("order", "bolt", 3)
    ]
    assert (await moved.log.routes())["order"].stage is Stage.RAMP


async def test_a_rollback_that_replicas_would_ignore_is_refused(moved: Service) -> None:
    """Nothing is written: it would look done."""
    moved.replicas = [replica("r1"), replica("r2", provider="bolt")]
    moved.clock.meanwhile = moved.beat
    await moved.follow()
    with pytest.raises(Stopped, match="routes are ignored by 1 replica") as stopped:
        await back(moved, Vendor("nightly"))
    assert stopped.value.exit is Exit.REFUSED
    assert (await moved.log.routes())["order"].stage is Stage.RAMP


async def test_all_leaves_out_what_is_pinned_or_back(moved: Service) -> None:
    """Those that have left their old provider, and nothing else."""
    for tasks, options in (
        (("report",), {"target": read_target("dual")}),
        (("report",), {"stay": True, "action": Action.STAY}),
    ):
        request = MoveRequest(tasks=tasks, signature=ANNA, **options)
        await move(moved.operations(), request)
    assert moved_tasks(await moved.log.routes()) == ["order"]
    await back(moved, Vendor("nightly"))
    assert moved_tasks(await moved.log.routes()) == []


async def test_a_declared_probe_is_a_step(moved: Service) -> None:
    """It counts as missing where the app cannot be opened."""

    @asynccontextmanager
    async def opened(fault: TurnoutError | None) -> AsyncIterator[Any]:
        if fault is not None:
            raise fault
        yield

    declared = MoveFile(probe=Probe(task="turnout-probe"))
    operations = moved.operations(move_file=declared)
    request = rollback_request(operations, ("order",), ANNA)
    with pytest.raises(Stopped, match="2 of 4 steps"):
        await roll_back(operations, request, lambda: opened(InvalidSettings("no app here")))


def test_the_way_back_is_proven_by_a_probe_and_closed_by_a_flag() -> None:
    """The newest proof counts, and none where a replica ignores routes."""
    proofs = [
        Entry(
            number=number,
            task="order",
            action=Action.VERIFIED,
            at=T0 + number * 60_000,
            signature=ANNA,
            detail={"step": step},
        )
        for number, step in ((1, PROBE_COMPLETED), (2, PROBE_COMPLETED), (3, "replicas agree"))
    ]
    assert way_back(proofs, []) == "proven 2027-01-15T08:02Z"
    assert way_back(proofs[2:], []) == "not proven yet"
    assert way_back(proofs, ["bolt"]).startswith("CLOSED: routes are ignored")
