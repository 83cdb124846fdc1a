"""The driver: what a task function asks for, answered from its journal."""

import asyncio
import gc
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pure_run import NOW, PureRun, bad, in_state, ok, positions
from pydantic import BaseModel

from turnout.driver.replay import HOLD, replay
from turnout.driver.retries import BodyOutcome
from turnout.errors import NonRetryable, RetryAfter, StepFailed
from turnout.model.events import StoredEvent
from turnout.model.policies import Retries, Timeouts
from turnout.model.runs import Failure
from turnout.model.status import AttemptState, ParkReason, RunStatus, StepKind, StepState
from turnout.model.tasks import Task, define_task, task
from turnout.model.transitions import child_ended
from turnout.worker.commit import Commit


def double(number: int) -> int:
    """A body that succeeds."""
    return number * 2


def explode() -> None:
    """A body that fails."""
    raise ValueError("boom")


def ready(run: PureRun) -> list[tuple[str, int]]:
    """The attempts that may start."""
    return [(each.command.id, each.attempt) for each in run.decision.ready]


def test_steps_run_one_after_another() -> None:
    """Each step is asked for once the one before is committed; the result ends the run."""

    @task("t")
    async def three(ctx: Any, payload: Any) -> Any:
        one = await ctx.step("one", double, payload["n"])
        two = await ctx.step("two", double, one)
        return await ctx.step("three", double, two)

    run = PureRun(three, {"n": 1})
    assert ready(run) == [("one", 1)]
    run.run_bodies()
    assert run.decision.state is RunStatus.COMPLETED
    assert run.decision.result == b"8"
    assert run.executed == [("one", 1), ("two", 1), ("three", 1)]
    assert positions(run.journal) == {"one": "0000", "two": "0001", "three": "0002"}


def test_a_function_sees_what_the_journal_has() -> None:
    """A step's value has been through JSON: a tuple comes back as a list."""

    @task("t")
    async def pair(ctx: Any, payload: Any) -> Any:
        return repr(await ctx.step("pair", lambda: (1, 2)))

    assert PureRun(pair).run_bodies().result == b'"[1, 2]"'


class Report(BaseModel):
    title: str
    at: datetime


def write_report() -> Report:
    """A body with a model as its output."""
    raise AssertionError


def write_reports() -> list[Report]:
    """A body with models in its output."""
    raise AssertionError


def test_a_model_comes_back_as_a_model() -> None:
    """The return annotation decodes the recorded output, inside a container too."""

    @task("t")
    async def reports(ctx: Any, payload: Any) -> Any:
        one = await ctx.step("one", write_report)
        many = await ctx.step("many", write_reports)
        assert isinstance(one, Report)
        return [one.title, [each.at.year for each in many], many[0]]

    run = PureRun(reports)
    recorded = {"title": "a", "at": "2026-01-02T03:04:05Z"}
    run.execute("one", ok(recorded))
    run.execute("many", ok([recorded]))
    assert run.decision.error is None
    assert run.decision.result == b'["a",[2026],{"at":"2026-01-02T03:04:05Z","title":"a"}]'


def test_a_recorded_output_that_no_longer_fits_holds_the_run() -> None:
    """An output recorded by older code is no fault of the run: it is looked at again later."""

    @task("t")
    async def report(ctx: Any, payload: Any) -> Any:
        return await ctx.step("report", write_report)

    run = PureRun(report)
    run.execute("report", ok({"name": "a"}))
    assert (run.decision.state, run.decision.error) == (RunStatus.RUNNING, None)
    assert (run.decision.ready, run.decision.new_steps) == ([], [])
    assert run.decision.until == run.now + HOLD
    assert run.decision.held_by is not None
    assert run.decision.held_by.name == "ModelChanged"
    assert "title" in run.decision.held_by.message


def test_attempts_are_spaced_by_the_policy_and_used_up() -> None:
    """A failed attempt waits its delay; after the last one StepFailed is raised."""

    @task("t", retries=Retries(max_attempts=3, min_delay="1s", factor=2))
    async def fails(ctx: Any, payload: Any) -> Any:
        return await ctx.step("boom", explode)

    run = PureRun(fails)
    run.execute("boom", bad())
    assert (run.decision.reasons, run.decision.until) == ((ParkReason.BACKOFF,), NOW + 1_000)
    run.now += 999
    assert ready(run) == []
    run.now += 1
    run.look()
    assert ready(run) == [("boom", 2)]
    run.execute("boom", bad())
    assert run.decision.until == NOW + 1_000 + 2_000
    run.now += 2_000
    run.look()
    run.execute("boom", bad("OSError", "gone"))
    assert run.decision.state is RunStatus.FAILED
    assert run.decision.error == Failure(
        name="StepFailed", message="step 'boom' failed after 3 attempt(s): OSError: gone"
    )


