"""The promises of a run store about runs: read whole, changed whole."""

import asyncio
from typing import Any

import pytest

from turnout.errors import UnknownRun
from turnout.model.runs import (
    Change,
    Chunk,
    Failure,
    Journal,
    RunFilter,
)
from turnout.model.status import (
    AttemptState,
    DeliveryState,
    ParkReason,
    RunStatus,
    StepKind,
    StepState,
)
from turnout.model.transitions import cancel
from turnout.ports.run_store import RunStore
from turnout_testing.conformance.run_store_values import (
    T0,
    emission,
    ended,
    new_attempt,
    new_run,
    new_step,
    started,
)


class JournalsContract:
    """Runs, read whole and changed whole."""

    async def test_an_unknown_run_is_named(self, store: RunStore) -> None:
        """Every read of one run refuses an id that nobody emitted."""
        for read in (store.journals.load, store.journals.transitions, store.deliveries.read):
            with pytest.raises(UnknownRun, match="'nope'"):
                await read("nope")

    async def test_a_change_reads_back_whole(self, store: RunStore) -> None:
        """Run, steps, attempts and transitions of one commit are read as they were written."""
        run = await started(store)
        error = Failure(name="Boom", message="it broke")
        steps = (
            new_step("b", position="0002"),
            new_step(
                "a",
                StepKind.SLEEP,
                position="0001",
                state=StepState.FAILED,
                ended_at=T0 + 1,
                due_at=T0 + 2,
                child="c1",
                output=b"[1]",
                error=error,
            ),
        )
        attempts = (
            new_attempt(
                "b", 1, state=AttemptState.FAILED, ended_at=T0 + 3, error=error, retry_at=T0 + 4
            ),
            new_attempt("b", 2, timeout_at=T0 + 9),
        )
        after = run._replace(
            parked=True,
            parked_until=T0 + 9,
            parked_for=(ParkReason.SLEEP, ParkReason.BACKOFF),
            progress=b'{"at":1}',
            code_version="v2",
        )
        assert await store.journals.apply(
            Change(before=run, after=after, steps=steps, attempts=attempts)
        )
        assert await store.journals.load("r1") == Journal(
            run=after._replace(seq=run.seq + 1),
            steps={step.step: step for step in steps},
            attempts={"b": attempts},
        )

    async def test_a_change_of_what_is_stale_changes_nothing(self, store: RunStore) -> None:
        """A commit on a run that has moved since it was read is refused, whole."""
        run = await started(store)
        assert await store.journals.apply(Change(before=run, after=run, steps=(new_step("a"),)))
        late = Change(
            before=run,
            after=run._replace(progress=b"1"),
            steps=(new_step("b"),),
            attempts=(new_attempt("b"),),
            emissions=(emission(new_run("r2")),),
        )
        assert not await store.journals.apply(late)
        journal = await store.journals.load("r1")
        assert (journal.run.seq, journal.run.progress, set(journal.steps)) == (2, None, {"a"})
        assert journal.attempts == {}
        with pytest.raises(UnknownRun):
            await store.journals.load("r2")

    async def test_chunks_are_appended_and_read_in_order(self, store: RunStore) -> None:
        """Chunks of a commit are read from a number on; a stale commit appends none."""
        run = await started(store)
        chunks = tuple(
            Chunk(number=at, name="log", value=b"[%d]" % at, at=T0, step="a", attempt=1)
            if at % 2
            else Chunk(number=at, name="words", value=b'"w"', at=T0)
            for at in range(12)
        )
        after = run._replace(chunks=12, streamed=b'{"":6}')
        change = Change(
            before=run, after=after, attempts=(new_attempt("a", streamed=6),), chunks=chunks
        )
        assert await store.journals.apply(change)
        assert not await store.journals.apply(change)
        read, chunks_read = await store.journals.streamed("r1", after=0, limit=100)
        assert (read, tuple(chunks_read)) == (after._replace(seq=run.seq + 1), chunks)
        _, chunks_read = await store.journals.streamed("r1", after=5, limit=3)
        assert [chunk.number for chunk in chunks_read] == [5, 6, 7]
        assert (await store.journals.streamed("r1", after=12, limit=3))[1] == ()
        assert (await store.journals.load("r1")).attempts["a"][0].streamed == 6
        with pytest.raises(UnknownRun):
            await store.journals.streamed("nope", after=0, limit=1)

    async def test_of_many_changes_at_once_one_wins(self, store: RunStore) -> None:
        """The seq decides: exactly one of those that read the same state commits."""
        run = await started(store)
        changes = [
            Change(before=run, after=run._replace(progress=str(at).encode())) for at in range(20)
        ]
        applied = await asyncio.gather(*map(store.journals.apply, changes))
        assert sum(applied) == 1
        stored = (await store.journals.load("r1")).run
        assert (stored.seq, stored.progress) == (run.seq + 1, str(applied.index(True)).encode())

    async def test_of_many_runs_changes_at_once_one_of_each_wins(self, store: RunStore) -> None:
        """What is committed together is told apart: each run's rows are those of its winner."""
        runs = [await started(store, f"r{at}") for at in range(7)]
        changes = [
            Change(
                before=run,
                after=run._replace(progress=b"%d" % rival),
                steps=(new_step(f"s{rival}"),),
                attempts=(new_attempt(f"s{rival}"),),
            )
            for rival in range(3)
            for run in runs
        ]
        applied = await asyncio.gather(*map(store.journals.apply, changes))
        for at, run in enumerate(runs):
            (won,) = (rival for rival in range(3) if applied[rival * 7 + at])
            journal = await store.journals.load(run.run_id)
            assert (journal.run.seq, journal.run.progress) == (run.seq + 1, b"%d" % won)
            assert (list(journal.steps), list(journal.attempts)) == ([f"s{won}"], [f"s{won}"])

    async def test_a_change_of_nobody_is_refused(self, store: RunStore) -> None:
        """A run that was never emitted has no seq that could fit."""
        ghost = new_run("ghost")
        assert not await store.journals.apply(Change(before=ghost, after=ghost))

    async def test_transitions_are_kept_in_order(self, store: RunStore) -> None:
        """The path of a run's states is append-only."""
        await started(store)
        await ended(store, "r1")
        path = [transition.state for transition in await store.journals.transitions("r1")]
        assert path == [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.COMPLETED]

    async def test_steps_read_in_order_of_asking(self, store: RunStore) -> None:
        """Positions sort branches depth-first."""
        run = await started(store)
        places = {"c": "0002", "a": "0003", "b": "0002.0001.0000"}
        steps = tuple(new_step(step, position=place) for step, place in places.items())
        await store.journals.apply(Change(before=run, after=run, steps=steps))
        assert list((await store.journals.load("r1")).steps) == ["c", "b", "a"]

    async def test_runs_are_read_in_pages(self, store: RunStore) -> None:
        """Filters narrow, and `before` and `after` continue where a page ended."""
        for at in range(6):
            task, provider = "ab"[at % 2], ("x", "y", "z")[at % 3]
            shadow = "s" if at < 3 else None
            run = new_run(f"r{at}", task, provider=provider, shadow=shadow)
            await store.events.emit([emission(run)])
        await ended(store, "r4")

        async def ids(**criteria: Any) -> list[str]:
            """List the ids of the runs that match."""
            return [run.run_id for run in await store.runs.find(RunFilter(**criteria))]

        assert await ids(limit=2) == ["r5", "r4"]
        last = (await store.journals.load("r4")).run.emit_seq
        assert await ids(limit=2, before=last) == ["r3", "r2"]
        assert await ids(limit=2, after=last) == ["r5"]
        assert await ids(after=0, limit=3) == ["r0", "r1", "r2"]
        assert await ids(task="a") == ["r4", "r2", "r0"]
        assert await ids(provider="y") == ["r4", "r1"]
        assert await ids(shadowed=True) == ["r2", "r1", "r0"]
        assert await ids(states=frozenset({RunStatus.COMPLETED})) == ["r4"]
        live = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})
        assert await ids(task="a", states=live) == ["r2", "r0"]

    async def test_an_ended_child_settles_its_parents_invoke(self, store: RunStore) -> None:
        """The parent gets the child's result, in the commit of the child's end, and is woken."""
        parent = await started(store, "p")
        child = new_run("c", parent_run_id="p", parent_step="call")
        call = new_step("call", StepKind.INVOKE, child="c")
        change = Change(before=parent, after=parent, steps=(call,), emissions=(emission(child),))
        assert await store.journals.apply(change)
        assert [run.run_id for run in await store.runs.children("p")] == ["c"]
        await ended(store, "c")
        journal = await store.journals.load("p")
        assert journal.steps["call"].state is StepState.COMPLETED
        assert journal.steps["call"].output == b'"done"'
        assert journal.run.seq == parent.seq + 2
        (wake,) = await store.due.take_wakes(T0 + 10, limit=9, resend=100)
        assert (wake.run_id, wake.seq) == ("p", journal.run.seq)

    async def test_an_ended_parent_is_left_alone(self, store: RunStore) -> None:
        """A child's end does not touch a parent that is over."""
        parent = await started(store, "p")
        call = new_step("call", StepKind.INVOKE, child="c")
        child = emission(new_run("c", parent_run_id="p", parent_step="call"))
        await store.journals.apply(
            Change(before=parent, after=parent, steps=(call,), emissions=(child,))
        )
        over = await ended(store, "p")
        await ended(store, "c")
        assert (await store.journals.load("p")).run == over

    async def test_an_end_ends_the_delivery(self, store: RunStore) -> None:
        """A run that its worker ended leaves its vendor run nothing to do."""
        await started(store)
        await ended(store, "r1")
        (delivery,) = await store.deliveries.read("r1")
        assert (delivery.state, delivery.stopping) == (DeliveryState.ENDED, False)
        assert await store.due.take_deliveries(T0 + 10**6, limit=9, hold=1) == []

    async def test_a_cancel_has_the_vendor_run_stopped(self, store: RunStore) -> None:
        """The delivery stays due until the vendor has confirmed."""
        run = await started(store)
        change = cancel(run, T0 + 5)
        assert change is not None
        assert await store.journals.apply(change)
        (delivery,) = await store.due.take_deliveries(T0 + 5, limit=9, hold=100)
        assert delivery.stopping
        assert await store.due.take_deliveries(T0 + 50, limit=9, hold=100) == []
        await store.deliveries.mark_stopped("r1", 1)
        (delivery,) = await store.deliveries.read("r1")
        assert (delivery.state, delivery.stopping) == (DeliveryState.ENDED, False)
        assert await store.due.take_deliveries(T0 + 10**6, limit=9, hold=100) == []
