"""status: state, steps, attempts, timings, and what the provider itself says."""

import orjson
import pytest

from turnout.errors import UnknownRun
from turnout.model.status import AttemptState, Capability, RunStatus, StepKind, StepState
from turnout_testing.conformance.behaviour import behaviour
from turnout_testing.conformance.world import World, result_of

TRIES = 3
status = behaviour(Capability.STATUS)


@status
async def a_run_passes_through_its_states(world: World) -> None:
    """A run is queued, then running, then completed; each state once, in order of time."""
    run_id = await world.start("three", id=world.fresh())
    report = await world.ended(run_id)
    states = [transition.state for transition in report.transitions]
    assert states == [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.COMPLETED]
    times = [transition.at for transition in report.transitions]
    assert times == sorted(times)


@status
async def a_sleeping_run_is_running(world: World) -> None:
    """A run that sleeps is running and parked, whatever the vendor calls it."""
    for nap in ("1s", "5s", "30s"):
        run_id = await world.start("nap", **{"id": world.fresh(), "for": nap})
        if await _seen_running(world, run_id, "sleep"):
            return
    raise AssertionError("each look took longer than its nap")


@status
async def a_retrying_run_is_running(world: World) -> None:
    """A run between two attempts of a step is running, not failed."""
    for _ in range(TRIES):
        run_id = await world.start("flaky", id=world.fresh(), fails=2)
        if await _seen_running(world, run_id, "backoff"):
            return
    raise AssertionError(f"each of {TRIES} looks took longer than the back-offs")


@status
async def a_failed_run_says_why(world: World) -> None:
    """A failed run has the error's name and message."""
    run_id = await world.start("flaky", id=world.fresh(), fails=9)
    run = (await world.ended(run_id)).journal.run
    assert run.state is RunStatus.FAILED
    assert run.error is not None
    assert run.error.name == "StepFailed"
    assert "attempt 3" in run.error.message


@status
async def steps_and_attempts_are_listed(world: World) -> None:
    """Every step is listed with its kind, its state and its attempts, in the order of asking."""
    run_id = await world.start("flaky", id=world.fresh(), fails=1)
    journal = (await world.ended(run_id)).journal
    (step,) = journal.steps.values()
    assert (step.step, step.kind, step.state) == ("try", StepKind.STEP, StepState.COMPLETED)
    states = [attempt.state for attempt in journal.attempts["try"]]
    assert states == [AttemptState.FAILED, AttemptState.COMPLETED]
    assert [attempt.number for attempt in journal.attempts["try"]] == [1, 2]


@status
async def the_provider_agrees_in_the_end(world: World) -> None:
    """When a run has completed, so has the provider's own run, by its own word."""
    run_id = await world.start("three", id=world.fresh())
    await _the_provider_says(world, run_id, RunStatus.COMPLETED)


@status
async def the_provider_agrees_on_a_failure(world: World) -> None:
    """When a run has failed, the provider's own run has failed too."""
    run_id = await world.start("twice", id=world.fresh())
    await _the_provider_says(world, run_id, RunStatus.FAILED)


@status
async def progress_is_seen(world: World) -> None:
    """What a task says of itself is in its status while it runs."""
    name = world.fresh()
    run_id = await world.start("told", id=name)
    progress = (await world.parked(run_id, "event")).journal.run.progress
    assert progress is not None
    assert orjson.loads(progress) == {"half": True}
    await world.emit("conformance/go", id=name)
    result_of(await world.ended(run_id))


@status
async def one_delivery_is_enough(world: World) -> None:
    """A run that meets no fault is handed over once."""
    run_id = await world.start("three", id=world.fresh())
    report = await world.ended(run_id)
    assert [delivery.number for delivery in report.deliveries] == [1]


@status
async def an_unknown_run_has_no_status(world: World) -> None:
    """There is no status of a run that is not known."""
    with pytest.raises(UnknownRun):
        await world.report(world.fresh())


async def _seen_running(world: World, run_id: str, reason: str) -> bool:
    """See a parked run as running, here and at the provider; False where it ended meanwhile."""
    await world.parked(run_id, reason, or_ended=True)
    report = await world.orchestrator.status(run_id, look=True)
    went_on = not (await world.report(run_id)).journal.run.state.terminal
    await world.ended(run_id)
    if went_on:
        assert report.journal.run.state is RunStatus.RUNNING
        assert report.sighting is None or report.sighting.state is RunStatus.RUNNING
    return went_on


async def _the_provider_says(world: World, run_id: str, state: RunStatus) -> None:
    """Wait for the run's end, and for a provider of its own to say that it ended so."""
    await world.ended(run_id)
    if world.embedded:
        return

    async def agrees() -> bool:
        sighting = (await world.orchestrator.status(run_id, look=True)).sighting
        return sighting is not None and sighting.state is state

    await world.until(agrees, f"the provider says that {run_id} is {state}")


BEHAVIOURS = (
    a_run_passes_through_its_states,
    a_sleeping_run_is_running,
    a_retrying_run_is_running,
    a_failed_run_says_why,
    steps_and_attempts_are_listed,
    the_provider_agrees_in_the_end,
    the_provider_agrees_on_a_failure,
    progress_is_seen,
    one_delivery_is_enough,
    an_unknown_run_has_no_status,
)
