"""Adopted functions are asked as Inngest's server asks them, and come to the same."""

import asyncio
from collections import Counter
from typing import Any

import inngest
import pytest
from inngest_stage import until
from turnout_inngest.adoption import adopt
from turnout_testing import TaskRun, run_task
from turnout_testing.backends import open_backend

from turnout import Event
from turnout.model.status import RunStatus

client = inngest.Inngest(app_id="asked", is_production=False)
MINUTE = 60_000


def function(handler: Any, **options: Any) -> inngest.Function[Any]:
    """Declare a function that starts on `asked/<its name>`, and is tried once unless said."""
    name = handler.__name__
    options = {"retries": 0, "trigger": inngest.TriggerEvent(event=f"asked/{name}"), **options}
    found: inngest.Function[Any] = client.create_function(fn_id=name, **options)(handler)
    return found


async def ran(handler: Any, payload: Any = None, **options: Any) -> TaskRun:
    """Run a function, adopted, to its end."""
    (task,) = adopt(client, [function(handler, **options)]).tasks
    return await run_task(task, payload)


def steps_of(found: TaskRun) -> set[str]:
    """Name the steps that are the function's own."""
    return {each for each in found.steps if not each.startswith("(function")}


async def test_a_request_for_each_step_and_one_for_the_end() -> None:
    """Middleware sees no more requests than at the vendor, and its changes are kept."""
    seen: Counter[str] = Counter()

    class Noting(inngest.MiddlewareSync):
        def before_response(self) -> None:
            seen["responses"] += 1

        def transform_output(self, result: inngest.TransformOutputResult) -> None:
            if result.output == "one":
                result.output = "changed"

    async def two(ctx: inngest.Context) -> Any:
        seen["entries"] += 1
        one = await ctx.step.run("one", _says("one"))
        return [one, await ctx.step.run("two", _says("two"))]

    found = await ran(two, middleware=[Noting])
    assert (found.result, seen) == (["changed", "two"], {"entries": 3, "responses": 3})
    assert found.steps["one"] == "changed"


async def test_steps_side_by_side_are_planned_once() -> None:
    """A request plans them, one runs each, and what comes after needs no plan of its own."""
    seen: Counter[str] = Counter()

    async def beside(ctx: inngest.Context) -> Any:
        seen["entries"] += 1
        both = await ctx.group.parallel(
            (lambda: ctx.step.run("left", _says(1)), lambda: ctx.step.run("right", _says(2)))
        )
        return [*both, await ctx.step.run("after", _says(3))]

    found = await ran(beside)
    assert (found.result, seen["entries"]) == ([1, 2, 3], 5)


async def test_a_step_in_a_step_fails_as_the_sdk_has_it() -> None:
    """Once, however many tries there are, and nothing after it runs."""
    seen: Counter[str] = Counter()

    async def nested(ctx: inngest.Context) -> None:
        async def outer() -> None:
            seen["outer"] += 1
            await ctx.step.run("inner", _says("inner"))

        await ctx.step.run("outer", outer)
        seen["after"] += 1

    found = await ran(nested, retries=3)
    assert found.error is not None
    assert (found.error.name, found.error.message) == (
        "CodedError",
        "Nested steps are not supported.",
    )
    assert seen == {"outer": 1}


async def test_steps_may_come_in_another_order() -> None:
    """Each runs once, in whatever order the code comes to them."""
    seen: Counter[str] = Counter()

    async def turning(ctx: inngest.Context) -> None:
        seen["entries"] += 1
        names = ["a", "b"] if seen["entries"] % 2 else ["b", "a"]
        for name in names:
            await ctx.step.run(name, _counts(seen, name))

    found = await ran(turning)
    assert (found.state, seen["a"], seen["b"]) == (RunStatus.COMPLETED, 1, 1)


