"""The promises of a run store, as classes of tests that every backend subclasses.

A backend gives the fixture `store`, fresh and empty. Times are the tests' own: no store reads a
clock.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from turnout.errors import InvalidRunId, RunEnded, Superseded, UnknownRun, WrongUse
from turnout.model.events import StoredEvent
from turnout.model.policies import Timeouts
from turnout.model.routing import Route, Stage
from turnout.model.runs import (
    Attempt,
    Change,
    Emission,
    Failure,
    Journal,
    NewRun,
    Run,
    Step,
    Transition,
    Wait,
)
from turnout.model.schedules import Schedule
from turnout.model.status import (
    AttemptState,
    DeliveryState,
    ParkReason,
    RunStatus,
    StepKind,
    StepState,
)
from turnout.model.transitions import begin, cancel, end, settle
from turnout.ports.run_store import Handed, Replica, RunFilter, RunStore

T0 = 1_700_000_000_000
"""When everything begins, in these tests."""


def new_run(run_id: str = "r1", task: str = "t", **fields: Any) -> Run:
    """Make a run as an emit would."""
    plain = {
        "provider": "local",
        "payload": b"{}",
        "event": "e",
        "event_id": f"e-{run_id}",
        "emitted_at": T0,
        "due_at": T0,
    }
    return Run(run_id=run_id, task=task, **{**plain, **fields})


def event(
    event_id: str = "e1", name: str = "e", payload: bytes = b"{}", at: int = T0
) -> StoredEvent:
    """Make an event as it is recorded."""
    return StoredEvent(event_id=event_id, name=name, payload=payload, emitted_at=at)


def emission(*runs: Run, slotted: bool = False, cancel_on: tuple[Wait, ...] = ()) -> Emission:
    """Make an event that starts these runs."""
    started = tuple(NewRun(run=run, slotted=slotted, cancel_on=cancel_on) for run in runs)
    return Emission(event=event(runs[0].event_id, runs[0].event), runs=started)


def tried(step: str = "s", number: int = 1, **fields: Any) -> Attempt:
    """Make an attempt that was claimed."""
    plain = {"state": AttemptState.CLAIMED, "fence": 0, "worker": "w", "claimed_at": T0}
    return Attempt(step=step, number=number, **{**plain, "lease_until": T0 + 15_000, **fields})


def asked(step: str = "s", kind: StepKind = StepKind.STEP, **fields: Any) -> Step:
    """Make a step that is open."""
    return Step(step=step, kind=kind, **{"position": "0001", "asked_at": T0, **fields})


async def started(store: RunStore, run_id: str = "r1", **fields: Any) -> Run:
    """Emit a run and begin it; gives it as it stands."""
    await store.emit([emission(new_run(run_id, **fields))])
    change = begin(await store.load(run_id), Timeouts(), T0)
    assert change is not None
    assert await store.apply(change)
    return (await store.load(run_id)).run


async def waiting(store: RunStore, wait: Wait, **step: Any) -> Run:
    """Start a run that waits for an event in a step."""
    assert wait.step is not None
    run = await started(store, wait.run_id)
    opened = asked(wait.step, StepKind.EVENT, **step)
    assert await store.apply(Change(before=run, after=run, steps=(opened,), waits=(wait,)))
    return (await store.load(wait.run_id)).run


async def ended(store: RunStore, run_id: str, state: RunStatus = RunStatus.COMPLETED) -> Run:
    """End a run as its own worker would."""
    run = (await store.load(run_id)).run
    change = end(run, state, T0 + 9, result=b'"done"')
    assert change is not None
    assert await store.apply(change)
    return (await store.load(run_id)).run


class EventsContract:
    """Emits: events, runs, keys."""

    async def test_an_emitted_run_reads_back_as_it_was_given(self, store: RunStore) -> None:
        """Every field of a run survives, the absent ones too."""
        bare = new_run("r1")
        full = new_run(
            "r2",
            key="k",
            shadow="other",
            limit_key='"a"',
            definition="d",
            code_version="c",
            deadline_at=T0 + 5,
            due_at=T0 + 1,
            payload='{"ä":"☃"}'.encode(),
            parent_run_id="r1",
            parent_step="call",
        )
        await store.emit([emission(bare), emission(full)])
        found = [(await store.load(run_id)).run for run_id in ("r1", "r2")]
        assert [replace(each, emit_seq=0) for each in found] == [bare, full]
        assert found[0].emit_seq < found[1].emit_seq

    async def test_an_emit_tells_the_runs_that_it_started(self, store: RunStore) -> None:
        """One event starts every task subscribed to it, and names their runs at once."""
        (told,) = await store.emit([emission(new_run("r1", "a"), new_run("r2", "b"))])
        assert told.event_id == "e-r1"
        assert [(ref.run_id, ref.task, ref.duplicate) for ref in told.runs] == [
            ("r1", "a", False),
            ("r2", "b", False),
        ]

    async def test_a_new_run_is_queued_with_a_pending_delivery(self, store: RunStore) -> None:
        """A run begins queued, and its first delivery is pending at its due time."""
        await store.emit([emission(new_run(due_at=T0 + 50))])
        assert await store.transitions("r1") == [Transition(state=RunStatus.QUEUED, at=T0)]
        (delivery,) = await store.deliveries("r1")
        assert (delivery.number, delivery.state, delivery.due_at) == (
            1,
            DeliveryState.PENDING,
            T0 + 50,
        )
        assert delivery.key == "r1.1"

    async def test_a_key_starts_one_run_per_task_for_ever(self, store: RunStore) -> None:
        """A second emit with a key gives the first run, even after that has ended."""
        await store.emit([emission(new_run("r1", key="k"))])
        await ended(store, "r1")
        (told,) = await store.emit([emission(new_run("r2", key="k"))])
        assert [(ref.run_id, ref.duplicate) for ref in told.runs] == [("r1", True)]
        assert told.event_id == "e-r1"
        with pytest.raises(UnknownRun):
            await store.load("r2")

    async def test_a_key_belongs_to_its_task(self, store: RunStore) -> None:
        """Two tasks may use one key, each once."""
        await store.emit([emission(new_run("r1", "a", key="k"))])
        second = emission(new_run("r2", "a", key="k"), new_run("r3", "b", key="k"))
        (told,) = await store.emit([second])
        assert [(ref.run_id, ref.duplicate) for ref in told.runs] == [("r1", True), ("r3", False)]

    async def test_many_emits_with_one_key_at_once_start_one_run(self, store: RunStore) -> None:
        """Whoever comes first, all are told the same run."""
        emits = [store.emit([emission(new_run(f"r{at}", key="k"))]) for at in range(20)]
        refs = [told.runs[0] for (told,) in await asyncio.gather(*emits)]
        assert len({ref.run_id for ref in refs}) == 1
        assert sorted(ref.duplicate for ref in refs) == [False] + [True] * 19
        assert len(await store.runs(RunFilter())) == 1

    async def test_an_emission_that_is_repeated_changes_nothing(self, store: RunStore) -> None:
        """A caller that could not tell whether an emit was committed sends it again."""
        sent = emission(new_run("r1"))
        await store.emit([sent])
        run = await ended(store, "r1")
        (told,) = await store.emit([sent])
        assert [(ref.run_id, ref.duplicate) for ref in told.runs] == [("r1", True)]
        assert (await store.load("r1")).run == run
        assert len(await store.deliveries("r1")) == 1

    async def test_a_run_id_is_not_taken_over_by_another_task(self, store: RunStore) -> None:
        """A caller's own run id names one run of one task; nothing of the emit stays."""
        await store.emit([emission(new_run("r1", "a"))])
        with pytest.raises(InvalidRunId, match="'a'"):
            await store.emit([emission(new_run("r2", "c")), emission(new_run("r1", "b"))])
        with pytest.raises(UnknownRun):
            await store.load("r2")

    async def test_one_emit_that_fails_leaves_its_neighbours(self, store: RunStore) -> None:
        """Operations that are committed together fail apart."""
        await store.emit([emission(new_run("taken", "a"))])
        calls = [
            store.emit([emission(new_run("taken" if at % 7 == 3 else f"r{at}", "b"))])
            for at in range(30)
        ]
        told = await asyncio.gather(*calls, return_exceptions=True)
        failed = [at for at, each in enumerate(told) if isinstance(each, InvalidRunId)]
        assert failed == [3, 10, 17, 24]
        assert len(await store.runs(RunFilter(task="b"))) == 26

    async def test_the_order_of_emit_grows(self, store: RunStore) -> None:
        """Each emit that is awaited comes after the ones before it."""
        for at in range(5):
            await store.emit([emission(new_run(f"r{at}"))])
        found = await store.runs(RunFilter())
        assert [run.run_id for run in found] == ["r4", "r3", "r2", "r1", "r0"]
        assert sorted(run.emit_seq for run in found) == [run.emit_seq for run in reversed(found)]

    async def test_a_connection_of_no_known_kind_is_refused(self, store: RunStore) -> None:
        """The refusal names what was given and what can be."""
        with pytest.raises(WrongUse, match=r"builtins\.str.*AsyncSession.*psycopg"):
            await store.emit([emission(new_run())], connection="sqlite://")


