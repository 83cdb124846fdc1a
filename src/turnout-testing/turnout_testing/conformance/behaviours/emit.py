"""emit: every subscribed task starts once; the runs, with their ids, are returned at once."""

import asyncio

import pytest

from turnout.errors import InvalidPayload, InvalidRunId, TooLarge, WrongUse
from turnout.model.events import Event
from turnout.model.runs import RunFilter
from turnout.model.status import Capability, RunStatus
from turnout.model.time import as_datetime
from turnout_testing.conformance.behaviour import behaviour
from turnout_testing.conformance.world import World, result_of

emit = behaviour(Capability.EMIT)


@emit
async def emit_returns_the_run_at_once(world: World) -> None:
    """The run's id is returned before any provider was asked, and the run is there."""
    run_id = await world.start("three", id=world.fresh())
    assert (await world.report(run_id)).journal.run.task == "three"
    await world.ended(run_id)


@emit
async def one_event_starts_every_subscriber(world: World) -> None:
    """An event starts each subscribed task once."""
    name = world.fresh()
    runs = await world.emit("conformance/both", id=name)
    tasks = [(await world.ended(run_id)).journal.run.task for run_id in runs]
    assert sorted(tasks) == ["echo", "three"]
    assert world.trace.count(name, "step-1") == 1


@emit
async def an_event_without_subscribers_starts_nothing(world: World) -> None:
    """An event that no task subscribes to starts no run and is no error."""
    assert not await world.emit("conformance/nobody", id=world.fresh())


@emit
async def a_key_is_used_once(world: World) -> None:
    """A second emit with the same key starts nothing and gives the first run."""
    name = world.fresh()
    first = await world.start("three", id=name, key=name)
    repeated = Event(name="conformance/three", payload={"id": name}, key=name)
    (emitted,) = await world.orchestrator.emit(repeated)
    assert [(run.run_id, run.duplicate) for run in emitted.runs] == [(first, True)]
    await world.ended(first)
    assert world.trace.count(name, "step-1") == 1


@emit
async def a_key_used_twice_at_once_starts_one_run(world: World) -> None:
    """Of two emits with one key at the same time, one starts the run and both get its id."""
    name = world.fresh()
    runs = await asyncio.gather(*(world.start("three", id=name, key=name) for _ in range(5)))
    assert len(set(runs)) == 1
    await world.ended(runs[0])
    assert world.trace.count(name, "step-1") == 1


@emit
async def a_key_stays_used_after_a_failure(world: World) -> None:
    """A key is not given free again when its run has failed: unique per task, for ever."""
    name = world.fresh()
    first = await world.start("twice", id=name, key=name)
    assert (await world.ended(first)).journal.run.state is RunStatus.FAILED
    assert await world.start("twice", id=name, key=name) == first


@emit
async def a_key_belongs_to_its_task(world: World) -> None:
    """Two tasks may be given the same key."""
    name = world.fresh()
    first = await world.start("three", id=name, key=name)
    second = await world.start("echo", id=name, key=name)
    assert first != second
    result_of(await world.ended(first))
    result_of(await world.ended(second))


@emit
async def a_payload_that_does_not_fit_is_refused(world: World) -> None:
    """A payload that does not fit the task's model is refused at emit, by the field's path."""
    with pytest.raises(InvalidPayload, match=r"payload\.amount"):
        await world.start("typed", id=world.fresh(), amount="many")


@emit
async def a_refused_event_records_nothing(world: World) -> None:
    """Of several events emitted together, none is recorded when one is refused."""
    name = world.fresh()
    good = Event(name="conformance/echo", payload={"id": name}, key=name)
    bad = Event(name="conformance/typed", payload={"id": name})
    with pytest.raises(InvalidPayload):
        await world.orchestrator.emit(good, bad)
    runs = await world.store.runs.find(RunFilter(task="echo", limit=1_000))
    assert name not in {run.key for run in runs}


