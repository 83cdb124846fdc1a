"""What the offline server does with functions of the unmodified SDK."""

import asyncio
import datetime as dt
from datetime import datetime, timedelta
from typing import Any

import inngest
from inngest_lab import HOUR_MS, Lab, until


async def test_a_finished_step_never_runs_again(lab: Lab) -> None:
    """Each step runs once and its result comes back at every later call."""
    ran: list[str] = []

    @lab.function("three")
    async def three(ctx: inngest.Context) -> list[str]:
        async def step(name: str) -> str:
            ran.append(name)
            return name.upper()

        return [await ctx.step.run(name, step, name) for name in ("a", "b", "c")]

    async with lab.application():
        run = await lab.run_in(await lab.emit("lab/three"), "COMPLETED")
    assert ran == ["a", "b", "c"]
    assert run["output"] == {"data": ["A", "B", "C"]}


async def test_an_event_starts_every_function_that_listens(lab: Lab) -> None:
    """Fan-out: one run per matching trigger; a condition that does not hold starts nothing."""
    trigger = inngest.TriggerEvent(event="lab/fan", expression="event.data.extra == true")

    @lab.function("one", trigger=inngest.TriggerEvent(event="lab/fan"))
    async def one(ctx: inngest.Context) -> None: ...

    @lab.function("two", trigger=trigger)
    async def two(ctx: inngest.Context) -> None: ...

    async with lab.application():
        assert len(await lab.runs(await lab.emit("lab/fan"))) == 1
        assert len(await lab.runs(await lab.emit("lab/fan", {"extra": True}))) == 2
        assert await lab.runs(await lab.emit("lab/nobody")) == []


async def test_a_failed_step_is_tried_again_after_the_vendors_delay(lab: Lab) -> None:
    """Attempts belong to the step; between them the run waits 15 s to 45 s."""
    attempts: list[int] = []

    @lab.function("flaky", retries=2)
    async def flaky(ctx: inngest.Context) -> str:
        async def step() -> str:
            attempts.append(ctx.attempt)
            if ctx.attempt == 0:
                raise ValueError("not yet")
            return "done"

        return await ctx.step.run("s", step)

    async with lab.application():
        event = await lab.emit("lab/flaky")
        run = await until(lambda: _failed_once(lab, event))
        job = (await lab.api.get(f"/v1/runs/{run['id']}/jobs")).json()["data"][0]
        at = dt.datetime.fromisoformat(job["at"]).timestamp()
        queued = dt.datetime.fromisoformat(run["queuedAt"]).timestamp()
        assert 15 <= at - queued <= 50
        await lab.advance(60_000)
        run = await lab.run_in(event, "COMPLETED")
    assert attempts == [0, 1]
    step = (await lab.trace(run["id"]))["children"][0]
    assert [child["status"] for child in step["children"]] == ["FAILED", "COMPLETED"]


async def _failed_once(lab: Lab, event: str) -> dict[str, Any] | None:
    run = await lab.run(event)
    jobs = (await lab.api.get(f"/v1/runs/{run['id']}/jobs")).json()["data"]
    return run if jobs and jobs[0]["attempt"] == 1 else None


async def test_a_step_out_of_attempts_can_be_caught(lab: Lab) -> None:
    """The function sees a StepError with the class's name and may go on."""

    @lab.function("caught")
    async def caught(ctx: inngest.Context) -> str:
        async def step() -> None:
            raise KeyError("gone")

        try:
            await ctx.step.run("s", step)
        except inngest.StepError as error:
            return error.name
        return "nothing"

    async with lab.application():
        run = await lab.run_in(await lab.emit("lab/caught"), "COMPLETED", "FAILED")
    assert run["output"] == {"data": "KeyError"}


async def test_a_non_retriable_error_fails_the_run_at_once(lab: Lab) -> None:
    """No second attempt, however many are left."""
    attempts: list[int] = []

    @lab.function("never", retries=5)
    async def never(ctx: inngest.Context) -> None:
        attempts.append(ctx.attempt)
        raise inngest.NonRetriableError("stop", quiet=True)

    async with lab.application():
        run = await lab.run_in(await lab.emit("lab/never"), "FAILED")
    assert attempts == [0]
    assert run["output"]["error"]["name"] == "NonRetriableError"