class JournalsContract:
    """Runs, read whole and changed whole."""

    async def test_an_unknown_run_is_named(self, store: RunStore) -> None:
        """Every read of one run refuses an id that nobody emitted."""
        for read in (store.load, store.transitions, store.deliveries):
            with pytest.raises(UnknownRun, match="'nope'"):
                await read("nope")

    async def test_a_change_reads_back_whole(self, store: RunStore) -> None:
        """Run, steps, attempts and transitions of one commit are read as they were written."""
        run = await started(store)
        error = Failure(name="Boom", message="it broke")
        steps = (
            asked("b", position="0002"),
            asked(
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
            tried("b", 1, state=AttemptState.FAILED, ended_at=T0 + 3, error=error, retry_at=T0 + 4),
            tried("b", 2, timeout_at=T0 + 9),
        )
        after = replace(
            run,
            parked=True,
            parked_until=T0 + 9,
            parked_for=(ParkReason.SLEEP, ParkReason.BACKOFF),
            progress=b'{"at":1}',
            code_version="v2",
        )
        assert await store.apply(Change(before=run, after=after, steps=steps, attempts=attempts))
        assert await store.load("r1") == Journal(
            run=replace(after, seq=run.seq + 1),
            steps={each.step: each for each in steps},
            attempts={"b": attempts},
        )

    async def test_a_change_of_what_is_stale_changes_nothing(self, store: RunStore) -> None:
        """A commit on a run that has moved since it was read is refused, whole."""
        run = await started(store)
        assert await store.apply(Change(before=run, after=run, steps=(asked("a"),)))
        late = Change(
            before=run,
            after=replace(run, progress=b"1"),
            steps=(asked("b"),),
            attempts=(tried("b"),),
            emissions=(emission(new_run("r2")),),
        )
        assert not await store.apply(late)
        journal = await store.load("r1")
        assert (journal.run.seq, journal.run.progress, set(journal.steps)) == (2, None, {"a"})
        assert journal.attempts == {}
        with pytest.raises(UnknownRun):
            await store.load("r2")

    async def test_of_many_changes_at_once_one_wins(self, store: RunStore) -> None:
        """The seq decides: exactly one of those that read the same state commits."""
        run = await started(store)
        changes = [
            Change(before=run, after=replace(run, progress=str(at).encode())) for at in range(20)
        ]
        won = await asyncio.gather(*map(store.apply, changes))
        assert sum(won) == 1
        found = (await store.load("r1")).run
        assert (found.seq, found.progress) == (run.seq + 1, str(won.index(True)).encode())

    async def test_a_change_of_nobody_is_refused(self, store: RunStore) -> None:
        """A run that was never emitted has no seq that could fit."""
        ghost = new_run("ghost")
        assert not await store.apply(Change(before=ghost, after=ghost))

    async def test_transitions_are_kept_in_order(self, store: RunStore) -> None:
        """The path of a run's states is append-only."""
        await started(store)
        await ended(store, "r1")
        path = [each.state for each in await store.transitions("r1")]
        assert path == [RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.COMPLETED]

    async def test_steps_read_in_order_of_asking(self, store: RunStore) -> None:
        """Positions sort branches depth-first."""
        run = await started(store)
        places = {"c": "0002", "a": "0003", "b": "0002.0001.0000"}
        steps = tuple(asked(step, position=place) for step, place in places.items())
        await store.apply(Change(before=run, after=run, steps=steps))
        assert list((await store.load("r1")).steps) == ["c", "b", "a"]

    async def test_runs_are_read_in_pages(self, store: RunStore) -> None:
        """Filters narrow, and `before` and `after` continue where a page ended."""
        for at in range(6):
            task, provider = "ab"[at % 2], ("x", "y", "z")[at % 3]
            shadow = "s" if at < 3 else None
            run = new_run(f"r{at}", task, provider=provider, shadow=shadow)
            await store.emit([emission(run)])
        await ended(store, "r4")

        async def ids(**wanted: Any) -> list[str]:
            return [run.run_id for run in await store.runs(RunFilter(**wanted))]

        assert await ids(limit=2) == ["r5", "r4"]
        last = (await store.load("r4")).run.emit_seq
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
        call = asked("call", StepKind.INVOKE, child="c")
        change = Change(before=parent, after=parent, steps=(call,), emissions=(emission(child),))
        assert await store.apply(change)
        assert [run.run_id for run in await store.children("p")] == ["c"]
        await ended(store, "c")
        journal = await store.load("p")
        assert journal.steps["call"].state is StepState.COMPLETED
        assert journal.steps["call"].output == b'"done"'
        assert journal.run.seq == parent.seq + 2
        (wake,) = await store.due_wakes(T0 + 10, limit=9, resend=100)
        assert (wake.run_id, wake.seq) == ("p", journal.run.seq)

    async def test_an_ended_parent_is_left_alone(self, store: RunStore) -> None:
        """A child's end does not touch a parent that is over."""
        parent = await started(store, "p")
        call = asked("call", StepKind.INVOKE, child="c")
        child = emission(new_run("c", parent_run_id="p", parent_step="call"))
        await store.apply(Change(before=parent, after=parent, steps=(call,), emissions=(child,)))
        over = await ended(store, "p")
        await ended(store, "c")
        assert (await store.load("p")).run == over

    async def test_an_end_ends_the_delivery(self, store: RunStore) -> None:
        """A run that its worker ended leaves its vendor run nothing to do."""
        await started(store)
        await ended(store, "r1")
        (delivery,) = await store.deliveries("r1")
        assert (delivery.state, delivery.stopping) == (DeliveryState.ENDED, False)
        assert await store.due_deliveries(T0 + 10**6, limit=9, hold=1) == []

    async def test_a_cancel_has_the_vendor_run_stopped(self, store: RunStore) -> None:
        """The delivery stays due until the vendor has confirmed."""
        run = await started(store)
        change = cancel(run, T0 + 5)
        assert change is not None
        assert await store.apply(change)
        (delivery,) = await store.due_deliveries(T0 + 5, limit=9, hold=100)
        assert delivery.stopping
        assert await store.due_deliveries(T0 + 50, limit=9, hold=100) == []
        await store.stopped("r1", 1)
        (delivery,) = await store.deliveries("r1")
        assert (delivery.state, delivery.stopping) == (DeliveryState.ENDED, False)
        assert await store.due_deliveries(T0 + 10**6, limit=9, hold=100) == []


class WaitsContract:
    """Events that meet waits."""

    async def test_an_event_meets_the_step_that_waits(self, store: RunStore) -> None:
        """The step gets the payload, and its run is owed a wake."""
        run = await waiting(store, Wait(run_id="r1", step="w", event="go"))
        await store.emit([Emission(event=event("e9", "go", b'{"n":1}', T0 + 7))])
        journal = await store.load("r1")
        assert journal.steps["w"].state is StepState.COMPLETED
        assert (journal.steps["w"].output, journal.steps["w"].ended_at) == (b'{"n":1}', T0 + 7)
        assert journal.run.seq == run.seq + 1
        assert [wake.run_id for wake in await store.due_wakes(T0 + 7, limit=9, resend=1)] == ["r1"]

    async def test_a_wait_is_met_once(self, store: RunStore) -> None:
        """The second event finds no open wait."""
        await waiting(store, Wait(run_id="r1", step="w", event="go"))
        await store.emit([Emission(event=event("e8", "go", b"1"))])
        seq = (await store.load("r1")).run.seq
        await store.emit([Emission(event=event("e9", "go", b"2"))])
        journal = await store.load("r1")
        assert (journal.steps["w"].output, journal.run.seq) == (b"1", seq)

    @pytest.mark.parametrize(
        ("payload", "met"),
        [
            (b'{"a":{"id":1},"b":"x"}', True),
            (b'{"a":{"id":true},"b":"x"}', False),
            (b'{"a":{"id":1.0},"b":"x"}', False),
            (b'{"a":{"id":2},"b":"x"}', False),
            (b'{"a":{"id":1}}', False),
            (b'{"b":"x"}', False),
        ],
    )
    async def test_an_event_meets_what_matches(
        self,
        store: RunStore,
        payload: bytes,
        met: bool,  # noqa: FBT001 - a table
    ) -> None:
        """Every path must hold its value, and true is not 1."""
        match = (("payload.a.id", b"1"), ("payload.b", b'"x"'))
        await waiting(store, Wait(run_id="r1", step="w", event="go", match=match))
        await store.emit([Emission(event=event("e9", "go", payload))])
        assert (await store.load("r1")).steps["w"].state.settled is met

    async def test_a_wait_that_has_timed_out_is_not_met(self, store: RunStore) -> None:
        """An event that comes at the time-out, or later, is too late."""
        await waiting(store, Wait(run_id="r1", step="w", event="go"), due_at=T0 + 5)
        await store.emit([Emission(event=event("e9", "go", at=T0 + 5))])
        assert not (await store.load("r1")).steps["w"].state.settled

    async def test_a_settled_step_waits_no_more(self, store: RunStore) -> None:
        """A step that was settled otherwise has closed its wait."""
        await waiting(store, Wait(run_id="r1", step="w", event="go"))
        change = settle(await store.load("r1"), "w", T0 + 1, error=Failure(name="T", message=""))
        assert change is not None
        assert await store.apply(change)
        await store.emit([Emission(event=event("e9", "go"))])
        assert (await store.load("r1")).steps["w"].state is StepState.FAILED

    async def test_an_event_cancels_the_runs_that_say_so(self, store: RunStore) -> None:
        """A cancel-wait cancels its run and no other; the vendor run is stopped."""
        match = (("payload.id", b"1"),)
        for run_id, value in (("r1", b"1"), ("r2", b"2")):
            wait = Wait(run_id=run_id, step=None, event="stop", match=(("payload.id", value),))
            other = Wait(run_id=run_id, step=None, event="halt", match=match)
            await store.emit([emission(new_run(run_id), cancel_on=(wait, other))])
        await store.emit([Emission(event=event("e9", "stop", b'{"id":1}', T0 + 4))])
        assert (await store.load("r1")).run.state is RunStatus.CANCELLED
        assert (await store.load("r1")).run.fence == 1
        assert (await store.load("r2")).run.state is RunStatus.QUEUED
        stopping = {each.run_id for each in await store.due_deliveries(T0 + 4, limit=9, hold=9)}
        assert stopping == {"r1", "r2"}
        assert [each.stopping for each in await store.deliveries("r1")] == [True]

    async def test_an_event_does_not_cancel_the_run_that_it_starts(self, store: RunStore) -> None:
        """It cancels the older run that waits for it; the new one waits for the next."""
        for run_id in ("r1", "r2"):
            wait = Wait(run_id=run_id, step=None, event="e")
            await store.emit([emission(new_run(run_id), cancel_on=(wait,))])
        assert (await store.load("r1")).run.state is RunStatus.CANCELLED
        assert (await store.load("r2")).run.state is RunStatus.QUEUED

    async def test_several_waits_for_one_event_are_told_apart(self, store: RunStore) -> None:
        """One event, one run, two values: each cancels."""
        waits = tuple(
            Wait(run_id="r1", step=None, event="stop", match=(("payload.id", value),))
            for value in (b"1", b"2")
        )
        await store.emit([emission(new_run(), cancel_on=waits)])
        await store.emit([Emission(event=event("e9", "stop", b'{"id":2}'))])
        assert (await store.load("r1")).run.state is RunStatus.CANCELLED

    async def test_an_ended_run_waits_no_more(self, store: RunStore) -> None:
        """The waits of a run that has ended are closed."""
        await store.emit(
            [emission(new_run(), cancel_on=(Wait(run_id="r1", step=None, event="x"),))]
        )
        over = await ended(store, "r1")
        await store.emit([Emission(event=event("e9", "x"))])
        assert (await store.load("r1")).run == over

    async def test_an_event_of_a_step_meets_other_runs(self, store: RunStore) -> None:
        """What a run emits in its commit meets waits as any emit does."""
        await waiting(store, Wait(run_id="r1", step="w", event="go"))
        sender = await started(store, "r2")
        sent = Emission(event=event("e9", "go"))
        assert await store.apply(Change(before=sender, after=sender, emissions=(sent,)))
        assert (await store.load("r1")).steps["w"].state.settled

    async def test_many_waits_at_once_are_all_met(self, store: RunStore) -> None:
        """Waits that open while events are emitted miss none that is committed later."""
        runs = [f"r{at}" for at in range(12)]

        async def one(run_id: str) -> bool:
            await waiting(store, Wait(run_id=run_id, step="w", event="go"))
            await store.emit([Emission(event=event(f"go-{run_id}", "go"))])
            return (await store.load(run_id)).steps["w"].state.settled

        assert all(await asyncio.gather(*map(one, runs)))


class DeliveriesContract:
    """Who may call for a run."""

    async def test_the_first_vendor_run_claims(self, store: RunStore) -> None:
        """Another vendor run is superseded; the same one may call again."""
        await store.emit([emission(new_run())])
        journal = await store.claim_delivery("r1", 1, "v1", T0 + 1)
        assert journal == await store.load("r1")
        with pytest.raises(Superseded):
            await store.claim_delivery("r1", 1, "v2", T0 + 2)
        await store.claim_delivery("r1", 1, "v1", T0 + 3)
        (delivery,) = await store.deliveries("r1")
        assert (delivery.state, delivery.provider_run_id) == (DeliveryState.CLAIMED, "v1")
        assert (delivery.claimed_at, delivery.called_at) == (T0 + 1, T0 + 3)

    async def test_of_many_vendor_runs_one_claims(self, store: RunStore) -> None:
        """However many call at once, one holds the delivery."""
        await store.emit([emission(new_run())])
        calls = [store.claim_delivery("r1", 1, f"v{at}", T0) for at in range(12)]
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(each, Journal) for each in told) == 1
        assert sum(isinstance(each, Superseded) for each in told) == 11

    async def test_the_id_that_a_sending_told_does_not_claim(self, store: RunStore) -> None:
        """What a vendor answered is a hint; who calls first has the delivery."""
        await store.emit([emission(new_run())])
        handed = Handed(
            run_id="r1", number=1, due_at=T0 + 9, sent_at=T0 + 1, provider_run_id="told"
        )
        await store.delivered([handed])
        await store.claim_delivery("r1", 1, "caller", T0 + 2)
        (delivery,) = await store.deliveries("r1")
        assert delivery.provider_run_id == "caller"

    async def test_calls_that_cannot_be_served_are_named(self, store: RunStore) -> None:
        """An unknown run, a delivery that is not the live one, a run that has ended."""
        await store.emit([emission(new_run())])
        with pytest.raises(UnknownRun):
            await store.claim_delivery("nope", 1, "v", T0)
        with pytest.raises(Superseded):
            await store.claim_delivery("r1", 2, "v", T0)
        await store.claim_delivery("r1", 1, "v", T0)
        await ended(store, "r1")
        with pytest.raises(RunEnded, match="completed"):
            await store.claim_delivery("r1", 1, "v", T0)

    async def test_a_redelivery_supersedes(self, store: RunStore) -> None:
        """The next delivery is pending; whoever calls for the old one ends."""
        run = await started(store)
        await store.claim_delivery("r1", 1, "v1", T0)
        assert await store.redeliver("r1", 1, "local", T0 + 5)
        assert not await store.redeliver("r1", 1, "local", T0 + 5)
        with pytest.raises(Superseded):
            await store.claim_delivery("r1", 1, "v1", T0 + 6)
        journal = await store.claim_delivery("r1", 2, "v2", T0 + 6)
        assert (journal.run.delivery, journal.run.seq) == (2, run.seq + 1)
        assert journal.run.fence == run.fence
        states = [each.state for each in await store.deliveries("r1")]
        assert states == [DeliveryState.SUPERSEDED, DeliveryState.CLAIMED]

    async def test_a_move_fences_and_stops_the_old_vendor_run(self, store: RunStore) -> None:
        """A redelivery to another provider raises the fence and has the old one stopped."""
        await started(store)
        await store.claim_delivery("r1", 1, "v1", T0)
        assert await store.redeliver("r1", 1, "other", T0 + 5)
        run = (await store.load("r1")).run
        assert (run.provider, run.fence) == ("other", 1)
        due = await store.due_deliveries(T0 + 5, limit=9, hold=9)
        assert {(each.number, each.provider, each.stopping) for each in due} == {
            (1, "local", True),
            (2, "other", False),
        }
        await store.stopped("r1", 1)
        assert [each.state for each in await store.deliveries("r1")] == [
            DeliveryState.SUPERSEDED,
            DeliveryState.PENDING,
        ]

    async def test_an_ended_run_is_not_delivered_again(self, store: RunStore) -> None:
        """There is nothing left to call for."""
        await started(store)
        await ended(store, "r1")
        assert not await store.redeliver("r1", 1, "local", T0)

    async def test_a_due_delivery_is_taken_by_one(self, store: RunStore) -> None:
        """What one pump holds, no other is given until the hold has passed."""
        await store.emit([emission(new_run(f"r{at}")) for at in range(10)])
        takes = [store.due_deliveries(T0, limit=4, hold=50) for _ in range(5)]
        taken = [each.run_id for few in await asyncio.gather(*takes) for each in few]
        assert sorted(taken) == sorted(f"r{at}" for at in range(10))
        assert await store.due_deliveries(T0 + 49, limit=99, hold=50) == []
        assert len(await store.due_deliveries(T0 + 50, limit=99, hold=50)) == 10

    async def test_a_delayed_run_is_not_due_early(self, store: RunStore) -> None:
        """Its delivery waits for its start."""
        await store.emit([emission(new_run(due_at=T0 + 100))])
        assert await store.due_deliveries(T0 + 99, limit=9, hold=1) == []
        assert len(await store.due_deliveries(T0 + 100, limit=9, hold=1)) == 1

    async def test_an_accepted_sending_is_sent(self, store: RunStore) -> None:
        """It is looked after at its next due time."""
        await store.emit([emission(new_run())])
        handed = Handed(run_id="r1", number=1, due_at=T0 + 9, sent_at=T0 + 1, provider_run_id="v")
        await store.delivered([handed])
        (delivery,) = await store.deliveries("r1")
        assert (delivery.state, delivery.sent_at, delivery.due_at) == (
            DeliveryState.SENT,
            T0 + 1,
            T0 + 9,
        )
        assert delivery.provider_run_id == "v"

    async def test_a_failed_sending_is_tried_again(self, store: RunStore) -> None:
        """It stays pending, and its failures are counted."""
        await store.emit([emission(new_run())])
        for at in (1, 2):
            down = Handed(run_id="r1", number=1, due_at=T0 + at, sent_at=T0, error="down")
            await store.delivered([down])
        (delivery,) = await store.deliveries("r1")
        assert (delivery.state, delivery.failures, delivery.due_at) == (
            DeliveryState.PENDING,
            2,
            T0 + 2,
        )

    async def test_late_news_of_a_sending_does_not_undo_a_claim(self, store: RunStore) -> None:
        """A vendor run may call before the answer to its sending is recorded."""
        await store.emit([emission(new_run())])
        await store.claim_delivery("r1", 1, "v", T0 + 1)
        for error in (None, "timed out"):
            late = Handed(run_id="r1", number=1, due_at=T0 + 9, sent_at=T0, error=error)
            await store.delivered([late])
        (delivery,) = await store.deliveries("r1")
        assert (delivery.state, delivery.provider_run_id) == (DeliveryState.CLAIMED, "v")
        assert (delivery.failures, delivery.due_at) == (0, T0 + 9)

    async def test_a_postponed_delivery_is_due_later(self, store: RunStore) -> None:
        """The pump looks after it when it said it would."""
        await store.emit([emission(new_run())])
        await store.postpone("r1", 1, T0 + 70)
        assert await store.due_deliveries(T0 + 69, limit=9, hold=1) == []
        assert len(await store.due_deliveries(T0 + 70, limit=9, hold=1)) == 1

    async def test_a_token_is_remembered_while_nothing_moved(self, store: RunStore) -> None:
        """A vendor run that parks on what is stale is told to look again."""
        run = await started(store)
        assert await store.park_on("r1", 1, run.seq, "token")
        assert not await store.park_on("r1", 1, run.seq - 1, "old")
        assert not await store.park_on("r1", 2, run.seq, "other")
        (delivery,) = await store.deliveries("r1")
        assert delivery.token == "token"


