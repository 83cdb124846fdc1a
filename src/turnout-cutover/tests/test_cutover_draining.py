"""A provider is drained when nothing new goes there and nothing is open, by both lists."""

from typing import Any

import pytest
from turnout_cutover.changes import Signature
from turnout_cutover.draining import Drain, Phase, compare, drain, phase_of
from turnout_cutover.moving import MoveRequest, move
from turnout_cutover.open_runs import OpenRuns, VendorRun
from turnout_cutover.stages import read_target
from turnout_testing.conformance.run_store_values import emission, new_run

from tests.operated_service import T0, Service, replica
from turnout.model.providers import Sighting
from turnout.model.routing import Route, Stage
from turnout.model.runs import SendResult
from turnout.model.status import RunStatus

OPEN = OpenRuns(
    task="order", provider="acme", count=1, queued=0, parked=0, oldest=T0, latest_end=None
)


def route(stage: Stage) -> Route:
    """Make a route from acme to bolt."""
    return Route(stage=stage, old="acme", new="bolt", percentage=10)


@pytest.mark.parametrize(
    ("stage", "old", "new"),
    [
        (Stage.OLD, Phase.ACTIVE, Phase.DRAINED),
        (Stage.DUAL, Phase.ACTIVE, Phase.DRAINED),
        (Stage.RAMP, Phase.ACTIVE, Phase.ACTIVE),
        (Stage.NEW, Phase.DRAINED, Phase.ACTIVE),
        (Stage.DRAINED, Phase.DRAINED, Phase.ACTIVE),
    ],
)
def test_the_stage_says_where_new_runs_go(stage: Stage, old: Phase, new: Phase) -> None:
    """While it ramps, to both; what is open where no new runs go drains."""
    following = [replica("r1")]
    assert phase_of("acme", route(stage), following, None) is old
    assert phase_of("bolt", route(stage), following, None) is new
    drains = Phase.DRAINING if old is Phase.DRAINED else Phase.ACTIVE
    assert phase_of("acme", route(stage), following, OPEN) is drains


def test_whoever_ignores_routes_keeps_a_provider_active() -> None:
    """So does a task of which nobody knows where it goes."""
    absolute = [replica("r1"), replica("r2", provider="acme")]
    assert phase_of("acme", route(Stage.NEW), absolute, None) is Phase.ACTIVE
    assert phase_of("acme", None, [replica("r1")], None) is Phase.ACTIVE


@pytest.mark.parametrize(
    ("listed", "ours", "only_there", "only_here"),
    [
        ({}, {}, [], []),
        ({"v1": RunStatus.RUNNING}, {"v1": T0}, [], []),
        ({"v1": RunStatus.RUNNING}, {}, ["v1"], []),
        ({"v1": RunStatus.COMPLETED}, {}, [], []),
        ({"v1": None}, {}, [], []),
        ({}, {"v1": T0}, [], ["run-v1"]),
        ({}, {"v1": T0 + 60_000}, [], []),
        ({}, {"v1": None}, [], []),
    ],
)
def test_both_lists_must_have_the_same(
    listed: dict[str, RunStatus | None],
    ours: dict[str, int | None],
    only_there: list[str],
    only_here: list[str],
) -> None:
    """But for what the provider's list need not have yet, and for what has ended there."""
    sightings = {key: Sighting(state=state, word="w", seen_at=T0) for key, state in listed.items()}
    runs = [
        VendorRun(provider_run_id=key, run_id=f"run-{key}", claimed_at=at)
        for key, at in ours.items()
    ]
    comparison = compare(sightings, runs, before=T0 + 30_000)
    assert (comparison.only_there, comparison.only_here) == (only_there, only_here)
    assert comparison.agrees is not bool(only_there or only_here)


class Vendor:
    """A caller that lists its runs, a page for each."""

    list_lag = 30_000

    def __init__(self, *keys: str) -> None:
        self.keys = list(keys)

    async def list_runs(self, *, since: int | None = None, cursor: str = "") -> Any:
        """Give the page of this number."""
        assert since is None, "what is open is asked for"
        number = int(cursor or 0)
        page = {
            key: Sighting(state=RunStatus.RUNNING, word="w", seen_at=T0)
            for key in self.keys[number : number + 1]
        }
        return page, str(number + 1) if number + 1 < len(self.keys) else ""


async def looked(service: Service, vendor: Any) -> Drain:
    """Look at what is still at acme."""
    return await drain(service.operations(), "acme", vendor)


async def test_a_provider_is_drained_once_its_last_run_has_ended(service: Service) -> None:
    """Active, draining, drained; a run that only the provider knows keeps it from drained."""
    signature = Signature(operator="anna", reason="wave 1")
    await service.store.events.emit([emission(new_run("r1", task="order", provider="acme"))])
    result = SendResult(run_id="r1", number=1, due_at=T0, sent_at=T0, provider_run_id="v1")
    await service.store.deliveries.record([result])
    phases = []
    for to in ("ramp:10", "new"):
        request = MoveRequest(tasks=("order",), target=read_target(to), signature=signature)
        await move(service.operations(), request)
        seen = await looked(service, Vendor("v1"))
        phases += [task.phase for task in seen.tasks if task.task == "order"]
        assert seen.comparison.agrees
    assert phases == [Phase.ACTIVE, Phase.DRAINING]
    stranger = await looked(service, Vendor("v1", "v2", "v3"))
    assert stranger.comparison.only_there == ["v2", "v3"]
    assert not stranger.drained
    silent = await looked(service, object())
    assert "look at its dashboard" in silent.comparison.line()
    assert not silent.drained