async def test_a_sleep_ends_when_its_time_has_passed(lab: Lab) -> None:
    """The run stays RUNNING meanwhile, and its trace shows the step waiting."""

    @lab.function("nap")
    async def nap(ctx: inngest.Context) -> str:
        await ctx.step.sleep("z", HOUR_MS)
        return "awake"

    async with lab.application():
        event = await lab.emit("lab/nap")
        run = await until(lambda: _waiting(lab, event, "SLEEP"))
        single = (await lab.api.get(f"/v2/runs/{run['id']}")).json()["data"]
        assert (single["status"], "endedAt" in single) == ("RUNNING", False)
        await lab.advance(HOUR_MS - 60_000)
        assert (await lab.run(event))["status"] == "RUNNING"
        await lab.advance(120_000)
        await lab.run_in(event, "COMPLETED")


async def _waiting(lab: Lab, event: str, op: str) -> dict[str, Any] | None:
    run = await lab.run(event)
    spans = (await lab.trace(run["id"])).get("children", [])
    is_waiting = any(s.get("stepOp") == op and s["status"] == "WAITING" for s in spans)
    return run if is_waiting else None


async def test_a_wait_takes_only_the_event_that_matches(lab: Lab) -> None:
    """`event` is the trigger, `async` the newcomer; a neighbour's event does nothing."""

    @lab.function("waiter")
    async def waiter(ctx: inngest.Context) -> Any:
        found = await ctx.step.wait_for_event(
            "w", event="lab/go", if_exp="event.data.k == async.data.k", timeout=HOUR_MS
        )
        return found and found.data["n"]

    async with lab.application():
        event = await lab.emit("lab/waiter", {"k": "mine"})
        await until(lambda: _waiting(lab, event, "WAIT_FOR_EVENT"))
        await lab.emit("lab/go", {"k": "other", "n": 1})
        await lab.emit("lab/go", {"n": 2})
        await lab.emit("lab/go", {"k": "mine", "n": 3})
        run = await lab.run_in(event, "COMPLETED")
        assert run["output"] == {"data": 3}

        event = await lab.emit("lab/waiter", {"k": "late"})
        await until(lambda: _waiting(lab, event, "WAIT_FOR_EVENT"))
        await lab.advance(HOUR_MS + 1_000)
        run = await lab.run_in(event, "COMPLETED")
        assert "output" not in run or run["output"] == {"data": None}


async def test_parallel_steps_are_joined_once(lab: Lab) -> None:
    """Branches of steps and sleeps run side by side; the join runs once, after all."""
    ran: list[str] = []

    @lab.function("fork")
    async def fork(ctx: inngest.Context) -> list[Any]:
        async def step(name: str) -> str:
            ran.append(name)
            return name

        async def branch(name: str) -> str:
            await ctx.step.sleep(f"nap-{name}", 1_000)
            return await ctx.step.run(name, step, name)

        found = await ctx.group.parallel(
            (lambda: branch("a"), lambda: branch("b"), lambda: ctx.step.run("c", step, "c"))
        )
        await ctx.step.run("join", step, "join")
        return list(found)

    async with lab.application():
        event = await lab.emit("lab/fork")
        await until(lambda: _waiting(lab, event, "SLEEP"))
        await lab.advance(2_000)
        run = await lab.run_in(event, "COMPLETED")
    assert run["output"] == {"data": ["a", "b", "c"]}
    assert sorted(ran) == ["a", "b", "c", "join"]
    assert ran[-1] == "join"


async def test_an_invoked_function_hands_its_result_back(lab: Lab) -> None:
    """The child is a run of its own; its failure is the parent's StepError."""

    @lab.function("child", trigger=inngest.TriggerEvent(event="never"))
    async def child(ctx: inngest.Context) -> Any:
        number = ctx.event.data["n"]
        assert isinstance(number, int)
        if number == 0:
            raise ValueError("zero")
        return {"twice": number * 2}

    @lab.function("parent")
    async def parent(ctx: inngest.Context) -> Any:
        good = await ctx.step.invoke("good", function=child, data={"n": 2})
        try:
            await ctx.step.invoke("bad", function=child, data={"n": 0})
        except inngest.StepError as error:
            return [good, error.name, error.message]
        return None

    async with lab.application():
        run = await lab.run_in(await lab.emit("lab/parent"), "COMPLETED", "FAILED")
    assert run["output"] == {"data": [{"twice": 4}, "ValueError", "zero"]}


