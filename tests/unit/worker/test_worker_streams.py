"""ctx.stream: what is recorded once, what again, and what is refused."""

import asyncio
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from calling_parts import VendorRun, World, world_of
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.driver.context import LARGEST_CHUNK, MAX_CHUNKS
from turnout.errors import InvalidDefinition, Superseded, TooLarge, Unavailable
from turnout.model.policies import Retries
from turnout.model.protocol import LARGEST_MESSAGE
from turnout.model.runs import Chunk
from turnout.model.status import AttemptState, RunStatus
from turnout.model.tasks import task
from turnout.worker.protocol_answers import CHUNK_LIMIT

ONCE = Retries(max_attempts=1)


async def started(world: World, **options: Any) -> VendorRun:
    """Emit a run, and start its vendor run."""
    return VendorRun(world, world.worker(**options), await world.emit("t"), "t")


async def chunks(world: World, run_id: str) -> list[Chunk]:
    """Read what a run has streamed."""
    run, found = await world.store.journals.streamed(run_id, after=0, limit=MAX_CHUNKS)
    assert [each.number for each in found] == list(range(run.chunks))
    return list(found)


def said(found: list[Chunk]) -> list[Any]:
    """What was streamed, and whose it was."""
    return [(each.name, orjson.loads(each.value), each.step, each.attempt) for each in found]


@pytest.mark.parametrize("runs_on", [False, True])
async def test_the_functions_own_chunks_are_recorded_once(
    make: Callable[..., World],
    runs_on: bool,
) -> None:
    """However often the function is replayed, and by however many workers."""

    @task("t", on="go")
    async def tells(ctx: Any, payload: Any) -> Any:
        ctx.stream("log", "begun")
        for number in range(3):
            got = await ctx.step(f"s{number}", lambda number=number: number)
            ctx.stream("log", {"done": got})
        await ctx.sleep("nap", "1h")
        ctx.stream("words", "over")

    world = make(tells)
    vendor = await started(world)
    assert (await vendor.to_the_end(runs_on=runs_on)).state is RunStatus.COMPLETED
    own = [("log", "begun"), *(("log", {"done": at}) for at in range(3)), ("words", "over")]
    assert said(await chunks(world, vendor.run_id)) == [(*each, None, None) for each in own]


async def test_an_attempt_that_is_made_again_streams_again(make: Callable[..., World]) -> None:
    """Each attempt's chunks are there, marked with the step and the attempt."""

    @task("t", on="go")
    async def tells(ctx: Any, payload: Any) -> Any:
        async def body() -> None:
            ctx.stream("log", "try")
            if ctx.attempt == 1:
                raise ValueError("once more")
            ctx.stream("log", "good")

        await ctx.step("a", body)

    world = make(tells)
    vendor = await started(world)
    assert (await vendor.to_the_end()).state is RunStatus.COMPLETED
    assert said(await chunks(world, vendor.run_id)) == [
        ("log", "try", "a", 1),
        ("log", "try", "a", 2),
        ("log", "good", "a", 2),
    ]


async def test_chunks_are_recorded_while_the_body_runs(make: Callable[..., World]) -> None:
    """They are there before its end, are not repeated by it, and keep its lease alive."""
    begun, gate = asyncio.Event(), asyncio.Event()

    @task("t", on="go")
    async def tells(ctx: Any, payload: Any) -> Any:
        async def body() -> None:
            ctx.stream("log", 1)
            begun.set()
            await gate.wait()
            ctx.stream("log", 2)

        await ctx.step("a", body)

    world = make(tells)
    vendor = await started(world)
    await vendor.advance()
    call = asyncio.create_task(vendor.execute("a"))
    await begun.wait()
    await world.clock.turn_to(world.clock.now() + 10_000)
    for _ in range(500):
        if await chunks(world, vendor.run_id):
            break
        await asyncio.sleep(0.005)
    assert said(await chunks(world, vendor.run_id)) == [("log", 1, "a", 1)]
    (attempt,) = (await world.journal(vendor.run_id)).attempts["a"]
    assert attempt.lease_until >= world.clock.now() + 15_000
    gate.set()
    await call
    assert said(await chunks(world, vendor.run_id)) == [("log", 1, "a", 1), ("log", 2, "a", 1)]


async def test_what_a_stop_interrupts_is_recorded_once(make: Callable[..., World]) -> None:
    """An attempt that is given back keeps what it streamed; nothing of it is recorded again."""
    begun, gate = asyncio.Event(), asyncio.Event()

    @task("t", on="go")
    async def tells(ctx: Any, payload: Any) -> Any:
        async def body() -> None:
            ctx.stream("log", 1)
            begun.set()
            await gate.wait()

        await ctx.step("a", body)

    world = make(tells)
    vendor = await started(world)
    await vendor.advance()
    call = asyncio.create_task(vendor.execute("a"))
    await begun.wait()
    for _ in range(2):
        await vendor.worker.watch()
    assert said(await chunks(world, vendor.run_id)) == [("log", 1, "a", 1)]
    await vendor.worker.close(0)
    with pytest.raises(Unavailable):
        await call
    assert said(await chunks(world, vendor.run_id)) == [("log", 1, "a", 1)]
    (attempt,) = (await world.journal(vendor.run_id)).attempts["a"]
    assert (attempt.state, attempt.streamed) == (AttemptState.INTERRUPTED, 1)


