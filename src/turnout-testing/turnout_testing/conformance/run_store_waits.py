"""The promises of a run store about waits: which events meet them, and which do not."""

import asyncio

import orjson
import pytest

from turnout.model.runs import Change, Emission, Failure, Step, Wait
from turnout.model.status import RunStatus, StepKind, StepState
from turnout.model.transitions import settle
from turnout.ports.run_store import RunStore
from turnout_testing.conformance.run_store_values import (
    T0,
    emission,
    ended,
    event,
    new_run,
    new_step,
    started,
    waiting,
)


class WaitsContract:
    """Events that meet waits."""

    async def test_an_event_meets_the_step_that_waits(self, store: RunStore) -> None:
        """The step gets the payload, and its run is owed a wake."""
        run = await waiting(store, Wait(run_id="r1", step="w", event="go"))
        await store.events.emit([Emission(event=event("e9", "go", b'{"n":1}', T0 + 7))])
        journal = await store.journals.load("r1")
        assert journal.steps["w"].state is StepState.COMPLETED
        assert (journal.steps["w"].output, journal.steps["w"].ended_at) == (b'{"n":1}', T0 + 7)
        assert journal.run.seq == run.seq + 1
        assert [wake.run_id for wake in await store.due.take_wakes(T0 + 7, limit=9, resend=1)] == [
            "r1"
        ]

    async def test_a_wait_may_ask_for_the_whole_event(self, store: RunStore) -> None:
        """The step then gets its name, id, key and time beside the payload."""
        match = (("payload.n", b"1"),)
        for run_id, conditions in (("r1", match), ("r2", ())):
            wait = Wait(run_id=run_id, step="w", event="go", match=conditions, whole=True)
            await waiting(store, wait)
        await store.events.emit([Emission(event=event("e9", "go", b'{"n":1}', T0 + 7))])
        event_fields = {"name": "go", "payload": {"n": 1}, "event_id": "e9", "key": None}
        for run_id in ("r1", "r2"):
            output = (await store.journals.load(run_id)).steps["w"].output
            assert orjson.loads(output or b"") == {**event_fields, "emitted_at": T0 + 7}

    async def test_a_wait_is_met_once(self, store: RunStore) -> None:
        """The second event finds no open wait."""
        await waiting(store, Wait(run_id="r1", step="w", event="go"))
        await store.events.emit([Emission(event=event("e8", "go", b"1"))])
        seq = (await store.journals.load("r1")).run.seq
        await store.events.emit([Emission(event=event("e9", "go", b"2"))])
        journal = await store.journals.load("r1")
        assert (journal.steps["w"].output, journal.run.seq) == (b"1", seq)

    @pytest.mark.parametrize(
        ("payload", "matches"),
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
        matches: bool,  # noqa: FBT001 - a table
    ) -> None:
        """Every path must hold its value, and true is not 1."""
        match = (("payload.a.id", b"1"), ("payload.b", b'"x"'))
        await waiting(store, Wait(run_id="r1", step="w", event="go", match=match))
        await store.events.emit([Emission(event=event("e9", "go", payload))])
        assert (await store.journals.load("r1")).steps["w"].state.settled is matches

    async def test_a_wait_that_has_timed_out_is_not_met(self, store: RunStore) -> None:
        """An event that comes at the time-out, or later, is too late."""
        await waiting(store, Wait(run_id="r1", step="w", event="go"), due_at=T0 + 5)
        await store.events.emit([Emission(event=event("e9", "go", at=T0 + 5))])
        assert not (await store.journals.load("r1")).steps["w"].state.settled

    async def test_a_settled_step_waits_no_more(self, store: RunStore) -> None:
        """A step that was settled otherwise has closed its wait."""
        await waiting(store, Wait(run_id="r1", step="w", event="go"))
        change = settle(
            await store.journals.load("r1"), "w", T0 + 1, error=Failure(name="T", message="")
        )
        assert change is not None
        assert await store.journals.apply(change)
        await store.events.emit([Emission(event=event("e9", "go"))])
        assert (await store.journals.load("r1")).steps["w"].state is StepState.FAILED

    async def test_an_event_cancels_the_runs_that_say_so(self, store: RunStore) -> None:
        """A cancel-wait cancels its run and no other; the vendor run is stopped."""
        match = (("payload.id", b"1"),)
        for run_id, value in (("r1", b"1"), ("r2", b"2")):
            wait = Wait(run_id=run_id, step=None, event="stop", match=(("payload.id", value),))
            second_wait = Wait(run_id=run_id, step=None, event="halt", match=match)
            await store.events.emit([emission(new_run(run_id), cancel_on=(wait, second_wait))])
        await store.events.emit([Emission(event=event("e9", "stop", b'{"id":1}', T0 + 4))])
        assert (await store.journals.load("r1")).run.state is RunStatus.CANCELLED
        assert (await store.journals.load("r1")).run.fence == 1
        assert (await store.journals.load("r2")).run.state is RunStatus.QUEUED
        stopping = {
            delivery.run_id for delivery in await store.due.take_deliveries(T0 + 4, limit=9, hold=9)
        }
        assert stopping == {"r1", "r2"}
        assert [delivery.stopping for delivery in await store.deliveries.read("r1")] == [True]

    async def test_an_event_does_not_cancel_the_run_that_it_starts(self, store: RunStore) -> None:
        """It cancels the older run that waits for it; the new one waits for the next."""
        for run_id in ("r1", "r2"):
            wait = Wait(run_id=run_id, step=None, event="e")
            await store.events.emit([emission(new_run(run_id), cancel_on=(wait,))])
        assert (await store.journals.load("r1")).run.state is RunStatus.CANCELLED
        assert (await store.journals.load("r2")).run.state is RunStatus.QUEUED

    @pytest.mark.parametrize("stopped_first", [True, False])
    async def test_events_of_one_emit_come_in_order(
        self, store: RunStore, *, stopped_first: bool
    ) -> None:
        """An event cancels what an earlier one of the same emit started, and nothing later."""
        stop = Wait(run_id="r1", step=None, event="stop")
        emissions = [
            emission(new_run("r1"), cancel_on=(stop,)),
            Emission(event=event("e2", "stop")),
        ]
        await store.events.emit(emissions[::-1] if stopped_first else emissions)
        state = (await store.journals.load("r1")).run.state
        assert state is (RunStatus.QUEUED if stopped_first else RunStatus.CANCELLED)

    async def test_several_waits_for_one_event_are_told_apart(self, store: RunStore) -> None:
        """One event, one run, two values: each cancels."""
        waits = tuple(
            Wait(run_id="r1", step=None, event="stop", match=(("payload.id", value),))
            for value in (b"1", b"2")
        )
        await store.events.emit([emission(new_run(), cancel_on=waits)])
        await store.events.emit([Emission(event=event("e9", "stop", b'{"id":2}'))])
        assert (await store.journals.load("r1")).run.state is RunStatus.CANCELLED

    async def test_an_ended_run_waits_no_more(self, store: RunStore) -> None:
        """The waits of a run that has ended are closed."""
        await store.events.emit(
            [emission(new_run(), cancel_on=(Wait(run_id="r1", step=None, event="x"),))]
        )
        over = await ended(store, "r1")
        await store.events.emit([Emission(event=event("e9", "x"))])
        assert (await store.journals.load("r1")).run == over

    async def test_an_event_of_a_step_meets_other_runs(self, store: RunStore) -> None:
        """What a run emits in its commit meets waits as any emit does."""
        await waiting(store, Wait(run_id="r1", step="w", event="go"))
        sender = await started(store, "r2")
        emitted = Emission(event=event("e9", "go"))
        assert await store.journals.apply(Change(before=sender, after=sender, emissions=(emitted,)))
        assert (await store.journals.load("r1")).steps["w"].state.settled

    async def test_an_emit_tells_how_many_waits_it_met(self, store: RunStore) -> None:
        """Of steps, and of runs that it cancels; none where nobody waits."""
        for name in ("r1", "r2"):
            await waiting(store, Wait(run_id=name, step="w", event="go"))
        cancelled = Wait(run_id="r3", step=None, event="go")
        await store.events.emit([emission(new_run("r3"), cancel_on=(cancelled,))])
        for event_id, name, count in (("a", "stay", 0), ("b", "go", 3), ("c", "go", 0)):
            (result,) = await store.events.emit([Emission(event=event(event_id, name))])
            assert result.waits_met == count

    async def test_many_waits_at_once_are_all_met(self, store: RunStore) -> None:
        """Waits that open while events are emitted miss none that is committed later."""
        runs = [f"r{at}" for at in range(12)]

        async def is_met(run_id: str) -> bool:
            """Open a wait and emit its event; whether the wait is met."""
            await waiting(store, Wait(run_id=run_id, step="w", event="go"))
            await store.events.emit([Emission(event=event(f"go-{run_id}", "go"))])
            return (await store.journals.load(run_id)).steps["w"].state.settled

        assert all(await asyncio.gather(*map(is_met, runs)))


