"""The worker on a real store: claims, commits, parks, limits, deadlines, refusals."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from calling_parts import VendorRun, World, until, world_of
from pydantic import BaseModel

from turnout.errors import (
    DefinitionMismatch,
    NonRetryable,
    Overloaded,
    RetryAfter,
    RunEnded,
    Superseded,
    Unavailable,
)
from turnout.model.policies import CancelOn, Concurrency, Retries, Timeouts
from turnout.model.protocol import Outcome, Report, ReportEvent, Tick
from turnout.model.status import AttemptState, ParkReason, RunStatus
from turnout.model.tasks import Task, task


async def started(world: World, name: str = "t", payload: Any = None, **options: Any) -> VendorRun:
    """Emit a run, and start its vendor run."""
    run_id = await world.emit(name, payload)
    return VendorRun(world, world.worker(**options), run_id, name)


def double(number: int) -> int:
    """Be a sync body."""
    return number * 2


async def triple(number: int) -> int:
    """Be an async body."""
    return number * 3


@task("t", on="go")
async def two_steps(ctx: Any, payload: Any) -> Any:
    """Run a sync and an async step."""
    found = await ctx.step("double", double, 1)
    return await ctx.step("triple", triple, found)


async def test_a_run_goes_from_emit_to_its_result(make: Callable[..., World]) -> None:
    """Every answer says what is next; the last one carries the result and its digest."""
    world = make(two_steps)
    vendor = await started(world)
    found = await vendor.advance()
    assert [(each.step, each.attempt, each.label) for each in found.run] == [
        ("double", 1, "double #1")
    ]
    first = await vendor.execute("double")
    assert first.receipt.outcome is Outcome.COMPLETED
    assert [each.step for each in first.next.run] == ["triple"]
    last = await vendor.execute("triple")
    assert last.next.state is RunStatus.COMPLETED
    assert last.next.result is not None
    assert last.next.result.inline == 6
    states = [each.state for each in await world.store.journals.transitions(vendor.run_id)]
    assert states == [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.COMPLETED]


async def test_a_step_costs_two_commits_and_no_read(make: Callable[..., World]) -> None:
    """The hot path is a claim and a commit; starting a run is one read and one commit."""
    world = make(two_steps)
    vendor = await started(world, watch_seconds=60.0)  # a long look at the run is no cost of it
    counted: list[str] = []
    for part, name in (
        (world.store.deliveries, "claim"),
        (world.store.journals, "apply"),
        (world.store.journals, "load"),
        (world.store.limits, "take_slot"),
        (world.store.leases, "renew"),
    ):
        original = getattr(part, name)

        def spy(*args: Any, _name: str = name, _original: Any = original, **given: Any) -> Any:
            counted.append(_name)
            return _original(*args, **given)

        setattr(part, name, spy)
    await vendor.to_the_end()
    assert counted == ["claim", *["apply"] * 5]


async def test_a_recorded_outcome_is_given_again(make: Callable[..., World]) -> None:
    """The same execute twice runs the body once; the second gets the recorded receipt."""
    calls: list[int] = []

    @task("t", on="go")
    async def counts(ctx: Any, payload: Any) -> Any:
        await ctx.step("a", lambda: calls.append(1))
        await ctx.step("b", lambda: None)

    vendor = await started(make(counts))
    await vendor.advance()
    first = await vendor.execute("a")
    again = await vendor.execute("a")
    assert again.receipt == first.receipt
    assert [each.step for each in again.next.run] == ["b"]
    elsewhere = await vendor.by(vendor.world.worker()).execute("a")
    assert elsewhere.receipt == first.receipt
    assert calls == [1]


async def test_two_callers_of_one_attempt_run_it_once(make: Callable[..., World]) -> None:
    """While it runs, a second call is busy until the lease ends, here and on another worker."""
    gate = asyncio.Event()
    calls: list[int] = []

    async def slow() -> int:
        calls.append(1)
        await gate.wait()
        return 7

    @task("t", on="go")
    async def waits(ctx: Any, payload: Any) -> Any:
        return await ctx.step("slow", slow)

    world = make(waits)
    vendor = await started(world)
    await vendor.advance()
    running = asyncio.create_task(vendor.execute("slow"))
    await until(lambda: calls)
    for worker in (vendor.worker, world.worker()):
        busy = await vendor.by(worker).execute("slow")
        assert busy.receipt.outcome is Outcome.BUSY
        assert busy.next.park is not None
        assert busy.next.park.until == world.clock.now() + 15_000
    gate.set()
    assert (await running).next.state is RunStatus.COMPLETED
    assert calls == [1]


async def test_two_workers_racing_for_a_claim_run_it_once(make: Callable[..., World]) -> None:
    """Of many callers at once exactly one runs the body."""
    calls: list[int] = []

    async def body() -> None:
        calls.append(1)
        await asyncio.sleep(0.01)

    @task("t", on="go")
    async def once(ctx: Any, payload: Any) -> Any:
        await ctx.step("a", body)

    world = make(once)
    vendor = await started(world)
    await vendor.advance()
    callers = [vendor.by(world.worker()) for _ in range(5)]
    await asyncio.gather(*(each.execute("a") for each in callers))
    assert calls == [1]
    assert (await vendor.advance()).state is RunStatus.COMPLETED


async def test_attempts_are_spaced_and_told(make: Callable[..., World]) -> None:
    """A failed attempt is a receipt with retry_at; the run parks, and then goes on."""
    calls: list[int] = []

    def flaky() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise OSError("503")
        return "ok"

    @task("t", on="go", retries=Retries(max_attempts=3, min_delay="1s", factor=2))
    async def retries(ctx: Any, payload: Any) -> Any:
        return await ctx.step("flaky", flaky)

    world = make(retries)
    vendor = await started(world)
    await vendor.advance()
    first = await vendor.execute("flaky")
    assert first.receipt.outcome is Outcome.RETRY
    assert first.receipt.retry_at == world.clock.now() + 1_000
    assert first.next.park is not None
    assert first.next.park.reasons == [ParkReason.BACKOFF]
    early = await vendor.execute("flaky", 2)
    assert early.receipt.outcome is Outcome.BUSY
    assert len(calls) == 1
    await world.clock.advance("1s")
    second = await vendor.execute("flaky", 2)
    assert second.receipt.retry_at == world.clock.now() + 2_000
    assert (await vendor.to_the_end()).state is RunStatus.COMPLETED
    journal = await world.journal(vendor.run_id)
    states = [each.state for each in journal.attempts["flaky"]]
    assert states == [AttemptState.FAILED, AttemptState.FAILED, AttemptState.COMPLETED]


@pytest.mark.parametrize(
    ("error", "outcome", "wait"),
    [
        (NonRetryable("no"), Outcome.FAILED, None),
        (RetryAfter(30), Outcome.RETRY, 30_000),
        (RetryAfter(timedelta(minutes=1)), Outcome.RETRY, 60_000),
        (RetryAfter("nonsense"), Outcome.FAILED, None),  # type: ignore[arg-type]
        (SystemExit(1), Outcome.RETRY, 1_000),
        (asyncio.CancelledError(), Outcome.RETRY, 1_000),
    ],
)
@pytest.mark.parametrize("is_async", [True, False])
async def test_errors_steer_retries(
    make: Callable[..., World], error: Any, outcome: Outcome, wait: int | None, is_async: bool
) -> None:
    """NonRetryable ends a step, RetryAfter sets the delay, anything else follows the policy."""

    async def fails() -> None:
        raise error

    def fails_too() -> None:
        raise error

    @task("t", on="go")
    async def steered(ctx: Any, payload: Any) -> Any:
        await ctx.step("a", fails if is_async else fails_too)

    world = make(steered)
    vendor = await started(world)
    await vendor.advance()
    receipt = (await vendor.execute("a")).receipt
    assert receipt.outcome is outcome
    assert receipt.retry_at == (None if wait is None else world.clock.now() + wait)


class Answer(BaseModel):
    """What a step returns."""

    number: int


def wrong_answer() -> Answer:
    """Return something else than is written."""
    return {"numero": 1}  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("body", "name", "outcome"),
    [
        (lambda: {1, 2}, "InvalidJson", Outcome.FAILED),
        (lambda: "x" * 5_000_000, "TooLarge", Outcome.FAILED),
        (wrong_answer, "OutputMismatch", Outcome.RETRY),
    ],
)
async def test_outputs_that_cannot_be_kept_are_refused(
    make: Callable[..., World], body: Any, name: str, outcome: Outcome
) -> None:
    """What is no JSON, or too large, fails the step by name without another try."""

    @task("t", on="go")
    async def odd(ctx: Any, payload: Any) -> Any:
        await ctx.step("a", body)

    vendor = await started(make(odd))
    await vendor.advance()
    receipt = (await vendor.execute("a")).receipt
    assert receipt.outcome is outcome
    assert receipt.error is not None
    assert receipt.error.name == name


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_step_is_timed_out(make: Callable[..., World], is_async: bool) -> None:
    """An attempt past its limit is timed out, which counts; its body sees it and is dropped."""
    seen: list[str] = []
    left = threading.Event()

    async def slow(ctx: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    def slow_too(ctx: Any) -> None:
        seen.append("began")
        while not ctx.cancelled:
            left.wait(0.005)
        seen.append("cancelled")

    @task("t", on="go", retries=Retries(max_attempts=1), timeouts=Timeouts(step="5s"))
    async def limited(ctx: Any, payload: Any) -> Any:
        await ctx.step("a", slow if is_async else slow_too, ctx)

    world = make(limited)
    vendor = await started(world)
    assert (await vendor.advance()).run[0].timeout_ms == 5_000
    running = asyncio.create_task(vendor.execute("a"))
    await until(world.clock.next_sleeper)
    await world.clock.advance("5s")
    answer = await running
    assert answer.receipt.outcome is Outcome.TIMED_OUT
    assert answer.next.state is RunStatus.FAILED
    await until(lambda: "cancelled" in seen)


async def test_a_body_knows_its_attempt(make: Callable[..., World]) -> None:
    """Inside a body ctx gives the idempotency key and the attempt; in threads too."""

    @task("t", on="go", retries=Retries(max_attempts=2, min_delay=0))
    async def knows(ctx: Any, payload: Any) -> Any:
        def sync_body() -> list[Any]:
            if ctx.attempt == 1:
                raise ValueError
            return [ctx.idempotency_key, ctx.attempt, ctx.cancelled]

        async def async_body() -> list[Any]:
            return [ctx.idempotency_key, ctx.attempt]

        return [await ctx.step("a", sync_body), await ctx.step("b", async_body)]

    vendor = await started(make(knows))
    found = await vendor.to_the_end()
    run = vendor.run_id
    assert found.result is not None
    assert found.result.inline == [[f"{run}/a", 2, False], [f"{run}/b", 1]]


async def test_ctx_in_a_body_is_refused(make: Callable[..., World]) -> None:
    """A step inside a step's body fails the step by name, without retries."""

    @task("t", on="go")
    async def nested(ctx: Any, payload: Any) -> Any:
        async def body() -> None:
            await ctx.step("inner", double, 1)

        await ctx.step("outer", body)

    vendor = await started(make(nested))
    await vendor.advance()
    receipt = (await vendor.execute("outer")).receipt
    assert receipt.outcome is Outcome.FAILED
    assert receipt.error is not None
    assert receipt.error.name == "ReplayError"


