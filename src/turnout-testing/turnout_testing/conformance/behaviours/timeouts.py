"""timeouts: queue, run and step, by the wall clock, with one meaning."""

from turnout.model.status import AttemptState, Capability, RunStatus
from turnout_testing.conformance.behaviour import behaviour
from turnout_testing.conformance.world import World, error_text, result_of

TRIES = 5
timing = behaviour(Capability.TIMEOUTS)


async def start_queued(world: World, group: str, name: str, seconds: float) -> str:
    """Start a run that holds its slot, and another while the vendor is too slow to start one.

    The queue deadline counts the vendor's own delay, too.
    """
    for _ in range(TRIES):
        payload = {"id": name, "group": group, "for": seconds * world.longer}
        run_id = await world.start("queued", **payload)

        async def has_begun(run_id: str = run_id) -> bool:
            """Whether the run has begun, or ended."""
            ended = (await world.report(run_id)).journal.run.state.terminal
            return ended or world.trace.count(group, f"begin:{name}") > 0

        await world.until(has_begun, f"run {run_id} has begun")
        if world.trace.count(group, f"begin:{name}") > 0:
            return run_id
    raise AssertionError(f"none of {TRIES} runs began before its queue deadline")


@timing
async def a_run_that_takes_too_long_times_out(world: World) -> None:
    """A run whose step outlasts the run's deadline ends as timed out, at the deadline."""
    run_id = await world.start("bounded", id=world.fresh())
    run = (await world.ended(run_id)).journal.run
    assert run.state is RunStatus.TIMED_OUT
    took = (run.ended_at or 0) - (run.started_at or 0)
    assert 3_000 - world.early <= took <= 3_000 + world.slack


@timing
async def a_sleeping_run_times_out(world: World) -> None:
    """A run deadline counts waits: a run that sleeps past it ends as timed out."""
    run_id = await world.start("bounded", id=world.fresh(), asleep=True)
    assert (await world.ended(run_id)).journal.run.state is RunStatus.TIMED_OUT


@timing
async def a_timed_out_run_says_so(world: World) -> None:
    """A run that timed out is told from one that was cancelled, and says which deadline it was."""
    run = (await world.ended(await world.start("bounded", id=world.fresh()))).journal.run
    assert run.state is RunStatus.TIMED_OUT
    assert "run deadline" in error_text(run)


@timing
async def a_run_that_queues_too_long_times_out(world: World) -> None:
    """A run that does not start before the queue deadline ends as timed out, and never starts."""
    group = world.fresh()
    first = await start_queued(world, group, "1", 9.0)
    second = await world.start("queued", **{"id": "2", "group": group, "for": 0.0})
    run = (await world.ended(second)).journal.run
    assert run.state is RunStatus.TIMED_OUT
    assert "queue deadline" in error_text(run)
    assert world.trace.count(group, "begin:2") == 0
    result_of(await world.ended(first))


@timing
async def a_step_that_takes_too_long_is_tried_again(world: World) -> None:
    """A step's timeout ends one attempt, which counts; the next one may succeed."""
    run_id = await world.start("step-bounded", id=world.fresh())
    report = await world.ended(run_id)
    assert result_of(report) == 2
    states = [attempt.state for attempt in report.journal.attempts["stall"]]
    assert states == [AttemptState.TIMED_OUT, AttemptState.COMPLETED]


@timing
async def a_step_may_have_its_own_timeout(world: World) -> None:
    """A step's own timeout ends it; used up, it can be caught as TimedOut."""
    run_id = await world.start("step-own", id=world.fresh())
    assert result_of(await world.ended(run_id)) == "TimedOut"


@timing
async def an_attempt_that_timed_out_took_that_long(world: World) -> None:
    """The attempt that timed out is recorded with the time it was given."""
    run_id = await world.start("step-bounded", id=world.fresh())
    first = (await world.ended(run_id)).journal.attempts["stall"][0]
    took = (first.ended_at or 0) - first.claimed_at
    assert 1_000 - world.early <= took <= 1_000 + world.slack


@timing
async def the_next_in_line_starts_after_a_timeout(world: World) -> None:
    """A run that times out in the queue leaves the line to those behind it."""
    group = world.fresh()
    first = await start_queued(world, group, "1", 6.5)
    late = await world.start("queued", **{"id": "2", "group": group, "for": 0.0})
    assert (await world.ended(late)).journal.run.state is RunStatus.TIMED_OUT
    third = await start_queued(world, group, "3", 0.0)
    result_of(await world.ended(third))
    result_of(await world.ended(first))


@behaviour(Capability.TIMEOUTS, clock_bound=True)
async def the_failure_hook_is_for_timeouts_too(world: World) -> None:
    """`on_failure` runs when a run has timed out, and is told so."""
    name = world.fresh()
    await world.start("impatient", id=name)
    await world.marked(name, "hook:timed_out")
    assert world.trace.count(name, "hook:timed_out") == 1


BEHAVIOURS = (
    a_run_that_takes_too_long_times_out,
    a_sleeping_run_times_out,
    a_timed_out_run_says_so,
    a_run_that_queues_too_long_times_out,
    a_step_that_takes_too_long_is_tried_again,
    a_step_may_have_its_own_timeout,
    an_attempt_that_timed_out_took_that_long,
    the_next_in_line_starts_after_a_timeout,
    the_failure_hook_is_for_timeouts_too,
)