class SlotsContract:
    """Concurrency slots."""

    async def test_the_limit_holds_in_order_of_emit(self, store: RunStore) -> None:
        """A run gets a slot in its turn, and the next is woken when one is freed."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(4)]
        await store.emit([emission(run, slotted=True) for run in runs])
        assert not await store.take_slot("r1", None, 2, T0)
        assert await store.take_slot("r0", None, 2, T0)
        assert [wake.run_id for wake in await store.due_wakes(T0, limit=9, resend=99)] == ["r1"]
        assert await store.take_slot("r1", None, 2, T0)
        assert await store.take_slot("r1", None, 2, T0)
        assert not await store.take_slot("r2", None, 2, T0)
        assert not await store.take_slot("r3", None, 2, T0)
        await ended(store, "r0")
        woken = {wake.run_id for wake in await store.due_wakes(T0 + 10, limit=9, resend=99)}
        assert woken == {"r2"}
        assert not await store.take_slot("r3", None, 2, T0 + 10)
        assert await store.take_slot("r2", None, 2, T0 + 10)

    async def test_a_wake_for_a_slot_moves_the_seq(self, store: RunStore) -> None:
        """A run that is about to park on what it saw before must look again."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(2)]
        await store.emit([emission(run, slotted=True) for run in runs])
        assert await store.take_slot("r0", None, 1, T0)
        seen = (await store.load("r1")).run
        assert not await store.take_slot("r1", None, 1, T0)
        await ended(store, "r0")
        parked = replace(seen, parked=True, parked_for=(ParkReason.SLOT,))
        assert not await store.apply(Change(before=seen, after=parked))
        assert await store.take_slot("r1", None, 1, T0 + 10)

    async def test_keys_and_tasks_do_not_share_slots(self, store: RunStore) -> None:
        """A limit is per task and value of the key."""
        for at, (task, key) in enumerate([("a", '"x"'), ("a", '"y"'), ("b", '"x"'), ("a", '"x"')]):
            run = new_run(f"r{at}", task, limit_key=key)
            await store.emit([emission(run, slotted=True)])
        held = [await store.take_slot(f"r{at}", None, 1, T0) for at in range(4)]
        assert held == [True, True, True, False]

    async def test_a_run_that_is_not_due_holds_nobody_up(self, store: RunStore) -> None:
        """A delayed run stands in line from its start on."""
        late = new_run("r0", limit_key="null", due_at=T0 + 100)
        await store.emit([emission(late, slotted=True)])
        await store.emit([emission(new_run("r1", limit_key="null"), slotted=True)])
        await store.emit([emission(new_run("r2", limit_key="null"), slotted=True)])
        assert await store.take_slot("r1", None, 1, T0)
        await ended(store, "r1")
        assert not await store.take_slot("r2", None, 1, T0 + 100)
        assert await store.take_slot("r0", None, 1, T0 + 100)

    async def test_one_that_gives_up_lets_the_next_pass(self, store: RunStore) -> None:
        """A run that is cancelled in line wakes the one behind it."""
        runs = [new_run(f"r{at}", limit_key="null") for at in range(2)]
        await store.emit([emission(run, slotted=True) for run in runs])
        assert not await store.take_slot("r1", None, 1, T0)
        change = cancel((await store.load("r0")).run, T0 + 1)
        assert change is not None
        assert await store.apply(change)
        assert [wake.run_id for wake in await store.due_wakes(T0 + 1, limit=9, resend=9)] == ["r1"]
        assert await store.take_slot("r1", None, 1, T0 + 1)
        assert not await store.take_slot("r0", None, 1, T0 + 1)

    async def test_a_steps_slot_is_freed_with_its_attempt(self, store: RunStore) -> None:
        """It is held from the claim to the attempt's end; retries stand in line again."""
        first = await started(store, "r1", limit_key="null")
        second = await started(store, "r2", limit_key="null")
        assert await store.take_slot("r1", "s", 1, T0)
        claim = Change(before=first, after=first, steps=(asked(),), attempts=(tried(),))
        assert await store.apply(claim)
        assert not await store.take_slot("r2", "s", 1, T0)
        assert not await store.take_slot("r1", "other", 1, T0)
        run = (await store.load("r1")).run
        failed = tried(state=AttemptState.FAILED, ended_at=T0 + 5, retry_at=T0 + 50)
        assert await store.apply(Change(before=run, after=run, attempts=(failed,)))
        (wake,) = await store.due_wakes(T0 + 5, limit=9, resend=99)
        assert wake.run_id == "r1"
        assert not await store.take_slot("r2", "s", 1, T0 + 5)
        await ended(store, "r1")
        woken = [wake.run_id for wake in await store.due_wakes(T0 + 9, limit=9, resend=99)]
        assert woken == ["r2"]
        assert await store.take_slot("r2", "s", 1, T0 + 9)
        assert (await store.load("r2")).run.seq == second.seq + 1

    async def test_slots_asked_for_at_once_stay_within_the_limit(self, store: RunStore) -> None:
        """However many ask together, no more than the limit are held."""
        names = [f"r{at}" for at in range(12)]
        for name in names:
            await started(store, name, limit_key="null")
        asks = [store.take_slot(name, "s", 3, T0) for name in names]
        assert sum(await asyncio.gather(*asks)) <= 3
        granted = [await store.take_slot(name, "s", 3, T0) for name in names]
        assert sum(granted) == 3

    async def test_a_run_without_a_limit_has_no_line(self, store: RunStore) -> None:
        """A slot of no limit is refused by name, and so is standing in line for one."""
        await store.emit([emission(new_run())])
        with pytest.raises(WrongUse, match="limit_key"):
            await store.take_slot("r1", None, 1, T0)
        with pytest.raises(WrongUse, match="limit_key"):
            await store.emit([emission(new_run("r2"), slotted=True)])
        with pytest.raises(UnknownRun):
            await store.take_slot("nope", None, 1, T0)