async def test_another_step_may_come_when_one_is_tried_again() -> None:
    """What the code comes to then is what counts; the step that failed runs later."""
    seen: Counter[str] = Counter()

    async def fickle(ctx: inngest.Context) -> list[str]:
        seen["entries"] += 1
        names = ["b", "a"] if seen["entries"] == 2 else ["a", "b"]
        return [await ctx.step.run(name, _fails_first(seen, name)) for name in names]

    found = await ran(fickle, retries=3)
    assert (found.state, found.result) == (RunStatus.COMPLETED, ["a", "b"])
    assert (seen["a"], seen["b"]) == (2, 2)


@pytest.mark.parametrize(("retries", "ends"), [(1, RunStatus.FAILED), (2, RunStatus.COMPLETED)])
async def test_tries_of_the_code_before_a_step_are_its_own(retries: int, ends: RunStatus) -> None:
    """One budget for a request: the code up to a step, and the step."""
    seen: Counter[str] = Counter()
    attempts: list[int] = []

    async def slow(ctx: inngest.Context) -> str:
        attempts.append(ctx.attempt)
        seen["entries"] += 1
        if seen["entries"] == 1:
            raise ValueError("not yet")
        return await ctx.step.run("late", _fails_first(seen, "late"))

    found = await ran(slow, retries=retries)
    assert found.state is ends
    assert attempts[: retries + 1] == list(range(retries + 1))


async def test_events_of_different_steps_are_different_events() -> None:
    """Each is sent once, under a key of its own."""

    async def telling(ctx: inngest.Context) -> list[str]:
        first = await ctx.step.send_event("first", inngest.Event(name="asked/told", data={"n": 1}))
        second = await ctx.step.send_event(
            "second", inngest.Event(name="asked/told", data={"n": 2})
        )
        return first + second

    found = await ran(telling)
    assert len(set(found.result)) == 2
    assert list(found.emitted) == [("asked/told", {"n": 1}), ("asked/told", {"n": 2})]


async def test_a_cancelled_runs_code_goes_on_to_its_next_step() -> None:
    """As at the vendor: the run ends at once, and the code is not interrupted."""
    going, seen = asyncio.Event(), Counter[str]()

    async def busy(ctx: inngest.Context) -> None:
        del ctx
        seen["began"] += 1
        await going.wait()
        seen["ended"] += 1

    app = adopt(client, [function(busy)]).app()
    async with open_backend("local", app=app) as world:
        (emitted,) = await world.orchestrator.emit(Event(name="asked/busy"))
        await until(lambda: _true(bool(seen["began"])))
        cancelled = await world.orchestrator.cancel(emitted.runs[0].run_id)
        assert (cancelled.state, seen) == (RunStatus.CANCELLED, {"began": 1})
        going.set()
        await until(lambda: _true(bool(seen["ended"])))


async def test_an_awaited_event_comes_whole() -> None:
    """With its name, the id that its sender gave it, and its time."""

    async def waiting(ctx: inngest.Context) -> Any:
        event = await ctx.step.wait_for_event("word", event="asked/word", timeout=MINUTE)
        return None if event is None else [event.name, event.id, event.ts > 0, event.data]

    app = adopt(client, [function(waiting)]).app()
    async with open_backend("local", app=app) as world:
        (emitted,) = await world.orchestrator.emit(Event(name="asked/waiting"))
        run_id = emitted.runs[0].run_id

        async def result() -> bytes | None:
            return (await world.store.journals.load(run_id)).run.result

        await world.parked(run_id, "event")
        word = Event(name="asked/word", payload={"n": 1}, key="inngest:asked/word:w-1")
        await world.orchestrator.emit(word)
        assert await until(result) == b'["asked/word","w-1",true,{"n":1}]'


def _says(value: Any) -> Any:
    async def say() -> Any:
        return value

    return say


def _counts(seen: Counter[str], name: str) -> Any:
    async def count() -> str:
        seen[name] += 1
        return name

    return count


def _fails_first(seen: Counter[str], name: str) -> Any:
    async def fail_first() -> str:
        seen[name] += 1
        if seen[name] == 1:
            raise ValueError(f"{name} not yet")
        return name

    return fail_first


async def _true(found: bool) -> bool | None:
    return found or None