async def test_branches_run_at_the_same_time(make: Callable[..., World]) -> None:
    """All of Next.run can be executed at once; both outcomes are kept."""
    both = asyncio.Barrier(2)

    async def meet(name: str) -> str:
        await both.wait()
        return name

    @task("t", on="go")
    async def wide(ctx: Any, payload: Any) -> Any:
        return await ctx.parallel(ctx.step("a", meet, "a"), ctx.step("b", meet, "b"))

    vendor = await started(make(wide))
    found = await vendor.to_the_end()
    assert found.result is not None
    assert found.result.inline == ["a", "b"]


async def test_a_long_step_is_accepted_and_wakes_the_run(make: Callable[..., World]) -> None:
    """Past the bound the caller is told so; when the step ends the parked run is woken."""
    gate = asyncio.Event()

    async def slow() -> int:
        await gate.wait()
        return 5

    @task("t", on="go")
    async def long(ctx: Any, payload: Any) -> Any:
        return await ctx.step("slow", slow)

    world = make(long)
    vendor = await started(world, bound=20)
    await vendor.advance()
    answer = await vendor.execute("slow")
    assert answer.receipt.outcome is Outcome.ACCEPTED
    assert answer.next.park is not None
    assert answer.next.park.reasons == [ParkReason.STEP]
    assert (await vendor.park(answer.next.seq)).go
    gate.set()
    await wakes(world, vendor)
    # The end itself is the vendor run's: it is the one that ends with it.
    assert (await world.run(vendor.run_id)).state is RunStatus.RUNNING
    found = await vendor.advance()
    assert found.result is not None
    assert found.result.inline == 5