def test_a_steps_own_retries_win() -> None:
    """`retries=` of one step replaces the task's."""

    @task("t", retries=Retries(max_attempts=9))
    async def once(ctx: Any, payload: Any) -> Any:
        return await ctx.step("boom", explode, retries=Retries(max_attempts=1))

    assert PureRun(once).run_bodies().state is RunStatus.FAILED


def test_step_failed_can_be_caught() -> None:
    """A function may catch StepFailed, read it, and go on."""

    @task("t", retries=Retries(max_attempts=1))
    async def careful(ctx: Any, payload: Any) -> Any:
        try:
            await ctx.step("boom", explode)
        except StepFailed as failed:
            return [failed.step, failed.name, failed.attempts, await ctx.step("plan-b", double, 2)]

    assert PureRun(careful).run_bodies().result == b'["boom","ValueError",1,4]'


def test_non_retryable_ends_the_step_at_once() -> None:
    """NonRetryable uses no further attempts."""

    @task("t", retries=Retries(max_attempts=5))
    async def hopeless(ctx: Any, payload: Any) -> Any:
        await ctx.step("boom", explode)

    run = PureRun(hopeless)
    outcome = BodyOutcome(error=Failure(name="NonRetryable", message="no"), non_retryable=True)
    assert run.execute("boom", outcome).state is RunStatus.FAILED


def test_retry_after_steers_and_still_counts() -> None:
    """RetryAfter sets the moment of the next attempt and uses one up."""

    @task("t", retries=Retries(max_attempts=2))
    async def later(ctx: Any, payload: Any) -> Any:
        await ctx.step("boom", explode)

    run = PureRun(later)
    error = Failure(name="RetryAfter", message="")
    run.execute("boom", BodyOutcome(error=error, retry_after=NOW + 77_000))
    assert run.decision.until == NOW + 77_000
    run.now += 77_000
    run.look()
    run.execute("boom", BodyOutcome(error=error, retry_after=NOW + 777_000))
    assert run.decision.state is RunStatus.FAILED


@pytest.mark.parametrize(
    "error", [RetryAfter(1), NonRetryable("no"), SystemExit(3), KeyboardInterrupt()]
)
def test_an_error_out_of_the_function_fails_the_run(error: BaseException) -> None:
    """Whatever class is raised at the top level fails the run under its own name."""

    @task("t")
    async def raises(ctx: Any, payload: Any) -> Any:
        raise error

    decision = PureRun(raises).decision
    assert decision.state is RunStatus.FAILED
    assert decision.error is not None
    assert decision.error.name == type(error).__name__


def test_sleep_parks_until_it_is_over() -> None:
    """A sleep has its end recorded when first asked; nothing runs meanwhile."""

    @task("t")
    async def naps(ctx: Any, payload: Any) -> Any:
        await ctx.sleep("nap", "5m")
        await ctx.sleep("none", 0)
        return "up"

    run = PureRun(naps)
    assert (run.decision.reasons, run.decision.until) == ((ParkReason.SLEEP,), NOW + 300_000)
    run.now += 1_000
    assert run.look().until == NOW + 300_000
    run.now = NOW + 300_000
    assert run.look().state is RunStatus.COMPLETED
    assert run.journal.steps["none"].state is StepState.COMPLETED


def test_sleep_until_takes_a_moment() -> None:
    """A moment in the past is no sleep; one beyond 366 days is refused by name."""

    @task("t")
    async def naps(ctx: Any, payload: Any) -> Any:
        await ctx.sleep_until("past", datetime(2020, 1, 1, tzinfo=UTC))
        await ctx.sleep_until("far", datetime(2099, 1, 1, tzinfo=UTC))

    decision = PureRun(naps).decision
    assert decision.error is not None
    assert decision.error.name == "InvalidDefinition"