class EarlierEventsContract:
    """Waits that look back to when their run was emitted."""

    async def test_earlier_events_meet_waits_the_oldest_first(self, store: RunStore) -> None:
        """In order of their times, each once; the run is owed a wake."""
        await started(store)
        later, sooner = (event(f"e{at}", "go", b"%d" % at, T0 + at) for at in (7, 3))
        await store.events.emit([Emission(event=later), Emission(event=sooner)])
        for place, taken in enumerate((b"3", b"7", None)):
            seq = (await store.journals.load("r1")).run.seq
            step = await look_back(store, place)
            assert step.output == taken
            expected = StepState.OPEN if taken is None else StepState.COMPLETED
            assert step.state is expected
            assert (await store.journals.load("r1")).run.seq == seq + (1 if taken is None else 2)
            wakes = await store.due.take_wakes(T0 + 9, limit=9, resend=1)
            assert len(wakes) == (0 if taken is None else 1)
        await store.events.emit([Emission(event=event("e9", "go", b"9", T0 + 9))])
        assert (await store.journals.load("r1")).steps["w2"].output == b"9"

    async def test_the_clocks_of_replicas_do_not_matter(self, store: RunStore) -> None:
        """An event counts as later than the run that was there when it was emitted."""
        await started(store)
        behind = event("behind", "go", b"1", T0 - 90_000)
        await store.events.emit([Emission(event=behind)])
        assert (await look_back(store, 0)).output == b"1"

    async def test_events_of_before_the_run_meet_no_wait_of_it(self, store: RunStore) -> None:
        """Whatever the clocks say that wrote the times; nor does the event that started the run."""
        for at in (T0 - 90_000, T0, T0 + 90_000):
            before = event(f"before-{at}", "e", b"{}", at)
            await store.events.emit([Emission(event=before)])
        await started(store)
        step = await look_back(store, 0, name="e")
        assert step.output is None

    @pytest.mark.parametrize(
        ("value", "taken"),
        [
            (b"1", b'{"a":1,"n":1}'),
            (b"true", b'{"a":1,"n":true}'),
            (b'"1"', b'{"a":1,"n":"1"}'),
            (b"null", b'{"a":1}'),
            (b'"\xc3\xa4"', '{"a":1,"n":"ä"}'.encode()),
            (b"2", None),
        ],
    )
    async def test_earlier_events_must_match(
        self, store: RunStore, value: bytes, taken: bytes | None
    ) -> None:
        """As others do: absent is null, and 1 is neither true nor text."""
        await started(store)
        payloads = (b'{"a":1,"n":1}', b'{"a":1,"n":"1"}', b'{"a":1,"n":true}', b'{"a":1}')
        events = [event(f"e{place}", "go", payload) for place, payload in enumerate(payloads)]
        events.append(event("umlaut", "go", '{"a":1,"n":"ä"}'.encode()))
        await store.events.emit([Emission(event=event) for event in events])
        match = (("payload.a", b"1"), ("payload.n", value))
        assert (await look_back(store, 0, match=match)).output == taken

    async def test_many_earlier_events_are_looked_through(self, store: RunStore) -> None:
        """The one that matches may be far behind others of its name."""
        await started(store)
        events = [
            event(f"e{number:03}", "go", b'{"n":%d,"of":[345]}' % number, T0 + number % 7)
            for number in range(350)
        ]
        await store.events.emit([Emission(event=event) for event in events])
        step = await look_back(store, 0, match=(("payload.n", b"345"),))
        assert step.output == b'{"n":345,"of":[345]}'

    async def test_an_event_that_met_a_wait_meets_no_other_that_looks_back(
        self, store: RunStore
    ) -> None:
        """Not one opened later, and not one that is open at the same time; other runs' may be."""
        await waiting(store, Wait(run_id="r1", step="plain", event="go"))
        await look_back(store, 0)
        await started(store, "r2")
        await store.events.emit([Emission(event=event("e9", "go", b"9", T0 + 9))])
        steps = (await store.journals.load("r1")).steps
        assert [steps[name].output for name in ("plain", "w0")] == [b"9", None]
        assert (await look_back(store, 1)).output is None
        assert (await look_back(store, 0, run_id="r2")).output == b"9"

    async def test_an_event_meets_the_first_of_several_that_look_back(
        self, store: RunStore
    ) -> None:
        """In order of asking; the next event meets the next."""
        await started(store)
        for place in (1, 0):
            await look_back(store, place)
        for number in range(2):
            await store.events.emit([Emission(event=event(f"e{number}", "go", b"%d" % number))])
        steps = (await store.journals.load("r1")).steps
        assert [steps[name].output for name in ("w0", "w1")] == [b"0", b"1"]

    async def test_each_event_meets_one_wait_while_both_come_at_once(self, store: RunStore) -> None:
        """However emits and waits interleave, no event is lost and none is taken twice."""
        count = 8
        await started(store)

        async def emits() -> None:
            for number in range(count):
                await store.events.emit([Emission(event=event(f"e{number}", "go", b"%d" % number))])

        async def waits() -> None:
            for place in range(count):
                await look_back(store, place)

        await asyncio.gather(emits(), waits())
        steps = (await store.journals.load("r1")).steps
        outputs = sorted(step.output or b"" for step in steps.values())
        assert outputs == [b"%d" % number for number in range(count)]


async def look_back(
    store: RunStore,
    place: int,
    *,
    run_id: str = "r1",
    name: str = "go",
    match: tuple[tuple[str, bytes], ...] = (),
) -> Step:
    """Open a wait that looks back, in a step of its own; gives the step as it then stands."""
    step = f"w{place}"
    wait = Wait(run_id=run_id, step=step, event=name, match=match, since_run=True)
    opened = new_step(step, StepKind.EVENT, position=f"{place:04}", asked_at=T0 + 8)
    while True:
        run = (await store.journals.load(run_id)).run
        change = Change(before=run, after=run, steps=(opened,), waits=(wait,))
        if await store.journals.apply(change):
            return (await store.journals.load(run_id)).steps[step]