async def test_cancelling_stops_that_run_and_says_so(lab: Lab) -> None:
    """200 once, 409 after, 404 for nobody's run; a neighbour goes on."""

    @lab.function("nap")
    async def nap(ctx: inngest.Context) -> None:
        await ctx.step.sleep("z", HOUR_MS)

    async with lab.application():
        first, second = await lab.emit("lab/nap"), await lab.emit("lab/nap")
        run = await until(lambda: _waiting(lab, first, "SLEEP"))
        await until(lambda: _waiting(lab, second, "SLEEP"))
        cancel = f"/v2/runs/{run['id']}/cancel"
        assert (await lab.api.post(cancel)).json()["data"] == {"runId": run["id"]}
        again = await lab.api.post(cancel)
        assert again.status_code == 409
        assert again.json()["errors"][0]["code"] == "run_already_cancelled"
        # As on the real server, lists show the end of a cancelled run 10 s too late.
        single = (await lab.api.get(f"/v2/runs/{run['id']}")).json()["data"]
        late = datetime.fromisoformat((await lab.run(first))["endedAt"])
        assert late - datetime.fromisoformat(single["endedAt"]) == timedelta(seconds=10)
        nobody = await lab.api.post("/v2/runs/01KBMWY0000000000000000000/cancel")
        assert nobody.status_code == 404
        await lab.advance(2 * HOUR_MS)
        await lab.run_in(second, "COMPLETED")
        assert (await lab.run(first))["status"] == "CANCELLED"
        ended = await lab.api.post(f"/v2/runs/{(await lab.run(second))['id']}/cancel")
        assert ended.json()["errors"][0]["code"] == "run_already_ended"


async def test_a_cancelling_event_hits_only_its_match(lab: Lab) -> None:
    """cancel-on compares the trigger with the newcomer; absent on both sides is no match."""
    rule = inngest.Cancel(event="lab/stop", if_exp="event.data.k == async.data.k")

    @lab.function("nap", cancel=[rule])
    async def nap(ctx: inngest.Context) -> None:
        await ctx.step.sleep("z", HOUR_MS)

    async with lab.application():
        mine, other = await lab.emit("lab/nap", {"k": 1}), await lab.emit("lab/nap")
        await until(lambda: _waiting(lab, mine, "SLEEP"))
        await lab.emit("lab/stop", {"k": "1"})
        await lab.emit("lab/stop")
        assert (await lab.run(mine))["status"] == "RUNNING"
        await lab.emit("lab/stop", {"k": 1})
        assert (await lab.run(mine))["status"] == "CANCELLED"
        assert (await lab.run(other))["status"] == "RUNNING"


async def test_a_failure_function_learns_of_the_error(lab: Lab) -> None:
    """on_failure is a run of its own, with the error and the original event."""
    seen: list[Any] = []

    async def on_failure(ctx: inngest.Context) -> None:
        seen.append(ctx.event.data)

    @lab.function("broken", on_failure=on_failure)
    async def broken(ctx: inngest.Context) -> None:
        raise ValueError("no")

    async with lab.application():
        event = await lab.emit("lab/broken", {"x": 1})
        run = await lab.run_in(event, "FAILED")
        await until(lambda: _first(seen))
    assert seen[0]["run_id"] == run["id"]
    assert seen[0]["function_id"] == "lab-broken"
    assert seen[0]["error"]["name"] == "ValueError"
    assert seen[0]["event"]["data"] == {"x": 1}


async def _first(seen: list[Any]) -> Any:
    return seen[0] if seen else None


async def test_step_concurrency_bounds_what_executes(lab: Lab) -> None:
    """With a limit of one no two steps overlap, but sleeping runs hold nothing."""
    inside, most = 0, 0
    limit = inngest.Concurrency(limit=1, key="event.data.k")

    @lab.function("narrow", concurrency=[limit])
    async def narrow(ctx: inngest.Context) -> None:
        async def step() -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1

        await ctx.step.run("s", step)

    async with lab.application():
        events = [await lab.emit("lab/narrow", {"k": "one"}) for _ in range(5)]
        for event in events:
            await lab.run_in(event, "COMPLETED")
    assert most == 1


