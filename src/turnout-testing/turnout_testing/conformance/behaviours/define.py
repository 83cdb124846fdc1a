"""define_task: tasks of steps are known to the provider, and mean the same everywhere."""

import pytest

from turnout.errors import InvalidDefinition
from turnout.model.status import Capability, RunStatus, StepKind
from turnout.model.tasks import App
from turnout_testing.conformance.behaviour import behaviour
from turnout_testing.conformance.world import World, error_text, result_of

define = behaviour(Capability.DEFINE_TASK)


@define
async def the_provider_knows_every_task(world: World) -> None:
    """Every task of the app is known to the provider's runtime."""
    defined = set(await world.caller.defined())
    assert {task.id for task in world.app.tasks} <= defined


@define
async def two_tasks_of_one_id_are_refused(world: World) -> None:
    """An app has one task of an id."""
    task = world.app.tasks[0]
    with pytest.raises(InvalidDefinition, match=task.id):
        App(name="twice", tasks=(task, task))


@define
async def each_step_runs_once(world: World) -> None:
    """Steps run in order, once each, and each gets the results of those before."""
    name = world.fresh()
    run_id = await world.start("three", id=name)
    assert result_of(await world.ended(run_id)) == [1, 2, 3]
    assert [mark.label for mark in world.trace.marks[name]] == ["step-1", "step-2", "step-3"]


@define
async def a_list_of_functions_is_a_task(world: World) -> None:
    """`define_task`: each function gets the result of the one before."""
    run_id = await world.start("chain", id=world.fresh(), number=20)
    assert result_of(await world.ended(run_id)) == 41


@define
async def models_go_in_and_come_out(world: World) -> None:
    """Payloads, step outputs and results may be pydantic models."""
    run_id = await world.start("typed", id="a", amount=3)
    assert result_of(await world.ended(run_id)) == {"text": "a", "amount": 3}


@define
async def bodies_are_sync_or_async(world: World) -> None:
    """A step's body is an ordinary function or an async one."""
    run_id = await world.start("bodies", id=world.fresh())
    assert result_of(await world.ended(run_id)) == ["async", "sync"]


@define
async def parallel_steps_run_side_by_side(world: World) -> None:
    """Parallel steps are under way at the same time; results come in the order of asking."""
    name = world.fresh()
    run_id = await world.start("fan", id=name)
    assert result_of(await world.ended(run_id)) == [0, 1, 2]
    assert world.trace.peak[name] >= 2


@define
async def a_failed_branch_does_not_stop_the_others(world: World) -> None:
    """The other branches go on to their ends before the failure is raised."""
    name = world.fresh()
    run_id = await world.start("branches", id=name)
    assert result_of(await world.ended(run_id)) == "bad"
    assert world.trace.count(name, "l2") == 1


@define
async def branches_may_branch(world: World) -> None:
    """Parallel branches may have parallel branches; their order is kept."""
    run_id = await world.start("nested", id=world.fresh())
    report = await world.ended(run_id)
    assert result_of(report) == [[1, 2], [1, 2]]
    steps = sorted(report.journal.steps.values(), key=lambda step: step.position)
    assert [step.step for step in steps] == ["a-1", "a-2", "b-1", "b-2"]


@define
async def one_step_id_twice_fails_by_name(world: World) -> None:
    """A run that uses a step id twice fails, and says which."""
    run_id = await world.start("twice", id=world.fresh())
    run = (await world.ended(run_id)).journal.run
    assert run.state is RunStatus.FAILED
    assert "DuplicateStep" in error_text(run)
    assert "'same'" in error_text(run)


@define
async def a_numbered_step_id_fails_by_name(world: World) -> None:
    """A step id that ends in a colon and digits is refused: vendors number repeated ids so."""
    run = (await world.ended(await world.start("numbered", id="x"))).journal.run
    assert run.state is RunStatus.FAILED
    assert "part-2" in error_text(run)


@define
async def a_foreign_await_fails_by_name(world: World) -> None:
    """A task function that awaits something other than ctx fails, and is told what to do."""
    run = (await world.ended(await world.start("foreign", id="x"))).journal.run
    assert run.state is RunStatus.FAILED
    assert "ForeignAwait" in error_text(run)


@define
async def an_output_that_is_not_json_fails_at_once(world: World) -> None:
    """A step whose output is not JSON is not tried again."""
    report = await world.ended(await world.start("no-json", id="x"))
    assert report.journal.run.state is RunStatus.FAILED
    assert len(report.journal.attempts["make"]) == 1


@define
async def a_child_gives_its_result(world: World) -> None:
    """invoke: the parent gets the child's result; the child is a run of its own."""
    run_id = await world.start("parent", id=world.fresh(), child="three")
    report = await world.ended(run_id)
    assert result_of(report) == [1, 2, 3]
    (child,) = await world.store.runs.children(run_id)
    assert (child.task, child.state) == ("three", RunStatus.COMPLETED)
    assert [step.kind for step in report.journal.steps.values()] == [StepKind.INVOKE]


@define
async def a_child_that_fails_can_be_caught(world: World) -> None:
    """A child's failure is raised in the parent as StepFailed, which can be caught."""
    run_id = await world.start("parent", id=world.fresh(), child="twice")
    assert result_of(await world.ended(run_id)) == ["failed", "DuplicateStep"]


@define
async def an_unknown_child_can_be_caught(world: World) -> None:
    """Invoking a task that is not there is a failure of that step."""
    run_id = await world.start("unknown-child", id=world.fresh())
    assert result_of(await world.ended(run_id)) == "UnknownTask"


@define
async def a_run_may_emit(world: World) -> None:
    """An event emitted inside a run starts its subscribers once, however often it is replayed."""
    name = world.fresh()
    run_id = await world.start("speaker", id=name)
    assert result_of(await world.ended(run_id))
    await world.marked(name, "heard")
    await world.clock.sleep(500)
    assert world.trace.count(name, "heard") == 1


@define
async def a_step_knows_its_key_and_attempt(world: World) -> None:
    """A body has an idempotency key that all attempts share, and the number of its attempt."""
    run_id = await world.start("keyed", id=world.fresh())
    assert result_of(await world.ended(run_id)) == [run_id, f"{run_id}/look", 2]


BEHAVIOURS = (
    the_provider_knows_every_task,
    two_tasks_of_one_id_are_refused,
    each_step_runs_once,
    a_list_of_functions_is_a_task,
    models_go_in_and_come_out,
    bodies_are_sync_or_async,
    parallel_steps_run_side_by_side,
    a_failed_branch_does_not_stop_the_others,
    branches_may_branch,
    one_step_id_twice_fails_by_name,
    a_numbered_step_id_fails_by_name,
    a_foreign_await_fails_by_name,
    an_output_that_is_not_json_fails_at_once,
    a_child_gives_its_result,
    a_child_that_fails_can_be_caught,
    an_unknown_child_can_be_caught,
    a_run_may_emit,
    a_step_knows_its_key_and_attempt,
)