def test_an_event_that_matches_meets_the_wait() -> None:
    """The payload is given back; the match is this run's own value at the path."""

    @task("t")
    async def waits(ctx: Any, payload: Any) -> Any:
        return await ctx.wait_for_event("paid", match="payload.order", timeout="1d")

    run = PureRun(waits, {"order": 7})
    assert run.decision.reasons == (ParkReason.EVENT,)
    assert run.waits[0].match == (("payload.order", b"7"),)
    event = StoredEvent(event_id="e", name="paid", payload=b'{"order":7}', emitted_at=NOW)
    assert run.meet(event).result == b'{"order":7}'


def test_a_wait_that_times_out_gives_none() -> None:
    """After the timeout a wait gives None, told apart from an event with the payload null."""

    @task("t")
    async def waits(ctx: Any, payload: Any) -> Any:
        return (
            await ctx.wait_for_event("paid", match={"payload.n": 1}, timeout="1h", id="w") is None
        )

    run = PureRun(waits)
    assert run.waits[0].match == (("payload.n", b"1"),)
    run.now += 3_600_000
    assert run.look().result == b"true"
    assert run.journal.steps["w"].output is None


@task("child", on="child/asked")
async def child(ctx: Any, payload: dict[str, int]) -> Any:
    """A task that others invoke."""
    return payload["n"]


def test_invoke_starts_a_child_and_gives_its_result() -> None:
    """The child's run is part of the same commit, and its end settles the step."""

    @task("t")
    async def parent(ctx: Any, payload: Any) -> Any:
        return await ctx.invoke(child, {"n": 3})

    run = PureRun(parent, beside=(child,))
    assert run.decision.reasons == (ParkReason.CHILD,)
    started = run.emissions[0].runs[0].run
    assert (started.task, started.parent_run_id, started.parent_step) == ("child", "run-1", "child")
    ended = in_state(run.journal, run_id=started.run_id).run
    told = {"state": RunStatus.COMPLETED, "parent_step": "child", "result": b"3"}
    ended = in_state(run.journal, run_id=started.run_id, **told).run
    assert run.settle(child_ended(run.journal, ended, NOW)).result == b"3"


@pytest.mark.parametrize(
    ("name", "payload", "error"),
    [
        ("child", {"n": "x"}, "InvalidPayload"),
        ("none", {}, "UnknownTask"),
        ("child", {"n": {1}}, "InvalidJson"),
    ],
)
def test_an_invoke_that_cannot_be_fails_as_a_step(name: str, payload: Any, error: str) -> None:
    """A wrong payload or task is a failure that the function can catch, at every replay."""

    @task("t")
    async def parent(ctx: Any, _payload: Any) -> Any:
        try:
            await ctx.invoke(name, payload)
        except StepFailed as failed:
            return failed.name

    assert PureRun(parent, beside=(child,)).decision.result == f'"{error}"'.encode()


def test_a_late_child_fails_the_invoke() -> None:
    """After its timeout an invoke fails; the child's later end changes nothing."""

    @task("t")
    async def parent(ctx: Any, payload: Any) -> Any:
        await ctx.invoke(child, {"n": 3}, timeout="10s")

    run = PureRun(parent, beside=(child,))
    run.now += 10_000
    assert run.look().error is not None
    assert "TimedOut" in str(run.decision.error)


def test_emit_is_settled_at_once_and_committed_with_the_run() -> None:
    """An emit starts what is subscribed, in the commit that asks for what follows it."""

    @task("t")
    async def emits(ctx: Any, payload: Any) -> Any:
        first = await ctx.emit("child/asked", {"n": 1})
        await ctx.step("after", double, 1)
        return first

    run = PureRun(emits, beside=(child,))
    assert ready(run) == [("after", 1)]
    emission = run.emissions[0]
    assert emission.event.caused_by == "run-1/child/asked"
    assert [each.run.task for each in emission.runs] == ["child"]
    run.run_bodies()
    assert run.decision.result == f'"{emission.event.event_id}"'.encode()
    assert len(run.emissions) == 1


def test_an_emit_before_a_failure_is_kept() -> None:
    """What was emitted before the function raised has happened."""

    @task("t")
    async def emits(ctx: Any, payload: Any) -> Any:
        await ctx.emit("noted")
        raise ValueError

    run = PureRun(emits)
    assert run.decision.state is RunStatus.FAILED
    assert [each.event.name for each in run.emissions] == ["noted"]