async def wakes(world: World, vendor: VendorRun) -> None:
    """Wait for the run's wake."""
    for _ in range(1_000):
        due = await world.store.due.take_wakes(world.clock.now(), limit=10, resend=0)
        if any(each.run_id == vendor.run_id for each in due):
            return
        await asyncio.sleep(0.005)
    raise AssertionError("no wake")


async def test_a_caller_that_goes_away_loses_nothing(make: Callable[..., World]) -> None:
    """A call that is dropped does not stop the body; its outcome is recorded and wakes the run."""
    gate = asyncio.Event()
    begun = asyncio.Event()

    async def slow() -> int:
        begun.set()
        await gate.wait()
        return 5

    @task("t", on="go")
    async def long(ctx: Any, payload: Any) -> Any:
        return await ctx.step("slow", slow)

    world = make(long)
    vendor = await started(world)
    await vendor.advance()
    call = asyncio.create_task(vendor.execute("slow"))
    await begun.wait()
    call.cancel()
    gate.set()
    await wakes(world, vendor)
    assert (await vendor.execute("slow")).next.state is RunStatus.COMPLETED


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_cancel_reaches_the_body(make: Callable[..., World], is_async: bool) -> None:
    """A cancelled run's body is cancelled, or sees ctx.cancelled; its outcome is dropped."""
    seen: list[str] = []
    left = threading.Event()

    async def slow(ctx: Any) -> None:
        seen.append("began")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cancelled")

    def slow_too(ctx: Any) -> None:
        seen.append("began")
        while not ctx.cancelled:
            left.wait(0.005)
        seen.append("cancelled")

    @task("t", on="go")
    async def long(ctx: Any, payload: Any) -> Any:
        await ctx.step("slow", slow if is_async else slow_too, ctx)

    world = make(long)
    vendor = await started(world)
    await vendor.advance()
    call = asyncio.create_task(vendor.execute("slow"))
    await until(lambda: seen)
    await world.cancel(vendor.run_id)
    answer = await call
    assert answer.next.state is RunStatus.CANCELLED
    await until(lambda: "cancelled" in seen)
    journal = await world.journal(vendor.run_id)
    assert journal.run.state is RunStatus.CANCELLED
    assert not journal.steps["slow"].state.settled