async def test_a_stream_is_bounded(make: Callable[..., World]) -> None:
    """A name, a chunk and a number of chunks too many are refused by name, and retried never."""
    refused: list[str] = []

    @task("t", on="go", retries=Retries(max_attempts=3))
    async def tells(ctx: Any, payload: Any) -> Any:
        for name, chunk, error in (
            ("a b", 1, InvalidDefinition),
            ("", 1, InvalidDefinition),
            ("x" * 65, 1, InvalidDefinition),
            ("turnout", 1, InvalidDefinition),
            ("log", "x" * LARGEST_CHUNK, TooLarge),
        ):
            with pytest.raises(error) as caught:
                ctx.stream(name, chunk)
            refused.append(str(caught.value))
        ctx.stream("log", "x" * (LARGEST_CHUNK - 2))

        async def body() -> None:
            for number in range(MAX_CHUNKS + 1):
                ctx.stream("log", number)

        await ctx.step("a", body)

    world = make(tells)
    vendor = await started(world)
    ended = await vendor.to_the_end()
    assert ended.state is RunStatus.FAILED
    run = await world.run(vendor.run_id)
    assert run.chunks == MAX_CHUNKS
    assert run.error is not None
    assert "stream 'log' is full" in run.error.message
    assert len((await world.journal(vendor.run_id)).attempts["a"]) == 1
    assert "is taken" in refused[3]
    assert "split it" in refused[4]


async def test_a_vendor_run_reads_on_from_what_it_has_passed_on(make: Callable[..., World]) -> None:
    """Follow tells the chunks after a number, as many as fit, with what the task last said."""
    many = 2 * CHUNK_LIMIT + 1

    @task("t", on="go")
    async def tells(ctx: Any, payload: Any) -> Any:
        for number in range(many):
            ctx.stream("odd" if number % 2 else "even", number)
        ctx.progress({"at": many})
        await ctx.sleep("nap", "1h")

    vendor = await started(make(tells))
    found = await vendor.advance()
    assert found.progress.chunks == many
    passed: list[Any] = []
    while len(passed) < many:
        told = await vendor.follow(len(passed))
        assert (told.seq, told.recorded, told.progress) == (found.seq, many, {"at": many})
        assert 0 < len(told.chunks) <= CHUNK_LIMIT
        passed += told.chunks
    assert [each.number for each in passed] == [each.chunk for each in passed] == [*range(many)]
    assert {each.stream for each in passed[1::2]} == {"odd"}
    assert (await vendor.follow(many)).chunks == []


async def test_an_answer_with_chunks_fits_a_message(make: Callable[..., World]) -> None:
    """Large chunks come a few at a time."""

    @task("t", on="go")
    async def tells(ctx: Any, payload: Any) -> Any:
        for _ in range(40):
            ctx.stream("log", "ä" * (LARGEST_CHUNK // 2 - 1))
        ctx.progress("x" * (LARGEST_CHUNK - 2))

    vendor = await started(make(tells))
    await vendor.advance()
    passed = 0
    while passed < 40:
        told = await vendor.follow(passed)
        assert told.chunks
        assert len(told.model_dump_json().encode()) < LARGEST_MESSAGE
        passed += len(told.chunks)


async def test_only_the_delivery_that_holds_a_run_follows_it(make: Callable[..., World]) -> None:
    """An older delivery ends quietly; the holder reads on after the end."""

    @task("t", on="go")
    async def tells(ctx: Any, payload: Any) -> Any:
        ctx.stream("log", 1)

    vendor = await started(make(tells))
    assert (await vendor.to_the_end()).progress.chunks == 1
    assert [each.chunk for each in (await vendor.follow(0)).chunks] == [1]
    with pytest.raises(Superseded):
        await vendor.by(vendor.worker, delivery=2).follow(0)


@settings(max_examples=25, deadline=None)
@given(
    branches=st.lists(st.lists(st.integers(0, 2), max_size=3), min_size=1, max_size=3),
    order=st.randoms(use_true_random=False),
)
def test_branches_stream_each_in_its_own_order(branches: list[list[int]], order: Any) -> None:
    """Whatever order steps of parallel branches end in: each chunk once, each branch in order."""

    @task("t", on="go")
    async def tells(ctx: Any, payload: Any) -> Any:
        async def branch(at: int, counts: list[int]) -> None:
            ctx.stream("log", [at, "begin"])
            for number, count in enumerate(counts):
                await ctx.step(f"s{at}.{number}", lambda: None)
                for each in range(count):
                    ctx.stream("log", [at, number, each])

        await ctx.parallel(*(branch(at, counts) for at, counts in enumerate(branches)))
        ctx.stream("log", "over")

    async def play() -> list[Any]:
        world = world_of(tells)
        try:
            vendor = await started(world)
            found = await vendor.advance()
            while not found.state.terminal:
                start = order.choice(found.run)
                found = (await vendor.execute(start.step, start.attempt)).next
            return [orjson.loads(each.value) for each in await chunks(world, vendor.run_id)]
        finally:
            await world.close()

    found = asyncio.run(play())
    assert found.pop() == "over"
    for at, counts in enumerate(branches):
        own = [[at, number, each] for number, most in enumerate(counts) for each in range(most)]
        assert [each for each in found if each[0] == at] == [[at, "begin"], *own]
    assert len(found) == sum(1 + sum(counts) for counts in branches)