def test_branches_run_side_by_side_and_keep_their_places() -> None:
    """Branches are asked for together; positions are depth-first and do not move."""

    async def branch(ctx: Any, name: str) -> Any:
        first = await ctx.step(f"{name}-1", double, 1)
        return await ctx.step(f"{name}-2", double, first)

    @task("t")
    async def wide(ctx: Any, payload: Any) -> Any:
        await ctx.step("zero", double, 0)
        found = await ctx.parallel(
            branch(ctx, "a"), ctx.step("b", double, 5), lambda: branch(ctx, "c")
        )
        return [found, await ctx.step("last", double, 1)]

    run = PureRun(wide)
    run.execute("zero", ok(0))
    assert ready(run) == [("a-1", 1), ("b", 1), ("c-1", 1)]
    run.execute("c-1", ok(2))
    assert ready(run) == [("a-1", 1), ("b", 1), ("c-2", 1)]
    run.run_bodies()
    assert run.decision.result == b"[[4,10,4],2]"
    assert positions(run.journal) == {
        "zero": "0000",
        "a-1": "0001.0000.0000",
        "a-2": "0001.0000.0001",
        "b": "0001.0001.0000",
        "c-1": "0001.0002.0000",
        "c-2": "0001.0002.0001",
        "last": "0002",
    }


def test_a_failed_branch_does_not_stop_the_others() -> None:
    """The first failure is raised once all branches have settled."""

    @task("t", retries=Retries(max_attempts=1))
    async def wide(ctx: Any, payload: Any) -> Any:
        await ctx.parallel(
            ctx.step("slow", double, 1), ctx.step("bad", explode), ctx.step("bad-2", explode)
        )

    run = PureRun(wide)
    run.execute("bad-2", bad("OSError"))
    run.execute("bad", bad())
    assert run.decision.state is RunStatus.RUNNING
    run.execute("slow", ok(1))
    assert run.decision.error is not None
    assert "step 'bad' failed" in run.decision.error.message


def test_failures_of_branches_can_be_values() -> None:
    """return_exceptions gives failures in their places."""

    @task("t", retries=Retries(max_attempts=1))
    async def wide(ctx: Any, payload: Any) -> Any:
        found = await ctx.parallel(
            ctx.step("good", double, 1), ctx.step("bad", explode), return_exceptions=True
        )
        return [found[0], type(found[1]).__name__]

    assert PureRun(wide).run_bodies().result == b'[2,"StepFailed"]'


def test_nested_branches_mix_waits() -> None:
    """A run with several waits parks for the first; reasons name them all."""

    @task("t")
    async def mixed(ctx: Any, payload: Any) -> Any:
        async def inner() -> Any:
            return await ctx.parallel(
                ctx.sleep("nap", "10s"), ctx.wait_for_event("e", timeout="5s")
            )

        return await ctx.parallel(inner(), ctx.step("boom", explode))

    run = PureRun(mixed)
    run.execute("boom", bad())
    assert run.decision.until == NOW + 1_000
    assert set(run.decision.reasons) == {ParkReason.SLEEP, ParkReason.EVENT, ParkReason.BACKOFF}
    assert positions(run.journal)["e"] == "0000.0000.0000.0001.0000"


@pytest.mark.parametrize("second", [0, 1])
def test_one_id_twice_is_refused(second: int) -> None:
    """A duplicate id fails the run by name, in sequence or side by side."""

    @task("t")
    async def twice(ctx: Any, payload: Any) -> Any:
        if second:
            await ctx.parallel(ctx.sleep("same", 1), ctx.sleep("same", 1))
        await ctx.sleep("same", 0)
        await ctx.sleep("same", 0)

    decision = PureRun(twice).decision
    assert decision.error is not None
    assert decision.error.name == "DuplicateStep"
    assert "'same'" in decision.error.message


def test_a_recorded_id_of_another_kind_is_refused() -> None:
    """New code that asks a recorded id for another kind fails by name."""

    @task("t")
    async def old(ctx: Any, payload: Any) -> Any:
        await ctx.sleep("x", "1h")

    @task("t")
    async def new(ctx: Any, payload: Any) -> Any:
        await ctx.step("x", double, 1)

    run = PureRun(old)
    decision = replay(new, run.journal, NOW, run.effects)
    assert decision.error is not None
    assert decision.error.name == "StepChanged"