class PumpContract:
    """What is due."""

    async def test_a_wake_is_sent_again_until_the_run_calls(self, store: RunStore) -> None:
        """Each sending is counted; a call withdraws the wake."""
        run = await started(store)
        await store.apply(Change(before=run, after=run, wake_at=T0 + 10))
        assert await store.due_wakes(T0 + 9, limit=9, resend=5) == []
        (wake,) = await store.due_wakes(T0 + 10, limit=9, resend=5)
        assert (wake.run_id, wake.seq, wake.sent) == ("r1", run.seq + 1, 0)
        assert wake.delivery is not None
        assert wake.delivery.number == 1
        assert await store.due_wakes(T0 + 14, limit=9, resend=5) == []
        (again,) = await store.due_wakes(T0 + 15, limit=9, resend=5)
        assert again.sent == 1
        await store.claim_delivery("r1", 1, "v", T0 + 16)
        assert await store.due_wakes(T0 + 10**6, limit=9, resend=5) == []

    async def test_a_timer_outlives_a_call(self, store: RunStore) -> None:
        """A run that calls in before its alarm keeps it."""
        run = await started(store)
        await store.apply(Change(before=run, after=run, wake_at=T0 + 100))
        await store.claim_delivery("r1", 1, "v", T0 + 50)
        assert len(await store.due_wakes(T0 + 100, limit=9, resend=5)) == 1

    async def test_a_commit_replaces_the_alarm(self, store: RunStore) -> None:
        """Sooner, later, or none."""
        run = await started(store)
        for wake_at in (T0 + 100, T0 + 10, T0 + 50):
            await store.apply(Change(before=run, after=run, wake_at=wake_at))
            run = (await store.load("r1")).run
        assert await store.due_wakes(T0 + 49, limit=9, resend=5) == []
        await store.apply(Change(before=run, after=run))
        assert await store.due_wakes(T0 + 10**6, limit=9, resend=5) == []

    async def test_a_wake_is_taken_by_one(self, store: RunStore) -> None:
        """Several pumps share what is due."""
        for at in range(8):
            run = await started(store, f"r{at}")
            await store.apply(Change(before=run, after=run, wake_at=T0))
        takes = [store.due_wakes(T0, limit=3, resend=99) for _ in range(4)]
        taken = [wake.run_id for few in await asyncio.gather(*takes) for wake in few]
        assert sorted(taken) == [f"r{at}" for at in range(8)]

    async def test_a_wake_carries_the_token(self, store: RunStore) -> None:
        """Whoever sends it finds what the parked vendor run waits on."""
        run = await started(store)
        await store.park_on("r1", 1, run.seq, "token")
        await store.apply(Change(before=run, after=run, wake_at=T0))
        (wake,) = await store.due_wakes(T0, limit=9, resend=5)
        assert wake.delivery is not None
        assert wake.delivery.token == "token"

    async def test_deadlines_of_live_runs_are_found(self, store: RunStore) -> None:
        """An ended run has none."""
        await store.emit([emission(new_run("r1", deadline_at=T0 + 5))])
        await store.emit([emission(new_run("r2", deadline_at=T0 + 9))])
        await store.emit([emission(new_run("r3", deadline_at=T0 + 1))])
        await ended(store, "r3")
        found = await store.due_deadlines(T0 + 5, limit=9)
        assert [run.run_id for run in found] == ["r1"]

    async def test_leases_that_ran_out_are_found(self, store: RunStore) -> None:
        """Of claimed attempts of live runs only, each run once."""
        for name in ("r1", "r2", "r3"):
            run = await started(store, name)
            attempts = (tried("a", lease_until=T0 + 5), tried("b", lease_until=T0 + 6))
            await store.apply(Change(before=run, after=run, attempts=attempts))
        run = (await store.load("r2")).run
        done = tuple(tried(step, state=AttemptState.COMPLETED, ended_at=T0) for step in "ab")
        await store.apply(Change(before=run, after=run, attempts=done))
        await ended(store, "r3")
        assert await store.expired_leases(T0 + 4, limit=9) == []
        assert await store.expired_leases(T0 + 6, limit=9) == ["r1"]

    async def test_a_lease_is_renewed_while_it_is_ours(self, store: RunStore) -> None:
        """Not after the attempt was settled, the run has ended or the fence was raised."""
        for name in ("r1", "r2", "r3", "r4"):
            run = await started(store, name)
            await store.apply(Change(before=run, after=run, attempts=(tried(),)))
        run = (await store.load("r2")).run
        lost = tried(state=AttemptState.LOST, ended_at=T0)
        await store.apply(Change(before=run, after=run, attempts=(lost,)))
        await ended(store, "r3")
        await store.redeliver("r4", 1, "other", T0)
        claims = [(name, "s", 1) for name in ("r1", "r2", "r3", "r4", "nope")]
        assert await store.renew(claims, T0 + 99) == claims[1:]
        journal = await store.load("r1")
        assert journal.attempts["s"][0].lease_until == T0 + 99

    async def test_artifacts_that_are_behind_are_found(self, store: RunStore) -> None:
        """A run is held for a while, and again when it has moved."""
        await store.emit([emission(new_run())])
        assert await store.unprojected(limit=9, now=T0, hold=10) == ["r1"]
        assert await store.unprojected(limit=9, now=T0 + 9, hold=10) == []
        assert await store.unprojected(limit=9, now=T0 + 10, hold=10) == ["r1"]
        await store.projected("r1", 0)
        assert await store.unprojected(limit=9, now=T0 + 99, hold=10) == []
        change = begin(await store.load("r1"), Timeouts(), T0)
        assert change is not None
        await store.apply(change)
        assert await store.unprojected(limit=9, now=T0 + 99, hold=10) == ["r1"]
        await store.projected("r1", 0)
        assert await store.unprojected(limit=9, now=T0 + 99, hold=10) == ["r1"]

    async def test_the_next_due_time_is_told(self, store: RunStore) -> None:
        """The earliest of delivery, wake and deadline; None when nothing is."""
        assert await store.next_due() is None
        await store.emit([emission(new_run(due_at=T0 + 50, deadline_at=T0 + 90))])
        assert await store.next_due() == T0 + 50
        await store.postpone("r1", 1, T0 + 100)
        assert await store.next_due() == T0 + 90
        run = (await store.load("r1")).run
        await store.apply(Change(before=run, after=run, wake_at=T0 + 60))
        assert await store.next_due() == T0 + 60
        await ended(store, "r1")
        assert await store.next_due() is None