async def test_a_renewed_lease_is_not_lost(make: Callable[..., World]) -> None:
    """While its worker lives, an attempt outlives its first lease; nobody begins another."""
    gate = asyncio.Event()

    async def slow() -> int:
        await gate.wait()
        return 1

    @task("t", on="go")
    async def long(ctx: Any, payload: Any) -> Any:
        return await ctx.step("slow", slow)

    world = make(long)
    vendor = await started(world, watch_seconds=60)
    await vendor.advance()
    call = asyncio.create_task(vendor.execute("slow"))
    await until(lambda: len(vendor.worker._runs.in_flight))
    for _ in range(4):
        await vendor.worker.watch()
        await world.clock.advance("10s")
    await vendor.by(world.worker()).worker.expire(vendor.run_id)
    assert (await vendor.by(world.worker()).advance()).park is not None
    gate.set()
    assert (await call).next.state is RunStatus.COMPLETED


async def test_a_lease_that_runs_out_is_lost_and_its_late_outcome_dropped(
    make: Callable[..., World],
) -> None:
    """A worker that was not heard of loses its attempt; another one runs the next."""
    gate = asyncio.Event()
    calls: list[int] = []

    async def slow() -> int:
        calls.append(1)
        if len(calls) == 1:
            await gate.wait()
        return len(calls)

    @task("t", on="go", retries=Retries(min_delay="1s"))
    async def long(ctx: Any, payload: Any) -> Any:
        return await ctx.step("slow", slow)

    world = make(long)
    vendor = await started(world, watch_seconds=60)
    await vendor.advance()
    late = asyncio.create_task(vendor.execute("slow"))
    await until(lambda: calls)
    other = vendor.by(world.worker())
    await world.clock.advance("16s")
    assert list(await world.store.leases.expired(world.clock.now(), limit=5)) == [vendor.run_id]
    await other.worker.expire(vendor.run_id)
    found = await other.to_the_end()
    assert found.result is not None
    assert found.result.inline == 2
    gate.set()
    answer = await late
    assert answer.receipt.outcome is Outcome.RETRY
    assert answer.receipt.error is not None
    assert answer.receipt.error.name == "Lost"
    assert answer.next.state is RunStatus.COMPLETED


async def test_a_graceful_stop_gives_the_attempt_back(make: Callable[..., World]) -> None:
    """An interrupted attempt does not count; the same step starts elsewhere at once."""
    calls: list[int] = []

    async def slow() -> int:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()
        return 1

    @task("t", on="go", retries=Retries(max_attempts=1))
    async def long(ctx: Any, payload: Any) -> Any:
        return await ctx.step("slow", slow)

    world = make(long)
    vendor = await started(world)
    await vendor.advance()
    call = asyncio.create_task(vendor.execute("slow"))
    await until(lambda: calls)
    await vendor.worker.close(0.01)
    with pytest.raises(Overloaded):
        await call
    with pytest.raises(Overloaded):
        await vendor.execute("slow", 2)
    found = await vendor.by(world.worker()).to_the_end()
    assert found.state is RunStatus.COMPLETED
    journal = await world.journal(vendor.run_id)
    assert [each.state for each in journal.attempts["slow"]] == [
        AttemptState.INTERRUPTED,
        AttemptState.COMPLETED,
    ]


async def test_a_stop_waits_for_what_runs(make: Callable[..., World]) -> None:
    """Within the grace an attempt ends as it would have."""
    begun = asyncio.Event()

    async def short() -> int:
        begun.set()
        await asyncio.sleep(0.05)
        return 1

    @task("t", on="go")
    async def task_(ctx: Any, payload: Any) -> Any:
        return await ctx.step("short", short)

    vendor = await started(make(task_))
    await vendor.advance()
    call = asyncio.create_task(vendor.execute("short"))
    await begun.wait()
    await vendor.worker.close(5)
    assert (await call).next.state is RunStatus.COMPLETED


async def test_park_looks_again(make: Callable[..., World]) -> None:
    """A park goes only while nothing has happened since the Next that it belongs to."""

    @task("t", on="go")
    async def waits(ctx: Any, payload: Any) -> Any:
        await ctx.wait_for_event("e", timeout="1h")
        return "met"

    world = make(waits)
    vendor = await started(world)
    found = await vendor.advance()
    assert found.park is not None
    assert (await vendor.park(found.seq)).go
    await world.tell("e")
    again = await vendor.park(found.seq)
    assert not again.go
    assert again.next is not None
    assert again.next.state is RunStatus.COMPLETED