def test_a_step_that_is_no_longer_asked_for_is_listed() -> None:
    """Recorded steps that new code leaves out are kept and named."""

    @task("t")
    async def old(ctx: Any, payload: Any) -> Any:
        await ctx.sleep("gone", 0)
        await ctx.sleep("nap", "1h")

    @task("t")
    async def new(ctx: Any, payload: Any) -> Any:
        await ctx.sleep("nap", "1h")

    run = PureRun(old)
    assert replay(new, run.journal, NOW, run.effects).unasked == ("gone",)


@pytest.mark.parametrize("what", ["sleep", "bare", "gather", "future"])
async def test_a_foreign_await_is_refused(what: str) -> None:
    """Only ctx's awaitables are awaited at the top level; the error says what to do."""

    @task("t")
    async def foreign(ctx: Any, payload: Any) -> Any:
        if what == "sleep":
            await asyncio.sleep(10)
        elif what == "bare":
            await asyncio.sleep(0)
        elif what == "gather":
            await asyncio.gather(ctx.step("a", double, 1), ctx.step("b", double, 1))
        else:
            await asyncio.get_running_loop().create_future()

    decision = PureRun(foreign).decision
    await asyncio.sleep(0)
    assert decision.error is not None
    assert decision.error.name == "ForeignAwait"
    assert "step" in decision.error.message


def test_a_command_that_is_not_awaited_is_refused() -> None:
    """A forgotten await would silently run nothing."""

    @task("t")
    async def forgets(ctx: Any, payload: Any) -> Any:
        ctx.step("lost", double, 1)

    decision = PureRun(forgets).decision
    assert "never awaited" in str(decision.error)


def test_bad_step_ids_are_refused() -> None:
    """An id with a colon and digits is a vendor's; it is refused by name."""

    @task("t")
    async def numbered(ctx: Any, payload: Any) -> Any:
        await ctx.step("a:2", double, 1)

    assert "InvalidDefinition" in str(PureRun(numbered).decision.error)


def test_closing_runs_finally_and_refuses_ctx() -> None:
    """At a park `finally` runs, and what it asks of ctx is refused, not recorded."""
    seen: list[str] = []

    @task("t")
    async def tidy(ctx: Any, payload: Any) -> Any:
        try:
            await ctx.step("work", double, 1)
        finally:
            seen.append("closed")
            await ctx.step("clean", double, 2)

    run = PureRun(tidy)
    assert seen == ["closed"]
    assert list(run.journal.steps) == ["work"]
    run.run_bodies()
    assert run.decision.state is RunStatus.COMPLETED
    assert run.executed == [("work", 1), ("clean", 1)]


@pytest.mark.parametrize("trap", [BaseException, asyncio.CancelledError, GeneratorExit, Exception])
def test_traps_for_everything_do_not_break_replay(trap: type[BaseException]) -> None:
    """Parks throw nothing, so `except BaseException` sees only the closing, and in vain."""

    @task("t")
    async def trapped(ctx: Any, payload: Any) -> Any:
        try:
            found = await ctx.step("a", double, 1)
        except trap:
            found = await ctx.step("swallowed", double, 9)
        return await ctx.step("b", double, found)

    run = PureRun(trapped)
    run.run_bodies()
    assert run.decision.result == b"4"
    assert "swallowed" not in run.journal.steps


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_that_swallows_its_own_closing_ends() -> None:
    """A function that never lets itself be closed is left behind, and the run goes on."""

    @task("t")
    async def stubborn(ctx: Any, payload: Any) -> Any:
        while True:
            try:
                return await ctx.step("a", double, 1)
            except BaseException:  # noqa: BLE001
                continue

    assert PureRun(stubborn).run_bodies().result == b"2"
    gc.collect()


def test_progress_is_the_last_word() -> None:
    """ctx.progress at the top level is told with the decision; it is bounded JSON."""

    @task("t")
    async def tells(ctx: Any, payload: Any) -> Any:
        ctx.progress({"percent": 10})
        await ctx.step("a", double, 1)
        ctx.progress({"percent": 90})
        await ctx.step("b", double, 1)

    run = PureRun(tells)
    assert run.decision.progress == b'{"percent":10}'
    run.execute("a", ok(2))
    assert run.decision.progress == b'{"percent":90}'


