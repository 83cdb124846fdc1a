"""cancel: that run stops, and no other; confirmed."""

import pytest

from turnout.errors import UnknownRun
from turnout.model.status import Capability, RunStatus
from turnout.model.time import as_datetime
from turnout_testing.conformance.behaviour import behaviour
from turnout_testing.conformance.world import World, result_of

cancelling = behaviour(Capability.CANCEL)


async def is_cancelled(world: World, run_id: str) -> None:
    """See that a run has ended as cancelled, by what is recorded and by the provider."""
    assert (await world.report(run_id)).journal.run.state is RunStatus.CANCELLED

    async def stopped() -> bool:
        """Whether the provider's run has ended."""
        report = await world.orchestrator.status(run_id, look=True)
        sighting = report.sighting
        return (
            sighting is None or sighting.state is None or sighting.state.terminal or world.embedded
        )

    await world.until(stopped, f"the provider's run of {run_id} has ended")


@cancelling
async def a_queued_run_is_cancelled(world: World) -> None:
    """A run that has not started ends as cancelled and never starts."""
    name = world.fresh()
    at = as_datetime(world.clock.now() + 60_000)
    run_id = await world.start("three", id=name, at=at)
    cancelled = await world.orchestrator.cancel(run_id)
    assert (cancelled.state, cancelled.changed) == (RunStatus.CANCELLED, True)
    await is_cancelled(world, run_id)
    assert world.trace.count(name, "step-1") == 0


@cancelling
async def a_sleeping_run_is_cancelled(world: World) -> None:
    """A run that sleeps ends as cancelled, at the provider too, and does not wake."""
    name = world.fresh()
    run_id = await world.start("nap", **{"id": name, "for": "2s"})
    await world.parked(run_id, "sleep")
    assert (await world.orchestrator.cancel(run_id)).changed
    await is_cancelled(world, run_id)
    await world.clock.sleep(3_000)
    assert world.trace.count(name, "after") == 0


@cancelling
async def a_waiting_run_is_cancelled(world: World) -> None:
    """A run that waits for an event ends as cancelled; the event comes too late."""
    name = world.fresh()
    run_id = await world.start("approval", id=name)
    await world.parked(run_id, "event")
    await world.orchestrator.cancel(run_id)
    await world.emit("conformance/approved", id=name)
    await is_cancelled(world, run_id)


@cancelling
async def a_running_step_sees_the_cancel(world: World) -> None:
    """A step that runs is told within seconds, and nothing after it runs."""
    name = world.fresh()
    run_id = await world.start("long", **{"id": name, "for": 20})
    await world.marked(name, "long")
    await world.orchestrator.cancel(run_id)
    cancelled_at = world.clock.now()
    await world.marked(name, "stopped")
    assert world.trace.times(name, "stopped")[0] - cancelled_at <= world.slack
    await is_cancelled(world, run_id)
    assert world.trace.count(name, "after") == 0


@cancelling
async def an_ended_run_stays_as_it_is(world: World) -> None:
    """Cancelling a run that has completed changes nothing and says so."""
    run_id = await world.start("echo", id=world.fresh())
    await world.ended(run_id)
    cancelled = await world.orchestrator.cancel(run_id)
    assert (cancelled.state, cancelled.changed) == (RunStatus.COMPLETED, False)


@cancelling
async def cancelling_twice_changes_once(world: World) -> None:
    """A second cancel finds the run cancelled."""
    run_id = await world.start("stoppable", id=world.fresh())
    assert (await world.orchestrator.cancel(run_id)).changed
    second = await world.orchestrator.cancel(run_id)
    assert (second.state, second.changed) == (RunStatus.CANCELLED, False)


@cancelling
async def an_unknown_run_is_an_error(world: World) -> None:
    """There is no cancelling of a run that is not known."""
    with pytest.raises(UnknownRun):
        await world.orchestrator.cancel(world.fresh())


@cancelling
async def a_neighbour_goes_on(world: World) -> None:
    """Of two runs of one task with one payload, only the one that is named stops."""
    name = world.fresh()
    first = await world.start("nap", **{"id": name, "for": "1s"})
    second = await world.start("nap", **{"id": name, "for": "1s"})
    await world.orchestrator.cancel(first)
    result_of(await world.ended(second))
    await is_cancelled(world, first)


@cancelling
async def children_are_cancelled_too(world: World) -> None:
    """A cancelled run's children are cancelled with it."""
    run_id = await world.start("parent", id=world.fresh(), child="stoppable")
    await world.parked(run_id, "child")
    (child,) = await world.store.runs.children(run_id)
    await world.orchestrator.cancel(run_id)
    await is_cancelled(world, child.run_id)


@cancelling
async def an_event_cancels_the_run_it_matches(world: World) -> None:
    """`cancel_on`: the event cancels the run whose value is the same, and no other."""
    first, second = world.fresh(), world.fresh()
    stops = await world.start("stoppable", id=first)
    stays = await world.start("stoppable", **{"id": second, "for": "4s"})
    await world.parked(stops, "sleep")
    await world.emit("conformance/stop", id=first)
    assert (await world.ended(stops)).journal.run.state is RunStatus.CANCELLED
    result_of(await world.ended(stays))


@cancelling
async def a_cancel_frees_the_slot(world: World) -> None:
    """The next run in line starts when the one that holds the slot is cancelled."""
    key = world.fresh()
    first = await world.start("single", id="first", group=key, rest="60s")
    second = await world.start("single", id="second", group=key)
    await world.parked(first, "sleep")
    await world.orchestrator.cancel(first)
    result_of(await world.ended(second))


@cancelling
async def the_failure_hook_is_not_for_cancels(world: World) -> None:
    """`on_failure` does not run when a run is cancelled."""
    name = world.fresh()
    run_id = await world.start("hooked", id=name, wait=True)
    await world.parked(run_id, "event")
    await world.orchestrator.cancel(run_id)
    await world.clock.sleep(1_000)
    assert not [mark for mark in world.trace.marks[name] if mark.label.startswith("hook")]


BEHAVIOURS = (
    a_queued_run_is_cancelled,
    a_sleeping_run_is_cancelled,
    a_waiting_run_is_cancelled,
    a_running_step_sees_the_cancel,
    an_ended_run_stays_as_it_is,
    cancelling_twice_changes_once,
    an_unknown_run_is_an_error,
    a_neighbour_goes_on,
    children_are_cancelled_too,
    an_event_cancels_the_run_it_matches,
    a_cancel_frees_the_slot,
    the_failure_hook_is_not_for_cancels,
)