async def test_a_park_past_its_time_does_not_go(make: Callable[..., World]) -> None:
    """When the time has come by the park, the answer is what to do."""

    @task("t", on="go")
    async def naps(ctx: Any, payload: Any) -> Any:
        await ctx.sleep("nap", "10s")
        await ctx.step("a", double, 1)

    world = make(naps)
    vendor = await started(world)
    found = await vendor.advance()
    await world.clock.advance("10s")
    answer = await vendor.park(found.seq)
    assert answer.next is not None
    assert [each.step for each in answer.next.run] == ["a"]


@pytest.mark.parametrize("grace", [0, 700])
async def test_a_parked_run_is_woken_by_the_pump_at_the_latest(
    make: Callable[..., World], grace: int
) -> None:
    """The alarm is the park's end and the provider's grace; a provider's own timer ends a sleep."""

    @task("t", on="go")
    async def waits(ctx: Any, payload: Any) -> Any:
        await ctx.parallel(ctx.sleep("nap", "60s"), ctx.wait_for_event("e", timeout="100s", id="w"))

    world = make(waits)
    vendor = await started(world, alarm_grace={"local": grace})
    await vendor.advance()
    now = world.clock.now()
    assert await world.store.due.next_due() is not None
    assert not await world.store.due.take_wakes(now + 60_000 + grace - 1, limit=5, resend=0)
    assert await world.store.due.take_wakes(now + 60_000 + grace, limit=5, resend=0)
    await world.tell("e")
    assert await world.store.due.take_wakes(now, limit=5, resend=0)
    await vendor.advance()
    assert not await world.store.due.take_wakes(now + 59_999, limit=5, resend=0)
    alarm = await world.store.due.take_wakes(now + 3_600_000, limit=5, resend=0)
    assert bool(alarm) == (grace == 0), "what is left is a sleep"


async def test_runs_of_a_key_are_limited_in_order_of_emit(make: Callable[..., World]) -> None:
    """A run beyond the limit stays queued; it is woken when its turn has come."""

    @task("t", on="go", concurrency=Concurrency(limit=1, key="payload.agent"))
    async def limited(ctx: Any, payload: Any) -> Any:
        await ctx.sleep("nap", "1s")

    world = make(limited)
    first = await started(world, payload={"agent": 1})
    second = await started(world, payload={"agent": 1})
    other = await started(world, payload={"agent": 2})
    queued = await second.advance()
    assert (queued.state, queued.park and queued.park.reasons) == (
        RunStatus.QUEUED,
        [ParkReason.SLOT],
    )
    assert (await first.advance()).state is RunStatus.RUNNING
    assert (await second.advance()).state is RunStatus.QUEUED
    assert (await other.advance()).state is RunStatus.RUNNING
    run = await world.run(second.run_id)
    assert (run.parked, run.parked_for) == (True, (ParkReason.SLOT,))
    await first.to_the_end()
    await wakes(world, second)
    assert (await second.to_the_end()).state is RunStatus.COMPLETED


async def test_executing_steps_of_a_key_are_limited(make: Callable[..., World]) -> None:
    """With counts="steps" only n bodies of a key run; the next is told to wait for its slot."""
    gate = asyncio.Event()
    most: list[int] = [0, 0]

    async def body() -> None:
        most[0] += 1
        most[1] = max(most)
        await gate.wait()
        most[0] -= 1

    @task("t", on="go", concurrency=Concurrency(limit=1, counts="steps"))
    async def limited(ctx: Any, payload: Any) -> Any:
        await ctx.parallel(ctx.step("a", body), ctx.step("b", body))

    world = make(limited)
    vendor = await started(world)
    found = await vendor.advance()
    assert [each.step for each in found.run] == ["a"]
    assert found.park is not None
    assert found.park.reasons == [ParkReason.SLOT]
    call = asyncio.create_task(vendor.execute("a"))
    await until(lambda: most[0])
    assert (await vendor.execute("b")).receipt.outcome is Outcome.BUSY
    gate.set()
    answer = await call
    assert [each.step for each in answer.next.run] == ["b"]
    assert (await vendor.execute("b")).next.state is RunStatus.COMPLETED
    assert most[1] == 1


async def test_the_queue_deadline_times_a_run_out(make: Callable[..., World]) -> None:
    """A run not started in time is timed out, and says which deadline it was."""

    @task("t", on="go", timeouts=Timeouts(queue="10s"))
    async def slow(ctx: Any, payload: Any) -> Any:
        return 1

    world = make(slow)
    vendor = await started(world)
    await vendor.worker.time_out(vendor.run_id)
    assert (await world.run(vendor.run_id)).state is RunStatus.QUEUED
    await world.clock.advance("10s")
    found = await vendor.advance()
    assert found.state is RunStatus.TIMED_OUT
    assert found.error is not None
    assert "queue" in found.error.message


@task("t", on="go", timeouts=Timeouts(run="1m"), on_failure=triple)
async def times_out(ctx: Any, payload: Any) -> Any:
    """Sleep beyond the run's deadline."""
    await ctx.sleep("nap", "1h")


