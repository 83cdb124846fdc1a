"""The tasks that behaviours are seen by; their bodies leave marks in a trace."""

import asyncio
import contextlib
import time
from collections import defaultdict
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from turnout.errors import NonRetryable, RetryAfter, StepFailed
from turnout.model.policies import CancelOn, Concurrency, Retries, Timeouts
from turnout.model.tasks import App, Task, define_task, task
from turnout_testing.conformance.world import Trace

Payload = dict[str, Any]
QUICK = Retries(max_attempts=3, min_delay="1s", max_delay="10s", factor=2)
ONCE = Retries(max_attempts=1)


class Order(BaseModel):
    """A payload with a model of its own."""

    id: str
    amount: int


class Line(BaseModel):
    """A step's output with a model of its own."""

    text: str
    amount: int


class Tasks:
    """Makes the tasks of one backend's app over one trace.

    longer: how many times longer than usual a run may wait for its start.
    """

    def __init__(self, trace: Trace, *, longer: float = 1.0) -> None:
        self.trace = trace
        self.longer = longer

    def app(self) -> App:
        """Gather all of them."""
        groups = [make() for make in self._makers()]
        return App(name="conformance", tasks=tuple(task for group in groups for task in group))

    def _makers(self) -> list[Any]:
        return [
            self._plain,
            self._waiting,
            self._parallel,
            self._failing,
            self._limited,
            self._timed,
            self._related,
            self._broken,
        ]

    def _plain(self) -> list[Task]:
        trace = self.trace

        @task("three", on=["conformance/three", "conformance/both"])
        async def three(ctx: Any, payload: Payload) -> list[int]:
            """Run three steps, each with the result of the one before."""

            def body(number: int) -> int:
                trace.mark(payload["id"], f"step-{number}")
                return number

            first = await ctx.step("one", body, 1)
            second = await ctx.step("two", body, first + 1)
            return [first, second, await ctx.step("three", body, second + 1)]

        @task("echo", on=["conformance/echo", "conformance/both"])
        async def echo(_ctx: Any, payload: Payload) -> Payload:
            """Give the payload back."""
            return payload

        @task("typed", on="conformance/typed")
        async def typed(ctx: Any, order: Order) -> Line:
            """Take a model, and give another one back."""

            def line() -> Line:
                return Line(text=order.id, amount=order.amount)

            entry = await ctx.step("line", line)
            assert isinstance(entry, Line)
            return entry

        @task("bodies", on="conformance/bodies")
        async def bodies(ctx: Any, payload: Payload) -> list[str]:
            """Run an async body, and an ordinary one."""

            async def slow() -> str:
                await asyncio.sleep(0.01)
                return "async"

            def blocking() -> str:
                time.sleep(0.01)
                return "sync"

            return [await ctx.step("a", slow), await ctx.step("b", blocking)]

        @task("keyed", on="conformance/keyed", retries=Retries(max_attempts=2, min_delay="1s"))
        async def keyed(ctx: Any, payload: Payload) -> list[Any]:
            """Give the run's id, and the key and the number of the second attempt."""

            def body() -> list[Any]:
                identity = [ctx.idempotency_key, ctx.attempt]
                if trace.mark(payload["id"], "keyed") == 1:
                    raise ValueError("once more")
                return identity

            return [ctx.run_id, *(await ctx.step("look", body))]

        @task("told", on="conformance/told")
        async def reporting(ctx: Any, payload: Payload) -> None:
            """Tell of progress, and wait for an event."""
            ctx.progress({"half": True})
            await ctx.step("one", lambda: 1)
            await ctx.wait_for_event("conformance/go", match="payload.id", timeout="60s")

        def double(payload: Payload) -> int:
            """Double the payload's number."""
            return int(payload["number"]) * 2

        def add_one(number: int) -> int:
            """Add one."""
            return number + 1

        chain = define_task("chain", steps=[double, add_one], on="conformance/chain")
        return [three, echo, typed, bodies, keyed, reporting, chain]

    def _waiting(self) -> list[Task]:
        trace = self.trace

        @task("nap", on="conformance/nap")
        async def nap(ctx: Any, payload: Payload) -> None:
            """Sleep for as long as the payload says."""
            await ctx.step("before", trace.mark, payload["id"], "before")
            await ctx.sleep("rest", payload["for"])
            await ctx.step("after", trace.mark, payload["id"], "after")

        @task("until", on="conformance/until")
        async def until(ctx: Any, payload: Payload) -> None:
            """Sleep until the payload's moment."""
            await ctx.sleep_until("rest", payload["until"])
            await ctx.step("after", trace.mark, payload["id"], "after")

        @task("approval", on="conformance/approval")
        async def approval(ctx: Any, payload: Payload) -> Any:
            """Wait for an event with the payload's id."""
            timeout = payload.get("timeout", "60s")
            return await ctx.wait_for_event(
                "conformance/approved", match="payload.id", timeout=timeout
            )

        @task("two-waits", on="conformance/two-waits")
        async def two_waits(ctx: Any, payload: Payload) -> list[Any]:
            """Wait for two events, one after the other."""
            first = await ctx.wait_for_event(
                "conformance/approved", match="payload.id", timeout="60s", id="first"
            )
            second = await ctx.wait_for_event(
                "conformance/approved",
                match={"payload.id": payload["id"], "payload.number": 2},
                timeout="60s",
                id="second",
            )
            return [first["number"], second["number"]]

        return [nap, until, approval, two_waits]

    def _parallel(self) -> list[Task]:
        trace = self.trace

        @task("fan", on="conformance/fan")
        async def fan(ctx: Any, payload: Payload) -> list[int]:
            """Run three steps side by side."""

            async def body(number: int) -> int:
                trace.enter(payload["id"])
                await asyncio.sleep(0.8)
                trace.leave(payload["id"])
                return number

            results: list[int] = await ctx.parallel(
                *(ctx.step(f"branch-{number}", body, number) for number in range(3))
            )
            return results

        @task("branches", on="conformance/branches", retries=ONCE)
        async def branches(ctx: Any, payload: Payload) -> Any:
            """Run a branch that fails beside one that takes longer."""

            def fail() -> None:
                raise ValueError("branch")

            async def long() -> str:
                await ctx.step("l1", trace.mark, payload["id"], "l1")
                await ctx.sleep("l-rest", "1s")
                await ctx.step("l2", trace.mark, payload["id"], "l2")
                return "long"

            try:
                await ctx.parallel(ctx.step("bad", fail), long())
            except StepFailed as error:
                return error.step
            return None

        @task("nested", on="conformance/nested")
        async def nested(ctx: Any, payload: Payload) -> Any:
            """Run steps side by side within branches."""

            async def inner(name: str) -> list[int]:
                results: list[int] = await ctx.parallel(
                    ctx.step(f"{name}-1", int, 1), ctx.step(f"{name}-2", int, 2)
                )
                return results

            return await ctx.parallel(inner("a"), inner("b"))

        @task("uneven", on="conformance/uneven", retries=QUICK)
        async def uneven(ctx: Any, payload: Payload) -> list[str]:
            """Run a branch that is tried again beside one that is slow."""

            def flaky() -> str:
                if trace.mark(payload["id"], "flaky") == 1:
                    raise ValueError("once more")
                return "flaky"

            async def slow() -> str:
                await asyncio.sleep(4)
                trace.mark(payload["id"], "slow")
                return "slow"

            results: list[str] = await ctx.parallel(ctx.step("f", flaky), ctx.step("s", slow))
            return results

        return [fan, branches, nested, uneven]

    def _failing(self) -> list[Task]:
        trace = self.trace

        def attempt(name: str, fails: int) -> int:
            """Fail until the number of the attempt exceeds `fails`."""
            number = trace.mark(name, "attempt")
            if number <= fails:
                raise ValueError(f"attempt {number}")
            return number

        @task("flaky", on="conformance/flaky", retries=QUICK)
        async def flaky(ctx: Any, payload: Payload) -> int:
            """Fail as often as the payload says."""
            result: int = await ctx.step("try", attempt, payload["id"], payload["fails"])
            return result

        @task(
            "capped",
            on="conformance/capped",
            retries=Retries(max_attempts=4, min_delay="1s", max_delay="1s", factor=10),
        )
        async def capped(ctx: Any, payload: Payload) -> int:
            """Fail as often as the payload says, with delays that have a cap."""
            result: int = await ctx.step("try", attempt, payload["id"], payload["fails"])
            return result

        @task("caught", on="conformance/caught", retries=ONCE)
        async def catching(ctx: Any, payload: Payload) -> list[Any]:
            """Catch what a step raises when its attempts are used up."""
            try:
                await ctx.step("try", attempt, payload["id"], 9)
            except StepFailed as error:
                return [error.step, error.name, error.attempts]
            return []

        @task("final", on="conformance/final", retries=QUICK)
        async def final(ctx: Any, payload: Payload) -> None:
            """Raise what must not be tried again."""

            def body() -> None:
                trace.mark(payload["id"], "attempt")
                raise NonRetryable("no use")

            await ctx.step("try", body)

        @task(
            "later",
            on="conformance/later",
            retries=Retries(max_attempts=2, min_delay="30s", max_delay="30s"),
        )
        async def later(ctx: Any, payload: Payload) -> int:
            """Ask once to be tried again after two seconds."""

            def body() -> int:
                number = trace.mark(payload["id"], "attempt")
                if number == 1:
                    raise RetryAfter(2.0, "busy")
                return number

            result: int = await ctx.step("try", body)
            return result

        @task("own", on="conformance/own", retries=Retries(max_attempts=9))
        async def own_retries(ctx: Any, payload: Payload) -> int:
            """Give a step retries of its own."""
            result: int = await ctx.step("try", attempt, payload["id"], 9, retries=ONCE)
            return result

        @task("budgets", on="conformance/budgets", retries=QUICK)
        async def budgets(ctx: Any, payload: Payload) -> list[int]:
            """Use two steps' attempts, which are counted apart."""
            name = payload["id"]
            first = await ctx.step("a", attempt, f"{name}-a", 2)
            return [first, await ctx.step("b", attempt, f"{name}-b", 2)]

        async def on_failure(ctx: Any, failed: Payload) -> None:
            """Note how the run ended."""
            await ctx.step("note", trace.mark, failed["payload"]["id"], "hook:" + failed["state"])

        @task(
            "hooked",
            on="conformance/hooked",
            retries=ONCE,
            on_failure=on_failure,
            timeouts=Timeouts(run=timedelta(seconds=20 * self.longer)),
            cancel_on=CancelOn(event="conformance/unhook", match="payload.id"),
        )
        async def hooked(ctx: Any, payload: Payload) -> None:
            """Fail, or time out, with a hook for failures."""
            if payload.get("wait"):
                await ctx.wait_for_event("conformance/never", timeout="15s")
            await ctx.step("try", attempt, payload["id"], 9)

        @task(
            "impatient",
            on="conformance/impatient",
            on_failure=on_failure,
            timeouts=Timeouts(run="5s"),
        )
        async def impatient(ctx: Any, payload: Payload) -> None:
            """Wait for longer than the run may take."""
            await ctx.wait_for_event("conformance/never", timeout="15s")

        return [impatient, flaky, capped, catching, final, later, own_retries, budgets, hooked]

    def _limited(self) -> list[Task]:
        trace = self.trace
        second_holder: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

        async def hold(group: str, name: str, seconds: float) -> None:
            """Hold a place in the group for so many seconds."""
            trace.mark(group, f"begin:{name}")
            trace.enter(group)
            await asyncio.sleep(seconds)
            trace.leave(group)
            trace.mark(group, f"end:{name}")

        async def meet(group: str, name: str, seconds: float) -> None:
            """Hold until another one comes, so long at most: a vendor may start it slowly."""
            trace.mark(group, f"begin:{name}")
            trace.enter(group)
            if trace.peak[group] > 1:
                second_holder[group].set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(second_holder[group].wait(), seconds)
            await asyncio.sleep(0.5)
            trace.leave(group)
            trace.mark(group, f"end:{name}")

        @task(
            "single",
            on="conformance/single",
            retries=ONCE,
            concurrency=Concurrency(limit=1, key="payload.group"),
        )
        async def single(ctx: Any, payload: Payload) -> None:
            """Hold the group's only place, sleep, and hold it again."""
            await ctx.step("hold", hold, payload["group"], payload["id"], payload.get("for", 0.3))
            if payload.get("fail"):
                raise ValueError("as asked")
            await ctx.sleep("rest", payload.get("rest", "0s"))
            await ctx.step("again", hold, payload["group"], payload["id"], 0.0)

        @task("pair", on="conformance/pair", concurrency=Concurrency(limit=2, key="payload.group"))
        async def pair(ctx: Any, payload: Payload) -> None:
            """Hold one of the group's two places until another run has the second."""
            await ctx.step("hold", meet, payload["group"], payload["id"], 20.0 * self.longer)

        @task(
            "stepwise",
            on="conformance/stepwise",
            concurrency=Concurrency(limit=1, key="payload.group", counts="steps"),
        )
        async def stepwise(ctx: Any, payload: Payload) -> None:
            """Run two steps of which one of the group runs at a time."""
            await ctx.step("hold", hold, payload["group"], payload["id"], 0.3)
            await ctx.sleep("rest", timedelta(seconds=payload["rest"]))
            await ctx.step("again", hold, payload["group"], payload["id"], 0.3)

        @task(
            "queued",
            on="conformance/queued",
            timeouts=Timeouts(queue=timedelta(seconds=5 * self.longer)),
            concurrency=Concurrency(limit=1, key="payload.group"),
        )
        async def queued(ctx: Any, payload: Payload) -> None:
            """Hold a place that others may only wait for so long."""
            await ctx.step("hold", hold, payload["group"], payload["id"], payload["for"])

        return [single, pair, stepwise, queued]

    def _timed(self) -> list[Task]:
        trace = self.trace

        async def stall(name: str, seconds: float) -> int:
            """Take so many seconds at the first attempt."""
            number = trace.mark(name, "attempt")
            await asyncio.sleep(seconds if number == 1 else 0)
            return number

        @task("bounded", on="conformance/bounded", timeouts=Timeouts(run="3s"))
        async def bounded(ctx: Any, payload: Payload) -> None:
            """Sleep or work for longer than the run may take."""
            if payload.get("asleep"):
                await ctx.sleep("rest", "60s")
            await ctx.step("stall", stall, payload["id"], 20.0)

        @task(
            "step-bounded",
            on="conformance/step-bounded",
            retries=QUICK,
            timeouts=Timeouts(step="1s"),
        )
        async def step_bounded(ctx: Any, payload: Payload) -> int:
            """Work for longer than a step may take, once."""
            result: int = await ctx.step("stall", stall, payload["id"], 20.0)
            return result

        @task("step-own", on="conformance/step-own", retries=ONCE)
        async def step_own(ctx: Any, payload: Payload) -> str:
            """Work for longer than this step may take."""
            try:
                await ctx.step("stall", stall, payload["id"], 20.0, timeout="1s")
            except StepFailed as error:
                return error.name
            return "none"

        @task("long", on="conformance/long")
        async def long(ctx: Any, payload: Payload) -> int:
            """Work for as long as the payload says, and note a cancel."""

            async def body() -> int:
                trace.mark(payload["id"], "long")
                try:
                    await asyncio.sleep(float(payload["for"]))
                except asyncio.CancelledError:
                    trace.mark(payload["id"], "stopped")
                    raise
                return 1

            result: int = await ctx.step("work", body)
            trace.mark(payload["id"], "after")
            return result

        return [bounded, step_bounded, step_own, long]

    def _related(self) -> list[Task]:
        trace = self.trace

        @task("parent", on="conformance/parent", retries=ONCE)
        async def parent(ctx: Any, payload: Payload) -> Any:
            """Invoke the task that the payload names."""
            try:
                return await ctx.invoke(payload["child"], {"id": payload["id"], "for": 30})
            except StepFailed as error:
                return ["failed", error.name]

        @task("speaker", on="conformance/speaker")
        async def speaker(ctx: Any, payload: Payload) -> str:
            """Emit an event that another task is started by."""
            result: str = await ctx.emit("conformance/heard", {"id": payload["id"]})
            await ctx.sleep("rest", "1s")
            return result

        @task("listener", on="conformance/heard")
        async def listener(ctx: Any, payload: Payload) -> None:
            """Note that the event was heard."""
            await ctx.step("hear", trace.mark, payload["id"], "heard")

        @task(
            "stoppable",
            on="conformance/stoppable",
            cancel_on=CancelOn(event="conformance/stop", match="payload.id"),
        )
        async def stoppable(ctx: Any, payload: Payload) -> None:
            """Sleep until the run is cancelled by its event."""
            await ctx.sleep("rest", payload.get("for", "60s"))

        @task("scheduled")
        async def scheduled(ctx: Any, payload: Payload) -> None:
            """Note that a slot has started a run."""
            await ctx.step("mark", trace.mark, payload["id"], "slot")

        return [parent, speaker, listener, stoppable, scheduled]

    def _broken(self) -> list[Task]:
        @task("twice", on="conformance/twice")
        async def twice(ctx: Any, payload: Payload) -> None:
            """Use one step id twice."""
            await ctx.step("same", int)
            await ctx.step("same", int)

        @task("numbered", on="conformance/numbered")
        async def numbered(ctx: Any, payload: Payload) -> None:
            """Use an id that a numbered repetition would have."""
            await ctx.step("part:2", int)

        @task("foreign", on="conformance/foreign")
        async def foreign(ctx: Any, payload: Payload) -> None:
            """Await what is not of the context."""
            await asyncio.sleep(0)

        @task("unknown-child", on="conformance/unknown-child")
        async def unknown_child(ctx: Any, payload: Payload) -> str:
            """Invoke a task that there is not."""
            try:
                await ctx.invoke("no-such-task", {})
            except StepFailed as error:
                return error.name
            return "none"

        @task("no-json", on="conformance/no-json", retries=QUICK)
        async def no_json(ctx: Any, payload: Payload) -> None:
            """Give a result that is no JSON."""
            await ctx.step("make", object)

        return [twice, numbered, foreign, unknown_child, no_json]
