"""A provider may be given up when every requirement is met, and each that is not is named."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from turnout_cutover.changes import Action, Change, Signature
from turnout_cutover.moving import MoveRequest, move
from turnout_cutover.retiring import DAY, has_left, requirements
from turnout_cutover.stages import read_target
from turnout_testing.conformance.run_store_values import ended, started

from tests.operated_service import Service, replica
from turnout.model.routing import Route, Stage
from turnout.model.schedules import ArmedSchedule

ANNA = Signature(operator="anna", reason="wave 1")
NIGHTLY = ArmedSchedule(id="nightly", task="order", cron="0 3 * * *", zone="UTC", active=True)


@pytest.mark.parametrize(
    ("stage", "old", "new"),
    [
        (Stage.OLD, False, False),
        (Stage.DUAL, False, False),
        (Stage.RAMP, False, False),
        (Stage.NEW, True, False),
        (Stage.DRAINED, True, False),
    ],
)
def test_a_task_has_left_once_it_is_at_new(stage: Stage, old: bool, new: bool) -> None:
    """Before that a run, a shadow or the way back still needs both; a third is not concerned."""
    route = Route(stage=stage, old="acme", new="bolt")
    assert [has_left(name, route) for name in ("acme", "bolt")] == [old, new]
    assert has_left("carl", route)
    assert not has_left("acme", None)


class Vendor:
    """A provider that lists nothing open, and has these schedules."""

    list_lag = 0

    def __init__(self, *schedules: ArmedSchedule) -> None:
        self.schedules = list(schedules)

    async def armed(self) -> list[ArmedSchedule]:
        """Read them back."""
        return self.schedules

    async def list_runs(self, *, since: int | None = None, cursor: str = "") -> Any:
        """Nothing is open."""
        assert (since, cursor) == (None, "")
        return {}, ""


async def unmet(service: Service, *schedules: ArmedSchedule) -> list[str]:
    """Name the requirements that acme does not meet."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield SimpleNamespace(callers={"acme": Vendor(*schedules)})

    results = await requirements(service.operations(), "acme", opened, stable=14 * DAY)
    assert all(result.text for result in results)
    return [result.name for result in results if not result.satisfied]


async def test_requirements_are_met_one_after_the_other(service: Service) -> None:
    """Tasks, completion, schedules, and at last the days."""
    service.replicas = [replica("r1", tasks={"order": "1"})]
    service.clock.time += DAY
    await service.follow()
    assert await unmet(service, NIGHTLY) == ["tasks", "drained", "nothing armed"]
    for to in ("ramp:50", "new"):
        request = MoveRequest(tasks=("order",), target=read_target(to), signature=ANNA)
        await move(service.operations(), request)
    assert await unmet(service, NIGHTLY) == ["stable", "completed", "nothing armed"]
    await started(service.store, "r1", task="order", provider="bolt")
    await ended(service.store, "r1")
    assert await unmet(service) == ["stable"]
    service.clock.time += 15 * DAY
    await service.beat()
    assert await unmet(service) == []


async def test_an_override_is_no_stability(service: Service) -> None:
    """Nor is a way back; both count for the days, at whichever task."""
    service.clock.time += 100 * DAY
    await service.follow()
    before = Route(stage=Stage.NEW, old="acme", new="bolt")
    change = Change(
        task="order",
        action=Action.STAY,
        before=replace(before, generation=0),
        after=replace(before, stay=True),
        detail={"override": "x", "overridden": []},
    )
    assert not await service.log.change([change], ANNA, service.clock.now() - DAY)
    await service.follow()
    assert "stable" in await unmet(service)