def test_ctx_knows_its_run() -> None:
    """The properties of ctx come from the run; those of a step are refused outside of one."""

    @task("t", on="go")
    async def asks(ctx: Any, payload: Any) -> Any:
        with pytest.raises(Exception, match="inside a step's body"):
            _ = ctx.attempt
        assert not ctx.cancelled
        return [ctx.run_id, ctx.task, ctx.event, ctx.payload, ctx.emitted_at.year]

    assert PureRun(asks, {"a": 1}).decision.result == b'["run-1","t","go",{"a":1},2027]'


def test_a_result_that_is_not_json_fails_by_name() -> None:
    """A result has to be JSON of at most 4 MiB."""

    @task("t")
    async def odd(ctx: Any, payload: Any) -> Any:
        return {"x": object()}

    @task("t")
    async def vast(ctx: Any, payload: Any) -> Any:
        return "x" * (4 * 1024 * 1024)

    assert "InvalidJson" in str(PureRun(odd).decision.error)
    assert "/x" in str(PureRun(odd).decision.error)
    assert "TooLarge" in str(PureRun(vast).decision.error)


def test_a_payload_that_no_longer_fits_holds_the_run_until_it_is_upgraded() -> None:
    """A payload was checked at its emit; code that cannot read it does not end its run."""

    @task("t")
    async def strict(ctx: Any, payload: Report) -> Any:
        return payload.title

    run = PureRun(strict, {"at": "2026-01-01T00:00:00Z"})
    assert (run.decision.state, run.decision.until) == (RunStatus.RUNNING, run.now + HOLD)
    assert "payload.title" in str(run.decision.held_by)
    run.task = replace(strict, upgrade=lambda payload: {**payload, "title": "upgraded"})
    assert (run.look().state, run.decision.result) == (RunStatus.COMPLETED, b'"upgraded"')


def test_a_function_of_other_arguments_fails_by_name() -> None:
    """A task function takes ctx and the payload; anything else fails the run, not the worker."""

    async def alone(ctx: Any) -> Any:
        return 1

    assert "TypeError" in str(PureRun(Task(id="t", function=alone)).decision.error)


def test_a_pipeline_of_functions_is_a_task() -> None:
    """define_task hands each function the one before's result."""
    made = define_task("pipe", [double, str], on="go")
    assert PureRun(made, 4).run_bodies().result == b'"8"'


def test_an_endless_function_is_stopped() -> None:
    """A run has at most 10,000 steps."""

    @task("t")
    async def endless(ctx: Any, payload: Any) -> Any:
        number = 0
        while True:
            number += 1
            await ctx.sleep(f"s{number}", 0)

    run = PureRun(endless)
    assert "10,000" in str(run.decision.error)
    assert max(positions(run.journal).values()) == "9999"


def test_a_lost_lease_counts_and_is_tried_again() -> None:
    """An attempt whose lease ran out is lost: it uses up a try and waits the back-off."""

    @task("t", retries=Retries(max_attempts=2, min_delay="1s"))
    async def works(ctx: Any, payload: Any) -> Any:
        return await ctx.step("a", double, 1)

    run = PureRun(works)
    for number in (1, 2):
        run.journal = in_claimed(run, number)
        run.look()
        assert run.decision.reasons == (ParkReason.STEP,)
        run.now += 15_000
        run.look()
        assert run.journal.attempts["a"][-1].state is AttemptState.LOST
        run.now += 2_000
        run.look()
    assert "failed after 2 attempt(s): Lost" in str(run.decision.error)


def in_claimed(run: PureRun, number: int) -> Any:
    """The run's journal with an attempt claimed."""
    draft = Commit(run.journal)
    draft.put_attempt(run._claim("a", number))
    return draft.committed()


def test_a_steps_timeout_is_not_the_tasks_business() -> None:
    """A duration that is none is refused where it is written."""

    @task("t", timeouts=Timeouts(step="1s"))
    async def odd(ctx: Any, payload: Any) -> Any:
        await ctx.step("a", double, 1, timeout="soon")

    assert "soon" in str(PureRun(odd).decision.error)


def test_kinds_are_recorded() -> None:
    """Each command is recorded as its kind."""

    @task("t")
    async def all_kinds(ctx: Any, payload: Any) -> Any:
        await ctx.parallel(
            ctx.step("s", double, 1),
            ctx.sleep("z", 1),
            ctx.wait_for_event("e", timeout=1),
            ctx.invoke(child, {"n": 1}),
            ctx.emit("x"),
        )

    kinds = {each.kind for each in PureRun(all_kinds, beside=(child,)).journal.steps.values()}
    assert kinds == set(StepKind)