class SchedulesContract:
    """Schedules and slots; routes and replicas."""

    async def test_a_slot_starts_one_run_for_ever(self, store: RunStore) -> None:
        """The second tick is told the first one's run, even if the schedule was put again."""
        nightly = Schedule(id="nightly", task="t", cron="0 3 * * *", payload={"n": 1})
        await store.put_schedule(nightly, "a", T0)
        first = await store.tick("nightly", T0 + 5, "a", emission(new_run("r1")), T0 + 6)
        assert (first.run_id, first.reason) == ("r1", "started")
        await store.remove_schedule("nightly")
        await store.put_schedule(nightly, "a", T0 + 7)
        second = await store.tick("nightly", T0 + 5, "a", emission(new_run("r2")), T0 + 8)
        assert (second.run_id, second.reason) == ("r1", "claimed")
        with pytest.raises(UnknownRun):
            await store.load("r2")

    async def test_of_many_ticks_of_a_slot_one_starts(self, store: RunStore) -> None:
        """The claim and its run are one commit."""
        await store.put_schedule(Schedule(id="s", task="t", cron="* * * * *"), "a", T0)
        ticks = [store.tick("s", T0, "a", emission(new_run(f"r{at}")), T0) for at in range(10)]
        told = await asyncio.gather(*ticks)
        assert sorted(each.reason for each in told) == ["claimed"] * 9 + ["started"]
        assert len({each.run_id for each in told}) == 1
        assert len(await store.runs(RunFilter())) == 1

    async def test_a_tick_that_starts_nothing_says_why(self, store: RunStore) -> None:
        """Of another provider, of a paused schedule, of one that is gone."""
        schedule = Schedule(id="s", task="t", cron="* * * * *")
        await store.put_schedule(schedule, "a", T0)
        for _ in range(2):
            told = await store.tick("s", T0, "b", emission(new_run()), T0)
            assert (told.run_id, told.reason) == (None, "not_owner")
        await store.put_schedule(replace(schedule, paused=True), "a", T0)
        assert (await store.tick("s", T0, "a", emission(new_run()), T0)).reason == "paused"
        assert await store.remove_schedule("s")
        assert not await store.remove_schedule("s")
        assert (await store.tick("s", T0, "a", emission(new_run()), T0)).reason == "removed"
        assert await store.runs(RunFilter()) == []

    async def test_schedules_read_back_with_their_owner(self, store: RunStore) -> None:
        """A schedule that is put again as it was keeps its time; a new owner has a new one."""
        schedule = Schedule(id="s", task="t", cron="@daily", zone="Europe/Kyiv", payload=[1, "ä"])
        await store.put_schedule(schedule, "a", T0)
        await store.tick("s", T0 + 9, "a", emission(new_run()), T0 + 9)
        await store.put_schedule(schedule, "a", T0 + 10)
        (owned,) = await store.schedules()
        assert owned.schedule == schedule
        assert (owned.provider, owned.since, owned.last_slot) == ("a", T0, T0 + 9)
        await store.put_schedule(schedule, "b", T0 + 20)
        (owned,) = await store.schedules()
        assert (owned.provider, owned.since, owned.last_slot) == ("b", T0 + 20, T0 + 9)

    async def test_routes_are_set_and_replaced(self, store: RunStore) -> None:
        """A task has one route."""
        assert await store.routes() == {}
        await store.put_route("t", Route(stage=Stage.OLD, old="a", new="b"), T0)
        ramp = Route(stage=Stage.RAMP, old="a", new="b", percentage=10)
        await store.put_route("t", ramp, T0 + 1)
        assert await store.routes() == {"t": ramp}

    async def test_replicas_that_live_are_listed(self, store: RunStore) -> None:
        """The last beat counts."""
        old = Replica(replica_id="x", provider="a", definition="d", version="1", seen_at=T0)
        new = replace(old, replica_id="y", seen_at=T0 + 5)
        for replica in (old, new, replace(new, provider="b", seen_at=T0 + 6)):
            await store.beat(replica)
        assert await store.replicas(since=T0 + 1) == [replace(new, provider="b", seen_at=T0 + 6)]
        assert len(await store.replicas(since=T0)) == 2


class RunStoreContract(
    EventsContract,
    JournalsContract,
    WaitsContract,
    DeliveriesContract,
    SlotsContract,
    PumpContract,
    SchedulesContract,
):
    """All promises. Subclass it, name it `Test…`, and give the fixture `store`."""

    @pytest.fixture
    def store(self) -> RunStore:
        """Give an empty store; the backend overrides it."""
        raise NotImplementedError