async def test_the_run_deadline_counts_waits_and_starts_the_hook(
    make: Callable[..., World],
) -> None:
    """Waits count; the pump ends the run, stops the vendor's, and the failure hook starts."""
    world = make(times_out)
    vendor = await started(world, payload={"n": 1})
    await vendor.advance()
    await world.clock.advance("1m")
    due = await world.store.due.deadlines(world.clock.now(), limit=5)
    assert [each.run_id for each in due] == [vendor.run_id]
    await vendor.worker.time_out(vendor.run_id)
    run = await world.run(vendor.run_id)
    assert (run.state, run.fence) == (RunStatus.TIMED_OUT, 1)
    deliveries = await world.store.due.take_deliveries(world.clock.now(), limit=9, hold=1)
    assert {(each.task, each.stopping) for each in deliveries} == {
        ("t", True),
        ("t.on-failure", False),
    }


async def test_no_attempt_begins_after_the_deadline(make: Callable[..., World]) -> None:
    """A call that comes too late runs no body, though the attempt was asked for in time."""
    bodies: list[str] = []

    @task("t", on="go", timeouts=Timeouts(run="1m"))
    async def late(ctx: Any, payload: Any) -> None:
        await ctx.step("only", bodies.append, "ran")

    world = make(late)
    vendor = await started(world)
    assert [ready.step for ready in (await vendor.advance()).run] == ["only"]
    await world.clock.advance("1m")
    answer = await vendor.execute("only")
    assert (answer.receipt.outcome, answer.next.state) == (Outcome.BUSY, RunStatus.TIMED_OUT)
    assert bodies == []


async def test_a_failed_run_starts_its_hook_once(make: Callable[..., World]) -> None:
    """The hook gets the run, its error and its payload; it is an ordinary run."""
    told: list[Any] = []

    async def hook(ctx: Any, payload: Any) -> Any:
        await ctx.step("note", told.append, payload)

    @task("t", on="go", on_failure=hook)
    async def fails(ctx: Any, payload: Any) -> Any:
        raise ValueError("boom")

    world = make(fails)
    vendor = await started(world, payload={"n": 1})
    assert (await vendor.advance()).state is RunStatus.FAILED
    pending = await world.store.due.take_deliveries(world.clock.now(), limit=9, hold=1)
    [delivery] = [each for each in pending if each.task == "t.on-failure"]
    after = VendorRun(world, vendor.worker, delivery.run_id, "t.on-failure")
    assert (await after.to_the_end()).state is RunStatus.COMPLETED
    assert told == [
        {
            "run_id": vendor.run_id,
            "task": "t",
            "state": "failed",
            "error": {"name": "ValueError", "message": "boom"},
            "payload": {"n": 1},
            "event": "go",
            "event_id": (await world.run(vendor.run_id)).event_id,
            "emitted_at": (await world.run(vendor.run_id)).emitted_at,
        }
    ]
    assert (await world.run(delivery.run_id)).key == f"{vendor.run_id}/on-failure"


async def test_an_event_cancels_its_run_and_no_other(make: Callable[..., World]) -> None:
    """cancel_on matches the run's own payload."""

    @task("t", on="go", cancel_on=CancelOn(event="stop", match="payload.n"))
    async def naps(ctx: Any, payload: Any) -> Any:
        await ctx.sleep("nap", "1h")

    world = make(naps)
    one = await started(world, payload={"n": 1})
    two = await started(world, payload={"n": 2})
    await one.advance()
    await two.advance()
    await world.tell("stop", {"n": 2})
    assert (await one.advance()).state is RunStatus.RUNNING
    assert (await two.advance()).state is RunStatus.CANCELLED


async def test_a_parent_waits_for_its_child(make: Callable[..., World]) -> None:
    """A child is delivered like any run; its end wakes the parent and gives its result."""

    @task("child")
    async def child(ctx: Any, payload: dict[str, int]) -> Any:
        return await ctx.step("double", double, payload["n"])

    @task("t", on="go")
    async def parent(ctx: Any, payload: Any) -> Any:
        return await ctx.invoke(child, {"n": 21})

    world = make(parent, child)
    vendor = await started(world)
    assert (await vendor.advance()).park is not None
    [run] = await world.store.runs.children(vendor.run_id)
    inner = VendorRun(world, vendor.worker, run.run_id, "child")
    await inner.to_the_end()
    await wakes(world, vendor)
    found = await vendor.advance()
    assert found.result is not None
    assert found.result.inline == 42


