"""retries: max_attempts tries of one step, with the declared delays."""

from itertools import pairwise

from turnout.model.policies import Retries
from turnout.model.status import AttemptState, Capability, Held, RunStatus
from turnout_testing.conformance.behaviour import behaviour
from turnout_testing.conformance.world import World, result_of

retrying = behaviour(Capability.RETRIES)


def gaps(world: World, name: str) -> list[int]:
    """The pauses between attempts."""
    times = world.trace.times(name, "attempt")
    return [later - sooner for sooner, later in pairwise(times)]


@retrying
async def a_step_is_tried_until_it_succeeds(world: World) -> None:
    """A step that fails twice and then succeeds gives its result; the run completes."""
    name = world.fresh()
    run_id = await world.start("flaky", id=name, fails=2)
    assert result_of(await world.ended(run_id)) == 3
    assert world.trace.count(name, "attempt") == 3


@retrying
async def attempts_are_used_up(world: World) -> None:
    """`max_attempts` counts the first try: three attempts, then the run fails."""
    name = world.fresh()
    run_id = await world.start("flaky", id=name, fails=9)
    assert (await world.ended(run_id)).journal.run.state is RunStatus.FAILED
    assert world.trace.count(name, "attempt") == 3


@retrying
async def delays_grow_as_declared(world: World) -> None:
    """The second delay is the first one times the factor; none is shorter than declared."""
    name = world.fresh()
    await world.ended(await world.start("flaky", id=name, fails=2))
    first, second = gaps(world, name)
    assert 1_000 - world.early <= first <= 1_000 + world.slack
    assert 2_000 - world.early <= second <= 2_000 + world.slack


@retrying
async def delays_are_capped(world: World) -> None:
    """No delay is longer than `max_delay`."""
    name = world.fresh()
    await world.ended(await world.start("capped", id=name, fails=3))
    assert len(gaps(world, name)) == 3
    assert all(1_000 - world.early <= gap <= 1_000 + world.slack for gap in gaps(world, name))


@retrying
async def the_delay_is_recorded(world: World) -> None:
    """Each failed attempt records when the next one is due, exactly as declared."""
    run_id = await world.start("flaky", id=world.fresh(), fails=2)
    attempts = (await world.ended(run_id)).journal.attempts["try"]
    planned = [(attempt.retry_at or 0) - (attempt.ended_at or 0) for attempt in attempts[:-1]]
    assert planned == [1_000, 2_000]


@retrying
async def a_final_error_is_not_tried_again(world: World) -> None:
    """NonRetryable ends the step at its first attempt."""
    name = world.fresh()
    run = (await world.ended(await world.start("final", id=name))).journal.run
    assert run.state is RunStatus.FAILED
    assert world.trace.count(name, "attempt") == 1


@retrying
async def a_step_may_say_when(world: World) -> None:
    """RetryAfter sets the delay, whatever the policy says, and uses up an attempt."""
    name = world.fresh()
    run_id = await world.start("later", id=name)
    assert result_of(await world.ended(run_id)) == 2
    (gap,) = gaps(world, name)
    assert 2_000 - world.early <= gap <= 2_000 + world.slack


@retrying
async def a_failed_step_can_be_caught(world: World) -> None:
    """StepFailed is raised in the function, with the step, the error and the attempts."""
    run_id = await world.start("caught", id=world.fresh())
    assert result_of(await world.ended(run_id)) == ["try", "ValueError", 1]


@retrying
async def a_step_may_have_its_own_policy(world: World) -> None:
    """A step's own retries take the place of its task's."""
    name = world.fresh()
    await world.ended(await world.start("own", id=name))
    assert world.trace.count(name, "attempt") == 1


@retrying
async def each_step_has_its_own_budget(world: World) -> None:
    """Two steps that each fail twice both succeed: attempts are counted by step."""
    run_id = await world.start("budgets", id=world.fresh())
    assert result_of(await world.ended(run_id)) == [3, 3]


@retrying
async def a_branch_retries_while_another_runs(world: World) -> None:
    """A branch's delay does not wait for a longer branch to end."""
    name = world.fresh()
    run_id = await world.start("uneven", id=name)
    assert result_of(await world.ended(run_id)) == ["flaky", "slow"]
    second_try = world.trace.times(name, "flaky")[1]
    (slow,) = world.trace.times(name, "slow")
    assert second_try < slow


@retrying
async def failed_attempts_are_recorded(world: World) -> None:
    """Every failed attempt is recorded with its error, beside the one that succeeded."""
    run_id = await world.start("flaky", id=world.fresh(), fails=1)
    first, second = (await world.ended(run_id)).journal.attempts["try"]
    assert (first.state, second.state) == (AttemptState.FAILED, AttemptState.COMPLETED)
    assert first.error is not None
    assert (first.error.name, first.error.message) == ("ValueError", "attempt 1")
    assert second.error is None


@retrying
async def the_failure_hook_runs_once(world: World) -> None:
    """`on_failure` runs once after the run has failed, with the run's payload."""
    name = world.fresh()
    run_id = await world.start("hooked", id=name)
    assert (await world.ended(run_id)).journal.run.state is RunStatus.FAILED
    await world.marked(name, "hook:failed")
    await world.clock.sleep(500)
    assert world.trace.count(name, "hook:failed") == 1


@retrying
async def the_policy_is_held(world: World) -> None:
    """The orchestrator says who holds the policy."""
    holder = world.orchestrator.check_retries(Retries(max_attempts=5, min_delay="250ms"))
    assert holder is not Held.REFUSED


BEHAVIOURS = (
    a_step_is_tried_until_it_succeeds,
    attempts_are_used_up,
    delays_grow_as_declared,
    delays_are_capped,
    the_delay_is_recorded,
    a_final_error_is_not_tried_again,
    a_step_may_say_when,
    a_failed_step_can_be_caught,
    a_step_may_have_its_own_policy,
    each_step_has_its_own_budget,
    a_branch_retries_while_another_runs,
    failed_attempts_are_recorded,
    the_failure_hook_runs_once,
    the_policy_is_held,
)