async def test_run_concurrency_holds_across_sleeps(lab: Lab) -> None:
    """`{"fn": […]}`, which the SDK cannot emit: the second run waits for the first one's end."""

    @lab.function("single")
    async def single(ctx: inngest.Context) -> None:
        await ctx.step.sleep("z", HOUR_MS)

    async with lab.application() as address:
        await _register(lab, address, concurrency={"fn": [{"limit": 1}]})
        first, second = await lab.emit("lab/single"), await lab.emit("lab/single")
        await until(lambda: _waiting(lab, first, "SLEEP"))
        assert (await lab.run(second))["status"] == "QUEUED"
        await lab.advance(HOUR_MS + 1_000)
        await lab.run_in(first, "COMPLETED")
        await until(lambda: _waiting(lab, second, "SLEEP"))


async def _register(lab: Lab, address: str, **config: Any) -> Any:
    """Register the lab's first function by hand, with more configuration."""
    slug = lab.functions[0].id
    url = f"{address}?fnId={slug}&stepId=step"
    step = {"id": "step", "name": "step", "runtime": {"type": "http", "url": url}}
    triggers = [{"event": f"lab/{slug.removeprefix('lab-')}"}]
    function = {"id": slug, "name": slug, "triggers": triggers, "steps": {"step": step}, **config}
    body = {"appname": "lab", "functions": [function], "url": address}
    return (await lab.api.post("/fn/register", json=body)).json()


async def test_an_event_id_starts_each_function_once_a_day(lab: Lab) -> None:
    """The duplicate gets an id of its own and no run; another function still runs."""

    @lab.function("once")
    async def once(ctx: inngest.Context) -> None: ...

    async with lab.application():
        first = await lab.emit("lab/once", id="dup")
        second = await lab.emit("lab/once", id="dup")
        assert first != second
        assert len(await lab.runs(first)) == 1
        assert await lab.runs(second) == []
        await lab.advance(25 * HOUR_MS)
        assert len(await lab.runs(await lab.emit("lab/once", id="dup"))) == 1


async def test_a_resent_request_changes_nothing(lab: Lab) -> None:
    """The SDK's seed stands for the same events, however often the request arrives."""

    @lab.function("once")
    async def once(ctx: inngest.Context) -> None: ...

    async with lab.application():
        seed = {"x-inngest-event-id-seed": "1795202033665,AAAAAAAAAAAAAA=="}
        body = [{"name": "lab/once", "data": {}}, {"name": "lab/once", "data": {}}]
        first = (await lab.api.post("/e/key", json=body, headers=seed)).json()["ids"]
        second = (await lab.api.post("/e/key", json=body, headers=seed)).json()["ids"]
        assert first == second
        assert len(set(first)) == 2
        assert [len(await lab.runs(event)) for event in first] == [1, 1]


async def test_a_future_event_starts_then(lab: Lab) -> None:
    """`ts` in the future: the run is there at once, QUEUED, and starts at that time."""

    @lab.function("later")
    async def later(ctx: inngest.Context) -> None: ...

    async with lab.application():
        due = int(dt.datetime.now(dt.UTC).timestamp() * 1000) + HOUR_MS
        event = await lab.emit("lab/later", ts=due)
        assert (await lab.run(event))["status"] == "QUEUED"
        await lab.advance(HOUR_MS + 1_000)
        await lab.run_in(event, "COMPLETED")


async def test_timeouts_cancel(lab: Lab) -> None:
    """Start: queued too long. Finish: running too long. Both look like a cancellation."""
    timeouts = inngest.Timeouts(start=10_000, finish=20_000)
    limit = inngest.Concurrency(limit=1)
    go_on = asyncio.Event()

    @lab.function("slow", timeouts=timeouts, concurrency=[limit])
    async def slow(ctx: inngest.Context) -> None:
        await go_on.wait()

    async with lab.application():
        first = await lab.emit("lab/slow")
        await lab.run_in(first, "RUNNING")
        second = await lab.emit("lab/slow")
        assert (await lab.run(second))["status"] == "QUEUED"
        await lab.advance(11_000)
        await lab.run_in(second, "CANCELLED")
        await lab.advance(11_000)
        await lab.run_in(first, "CANCELLED")
        go_on.set()