async def test_progress_of_a_body_shows_while_it_runs(make: Callable[..., World]) -> None:
    """ctx.progress in a body is committed with the next sign of life, and with the outcome."""
    gate = asyncio.Event()
    begun = asyncio.Event()

    @task("t", on="go")
    async def tells(ctx: Any, payload: Any) -> Any:
        async def body() -> None:
            ctx.progress({"percent": 50})
            begun.set()
            await gate.wait()
            ctx.progress({"percent": 100})

        ctx.progress("starting")
        await ctx.step("a", body)
        await ctx.sleep("nap", "1h")

    world = make(tells)
    vendor = await started(world)
    assert (await vendor.advance()).progress.progress == "starting"
    call = asyncio.create_task(vendor.execute("a"))
    await begun.wait()
    for _ in range(500):
        if (await world.run(vendor.run_id)).progress == b'{"percent":50}':
            break
        await asyncio.sleep(0.005)
    assert (await world.run(vendor.run_id)).progress == b'{"percent":50}'
    gate.set()
    assert (await call).next.progress.progress == {"percent": 100}


async def test_another_vendor_run_is_superseded(make: Callable[..., World]) -> None:
    """One vendor run holds a delivery; another, or one of an old delivery, ends quietly."""
    world = make(two_steps)
    vendor = await started(world)
    await vendor.advance()
    other = vendor.by(world.worker(), name="vendor-2")
    for call in (other.advance(), other.execute("double"), other.park(1)):
        with pytest.raises(Superseded):
            await call
    assert await world.store.deliveries.redeliver(vendor.run_id, 1, "local", world.clock.now())
    with pytest.raises(Superseded):
        await vendor.advance()
    with pytest.raises(Superseded):
        await vendor.execute("double")
    again = vendor.by(world.worker(), delivery=2, name="vendor-3")
    assert (await again.to_the_end()).state is RunStatus.COMPLETED


async def test_an_ended_run_tells_its_own_vendor_run_how(make: Callable[..., World]) -> None:
    """The holder of the last delivery is told the end again; anyone else ends quietly."""
    world = make(two_steps)
    vendor = await started(world)
    await vendor.to_the_end()
    for worker in (vendor.worker, world.worker()):
        assert (await vendor.by(worker).advance()).state is RunStatus.COMPLETED
        again = await vendor.by(worker).execute("triple")
        assert again.receipt.outcome is Outcome.COMPLETED
        assert again.next.result is not None
    with pytest.raises((RunEnded, Superseded)):
        await vendor.by(vendor.worker, name="vendor-2").advance()


async def test_other_definitions_and_protocols_are_refused(make: Callable[..., World]) -> None:
    """A worker of another deployment is told so before anything is read."""
    world = make(two_steps)
    vendor = await started(world, definitions=frozenset({"old"}))
    with pytest.raises(DefinitionMismatch, match="'new'"):
        await vendor.by(vendor.worker, definition="new").advance()
    with pytest.raises(DefinitionMismatch, match="of task 't'"):
        await vendor.by(vendor.worker, task="other").advance()
    await vendor.by(vendor.worker, definition="old").advance()
    vendor.definition = world.app.definition
    await vendor.to_the_end()
    tick = Tick(protocol=2, schedule="s", slot=1, provider="local", provider_run_id="v")
    with pytest.raises(DefinitionMismatch, match="protocol 2"):
        await vendor.worker.answer(tick)


async def test_reports_and_ticks_are_the_control_planes(make: Callable[..., World]) -> None:
    """They are handed on; without a control plane a tick is to be sent again later."""
    world = make(two_steps)
    vendor = await started(world)
    report = Report(**vendor.common, event=ReportEvent.CRASHED, at=1)
    await vendor.worker.answer(report)
    seen: list[Report] = []

    async def on_report(told: Report) -> None:
        seen.append(told)

    vendor.worker.on_report = on_report
    await vendor.worker.answer(report)
    assert seen == [report]
    with pytest.raises(Unavailable):
        await vendor.worker.answer(
            Tick(schedule="s", slot=1, provider="local", provider_run_id="v")
        )


async def test_a_store_that_is_away_delays_an_outcome(make: Callable[..., World]) -> None:
    """An outcome waits for the store; the body is not run again."""
    calls: list[int] = []

    @task("t", on="go")
    async def once(ctx: Any, payload: Any) -> Any:
        await ctx.step("a", lambda: calls.append(1))

    world = make(once)
    vendor = await started(world)
    await vendor.advance()
    apply, failures = world.store.journals.apply, [0]

    async def shaky(change: Any) -> bool:
        if change.attempts[0].state is AttemptState.COMPLETED and failures[0] < 2:
            failures[0] += 1
            if failures[0] == 2:
                await apply(change)  # committed, and nobody was told
            raise Unavailable
        return bool(await apply(change))

    world.store.journals.apply = shaky
    answer = await vendor.execute("a")
    assert answer.receipt.outcome is Outcome.COMPLETED
    assert answer.next.state is RunStatus.COMPLETED
    assert calls == [1]