@emit
async def a_payload_arrives_unchanged(world: World) -> None:
    """Text of any language, nested values, null and large numbers arrive as they were sent."""
    payload = {"id": "Ґ한日\n", "list": [1, 1.5, True, None, {"": []}], "big": 2**53 + 1}
    run_id = await world.start("echo", **payload)
    assert result_of(await world.ended(run_id)) == payload


@emit
async def a_large_payload_arrives(world: World) -> None:
    """A payload of a megabyte arrives, whatever the vendor's own limits are."""
    payload = {"id": world.fresh(), "text": "x" * 1_000_000}
    run_id = await world.start("echo", **payload)
    assert result_of(await world.ended(run_id)) == payload


@emit
async def a_payload_that_is_too_large_is_refused(world: World) -> None:
    """A payload of more than 3 MiB is refused by its size."""
    with pytest.raises(TooLarge):
        await world.start("echo", id=world.fresh(), text="x" * 3_200_000)


@emit
async def a_delayed_run_starts_when_due(world: World) -> None:
    """A run with a start in the future is queued until then, and not much longer."""
    at = world.clock.now() + 3_000
    run_id = await world.start("echo", id=world.fresh(), at=as_datetime(at))
    assert (await world.report(run_id)).journal.run.state is RunStatus.QUEUED
    delay = await world.delay_at(at)
    started = (await world.ended(run_id)).journal.run.started_at
    assert started is not None
    assert at - world.early <= started <= at + delay + world.slack


@emit
async def a_caller_may_name_the_run(world: World) -> None:
    """A run id of the caller's own is used as it is."""
    name = f"own-{world.fresh()}"
    event = Event(name="conformance/echo", payload={"id": name}, run_id=name)
    (emitted,) = await world.orchestrator.emit(event)
    assert [run.run_id for run in emitted.runs] == [name]
    result_of(await world.ended(name))


@emit
async def an_unsafe_run_id_is_refused(world: World) -> None:
    """A run id that is no safe path segment, or that names a shadow, is refused."""
    for name in ("../x", "a/b", "", "x" * 200, "run-dryrun", ".hidden"):
        event = Event(name="conformance/echo", payload={"id": name}, run_id=name)
        with pytest.raises(InvalidRunId):
            await world.orchestrator.emit(event)


@emit
async def a_named_run_of_two_tasks_is_refused(world: World) -> None:
    """A run id goes with an event that starts exactly one task."""
    event = Event(name="conformance/both", payload={"id": "x"}, run_id=world.fresh())
    with pytest.raises(WrongUse):
        await world.orchestrator.emit(event)


@emit
async def many_events_in_one_call(world: World) -> None:
    """Fifty events in one call start fifty runs, each once, in order of emit."""
    name = world.fresh()
    events = [
        Event(name="conformance/echo", payload={"id": name, "number": number})
        for number in range(50)
    ]
    emitted = await world.orchestrator.emit(*events)
    runs = [event.runs[0].run_id for event in emitted]
    reports = [await world.ended(run_id) for run_id in runs]
    assert [result_of(report)["number"] for report in reports] == list(range(50))
    order = [report.journal.run.emit_seq for report in reports]
    assert order == sorted(order)


BEHAVIOURS = (
    emit_returns_the_run_at_once,
    one_event_starts_every_subscriber,
    an_event_without_subscribers_starts_nothing,
    a_key_is_used_once,
    a_key_used_twice_at_once_starts_one_run,
    a_key_stays_used_after_a_failure,
    a_key_belongs_to_its_task,
    a_payload_that_does_not_fit_is_refused,
    a_refused_event_records_nothing,
    a_payload_arrives_unchanged,
    a_large_payload_arrives,
    a_payload_that_is_too_large_is_refused,
    a_delayed_run_starts_when_due,
    a_caller_may_name_the_run,
    an_unsafe_run_id_is_refused,
    a_named_run_of_two_tasks_is_refused,
    many_events_in_one_call,
)