async def test_crons_fire_at_their_slots_until_they_are_gone(lab: Lab) -> None:
    """A slot's nominal time is in the payload; a sync without the cron stops it at once."""
    slots: list[str] = []

    @lab.function("daily", trigger=inngest.TriggerCron(cron="TZ=Europe/Paris 30 9 * * *"))
    async def daily(ctx: inngest.Context) -> None:
        slots.append(str(ctx.event.data["scheduledAt"]))

    async with lab.application() as address:
        await lab.advance(24 * HOUR_MS)
        await until(lambda: _first(slots))
        assert len(slots) == 1
        moment = dt.datetime.fromisoformat(slots[0])
        assert (moment.minute, moment.second) == (30, 0)
        await _register(lab, address)
        await lab.advance(48 * HOUR_MS)
        runs = (await lab.api.get("/v2/apps/lab/functions/daily/runs")).json()["data"]
        assert len(runs) == 1
        assert runs[0]["trigger"]["cronSchedule"] == "TZ=Europe/Paris 30 9 * * *"


async def test_flow_control_counts(lab: Lab) -> None:
    """Rate limit drops, throttle delays, debounce keeps the last, a batch gathers."""
    got: list[Any] = []

    @lab.function("rated", rate_limit=inngest.RateLimit(limit=2, period=60_000))
    async def rated(ctx: inngest.Context) -> None: ...

    @lab.function("paced", throttle=inngest.Throttle(limit=1, period=60_000))
    async def paced(ctx: inngest.Context) -> None: ...

    @lab.function("calm", debounce=inngest.Debounce(period=10_000, key="event.data.k"))
    async def calm(ctx: inngest.Context) -> None:
        got.append(ctx.event.data["n"])

    @lab.function("bulk", batch_events=inngest.Batch(max_size=3, timeout=10_000))
    async def bulk(ctx: inngest.Context) -> int:
        return len(ctx.events)

    async with lab.application():
        rated_events = [await lab.emit("lab/rated") for _ in range(3)]
        assert [len(await lab.runs(event)) for event in rated_events] == [1, 1, 0]

        paced_events = [await lab.emit("lab/paced") for _ in range(2)]
        await lab.run_in(paced_events[0], "COMPLETED")
        assert (await lab.run(paced_events[1]))["status"] == "QUEUED"
        await lab.advance(61_000)
        await lab.run_in(paced_events[1], "COMPLETED")

        for number in range(3):
            await lab.emit("lab/calm", {"k": "x", "n": number})
        await lab.advance(11_000)
        await until(lambda: _first(got))
        assert got == [2]

        bulk_events = [await lab.emit("lab/bulk") for _ in range(4)]
        run = await lab.run_in(bulk_events[2], "COMPLETED")
        assert (run["output"], run["trigger"]["isBatch"]) == ({"data": 3}, True)
        assert await lab.runs(bulk_events[3]) == []
        await lab.advance(11_000)
        assert (await lab.run_in(bulk_events[3], "COMPLETED"))["output"] == {"data": 1}


async def test_direct_invocation_says_the_run(lab: Lab) -> None:
    """`POST …/invoke` answers with the run's id; an unknown function is 404."""

    @lab.function("direct")
    async def direct(ctx: inngest.Context) -> Any:
        return ctx.event.data["x"]

    async with lab.application():
        path = "/v2/apps/lab/functions/direct/invoke"
        run_id = (await lab.api.post(path, json={"data": {"x": 7}})).json()["data"]["runId"]
        run = await until(lambda: _completed(lab, run_id))
        assert run["output"] == {"data": 7}
        nobody = await lab.api.post("/v2/apps/lab/functions/nope/invoke", json={"data": {}})
        assert nobody.status_code == 404


async def _completed(lab: Lab, run_id: str) -> dict[str, Any] | None:
    run = (await lab.api.get(f"/v2/runs/{run_id}?includeOutput=true")).json()["data"]
    return run if run["status"] == "COMPLETED" else None