async def test_a_run_is_read_again_whatever_its_commit_raised(make: Callable[..., World]) -> None:
    """Also an error that no store names leaves open whether the commit was applied."""

    @task("t", on="go")
    async def once(ctx: Any, payload: Any) -> Any:
        await ctx.step("a", double, 1)

    world = make(once)
    vendor = await started(world)
    await vendor.advance()
    apply, claim, reads = world.store.journals.apply, world.store.deliveries.claim, 0

    async def breaks(_change: Any) -> bool:
        raise ValueError

    async def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return await claim(*arguments)

    world.store.journals.apply, world.store.deliveries.claim = breaks, counted
    with pytest.raises(ValueError):
        await vendor.execute("a")
    assert reads == 0
    world.store.journals.apply = apply
    assert (await vendor.execute("a")).receipt.outcome is Outcome.COMPLETED
    assert reads == 1


async def test_a_limit_that_came_later_does_not_strand_a_run(make: Callable[..., World]) -> None:
    """A run emitted before its task had a limit is not counted by it, and goes on."""

    async def limited(ctx: Any, payload: Any) -> Any:
        return await ctx.step("a", double, 1)

    before = make(task("t", on="go")(limited))
    vendor = await started(before)
    for counts in ("runs", "steps"):
        after = task("t", on="go", concurrency=Concurrency(limit=1, counts=counts))(limited)  # type: ignore[arg-type]
        world = World(app=world_of(after).app, clock=before.clock, store=before.store)
        worker = world.worker(definitions=frozenset({""}))
        assert (await vendor.by(worker).advance()).state is RunStatus.RUNNING
        await worker.close(0)


async def test_what_the_watch_finds_is_not_left_lying(make: Callable[..., World]) -> None:
    """A branch that becomes ready while another one's body tells its progress is woken for."""
    gate = asyncio.Event()
    begun = asyncio.Event()

    @task("t", on="go")
    async def wide(ctx: Any, payload: Any) -> Any:
        async def body() -> None:
            begun.set()
            await gate.wait()

        async def napping() -> None:
            await ctx.sleep("nap", "1m")
            await ctx.step("after", double, 1)

        async def telling() -> None:
            await begun.wait()
            ctx.progress(1)
            await gate.wait()

        await ctx.parallel(ctx.step("body", body), ctx.step("tells", telling), napping())

    world = make(wide)
    vendor = await started(world, watch_seconds=60)
    await vendor.advance()
    calls = [asyncio.create_task(vendor.execute(each)) for each in ("body", "tells")]
    await begun.wait()
    await world.clock.advance("2m")
    await vendor.worker.watch()
    await vendor.worker.watch()
    await wakes(world, vendor)
    found = await vendor.advance()
    assert "after" in [each.step for each in found.run]
    gate.set()
    await asyncio.gather(*calls)


async def test_a_redelivered_runs_old_caller_is_superseded(make: Callable[..., World]) -> None:
    """A run that is handed over anew is finished by its new vendor run, resumed, not restarted."""
    calls: list[int] = []

    @task("t", on="go")
    async def counts(ctx: Any, payload: Any) -> Any:
        await ctx.step("a", lambda: calls.append(1))
        await ctx.step("b", lambda: None)

    world = make(counts)
    vendor = await started(world)
    await vendor.advance()
    await vendor.execute("a")
    assert await world.store.deliveries.redeliver(vendor.run_id, 1, "elsewhere", world.clock.now())
    with pytest.raises(Superseded):
        await vendor.execute("b")
    again = vendor.by(vendor.worker, delivery=2, name="vendor-2")
    assert (await again.to_the_end()).state is RunStatus.COMPLETED
    assert calls == [1]


async def test_an_adopted_functions_own_awaits_are_made_each_time(
    make: Callable[..., World],
) -> None:
    """In open mode other awaits rerun at each replay, in branches too, and errors are its own."""
    seen: list[str] = []

    async def look_up(name: str) -> str:
        await asyncio.sleep(0.001)
        seen.append(name)
        return name

    async def adopted(ctx: Any, payload: Any) -> Any:
        first = await look_up("top")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 0.001)

        async def branch() -> Any:
            return [await look_up("branch"), await ctx.step("a", double, 1)]

        return [first, *await ctx.parallel(branch(), ctx.step("b", double, 2))]

    world = make(Task(id="t", function=adopted, on=("go",), open_mode=True))
    vendor = await started(world)
    found = await vendor.to_the_end()
    assert found.result is not None
    assert found.result.inline == ["top", ["branch", 2], 4]
    assert seen == ["top", "branch"] * 3


async def test_many_runs_side_by_side_all_end(make: Callable[..., World]) -> None:
    """Hundreds of runs on three workers, each call on another one, end once each."""
    world = make(two_steps)
    workers = [world.worker() for _ in range(3)]
    ids = [await world.emit("t") for _ in range(100)]

    async def whole(at: int, run_id: str) -> RunStatus:
        vendor = VendorRun(world, workers[at % 3], run_id, "t")
        found = await vendor.advance()
        while found.run:
            at += 1
            vendor = vendor.by(workers[at % 3])
            found = (await vendor.execute(found.run[0].step, found.run[0].attempt)).next
        return found.state

    states = await asyncio.gather(*(whole(at, each) for at, each in enumerate(ids)))
    assert set(states) == {RunStatus.COMPLETED}
