"""The promises of a run store about what is due, schedules, routes and replicas."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from turnout.errors import Superseded, UnknownRun
from turnout.model.policies import Timeouts
from turnout.model.providers import LinkState, LinkStatus
from turnout.model.replicas import Replica
from turnout.model.routing import Flag, Route, Stage
from turnout.model.runs import (
    Change,
    Chunk,
    Run,
    RunFilter,
    SendResult,
)
from turnout.model.schedules import Schedule
from turnout.model.status import (
    AttemptState,
    DeliveryReason,
    DeliveryState,
)
from turnout.model.transitions import begin
from turnout.ports.run_store import RunStore
from turnout_testing.conformance.run_store_values import (
    T0,
    emission,
    ended,
    new_attempt,
    new_run,
    started,
)


async def _called(store: RunStore, run_id: str = "r1") -> Run:
    """Begin a run by its vendor run."""
    await started(store, run_id)
    return (await store.deliveries.claim(run_id, 1, "v", T0)).run


async def _parked(store: RunStore, run_id: str = "r1", **values: Any) -> Run:
    """Park a run that its vendor run has begun."""
    run = await _called(store, run_id)
    after = run._replace(parked=True, **values)
    await store.journals.apply(Change(before=run, after=after))
    return (await store.journals.load(run_id)).run


class PumpContract:
    """What is due."""

    async def test_a_wake_is_sent_again_until_the_run_calls(self, store: RunStore) -> None:
        """Each sending is counted; a call withdraws the wake."""
        run = await _called(store)
        await store.journals.apply(Change(before=run, after=run, wake_at=T0 + 10))
        assert await store.due.take_wakes(T0 + 9, limit=9, resend=5) == []
        (wake,) = await store.due.take_wakes(T0 + 10, limit=9, resend=5)
        assert (wake.run_id, wake.seq, wake.sent) == ("r1", run.seq + 1, 0)
        assert wake.delivery is not None
        assert wake.delivery.number == 1
        assert await store.due.take_wakes(T0 + 14, limit=9, resend=5) == []
        (wake,) = await store.due.take_wakes(T0 + 15, limit=9, resend=5)
        assert wake.sent == 1
        await store.deliveries.claim("r1", 1, "v", T0 + 16)
        assert await store.due.take_wakes(T0 + 10**6, limit=9, resend=5) == []

    async def test_a_delivery_whose_run_is_woken_is_checked_soon(self, store: RunStore) -> None:
        """Whoever takes the wake or answers it may die: with the call, the wake is withdrawn."""
        run = await _called(store)
        await store.deliveries.postpone("r1", 1, T0 + 10**6)
        await store.journals.apply(Change(before=run, after=run, wake_at=T0))
        await store.due.take_wakes(T0, limit=9, resend=5, look=20)
        await store.deliveries.claim("r1", 1, "v", T0 + 1)
        assert await store.due.take_deliveries(T0 + 19, limit=9, hold=5) == []
        (delivery,) = await store.due.take_deliveries(T0 + 20, limit=9, hold=5)
        assert delivery.state is DeliveryState.CLAIMED

    async def test_a_wake_hurries_no_delivery_that_is_yet_to_be_sent(self, store: RunStore) -> None:
        """Nor one that is checked sooner anyway."""
        await started(store)
        (pending,) = await store.deliveries.read("r1")
        run = await _called(store, "r2")
        await store.deliveries.postpone("r1", 1, T0 + 500)
        await store.deliveries.postpone("r2", 1, T0 + 15)
        for before in ((await store.journals.load(pending.run_id)).run, run):
            await store.journals.apply(Change(before=before, after=before, wake_at=T0))
        assert len(await store.due.take_wakes(T0, limit=9, resend=5, look=20)) == 2
        (checked,) = await store.due.take_deliveries(T0 + 499, limit=9, hold=999)
        assert (checked.run_id, checked.due_at) == ("r2", T0 + 15)

    async def test_a_wake_is_put_off(self, store: RunStore) -> None:
        """To a time, and counted as it says; not once the run has called or moved."""
        run = await started(store)
        await store.journals.apply(Change(before=run, after=run, wake_at=T0))
        (wake,) = await store.due.take_wakes(T0, limit=9, resend=5)
        await store.due.postpone_wakes([replace(wake, due_at=T0 + 50)])
        assert await store.due.take_wakes(T0 + 49, limit=9, resend=5) == []
        (again,) = await store.due.take_wakes(T0 + 50, limit=9, resend=5)
        assert again.sent == 0
        await store.due.postpone_wakes([replace(again, due_at=T0 + 60, sent=7)])
        (counted,) = await store.due.take_wakes(T0 + 60, limit=9, resend=5)
        assert counted.sent == 7
        run = (await store.journals.load("r1")).run
        await store.journals.apply(Change(before=run, after=run, wake_at=T0 + 70))
        await store.due.postpone_wakes([replace(counted, due_at=T0 + 61)])
        assert await store.due.take_wakes(T0 + 69, limit=9, resend=5) == []
        await store.deliveries.claim("r1", 1, "v", T0 + 71)
        await store.due.postpone_wakes([replace(counted, seq=run.seq + 1, due_at=T0 + 72)])
        assert await store.due.take_wakes(T0 + 99, limit=9, resend=5) == []

    async def test_a_timer_outlives_a_call(self, store: RunStore) -> None:
        """A run that calls in before its alarm keeps it."""
        run = await _called(store)
        await store.journals.apply(Change(before=run, after=run, wake_at=T0 + 100))
        await store.deliveries.claim("r1", 1, "v", T0 + 50)
        assert len(await store.due.take_wakes(T0 + 100, limit=9, resend=5)) == 1

    async def test_a_commit_replaces_the_alarm(self, store: RunStore) -> None:
        """Sooner, later, or none."""
        run = await _called(store)
        for wake_at in (T0 + 100, T0 + 10, T0 + 50):
            await store.journals.apply(Change(before=run, after=run, wake_at=wake_at))
            run = (await store.journals.load("r1")).run
        assert await store.due.take_wakes(T0 + 49, limit=9, resend=5) == []
        await store.journals.apply(Change(before=run, after=run))
        assert await store.due.take_wakes(T0 + 10**6, limit=9, resend=5) == []

    async def test_a_wake_is_taken_by_one(self, store: RunStore) -> None:
        """Several pumps share what is due."""
        for at in range(8):
            run = await _called(store, f"r{at}")
            await store.journals.apply(Change(before=run, after=run, wake_at=T0))
        takes = [store.due.take_wakes(T0, limit=3, resend=99) for _ in range(4)]
        run_ids = [wake.run_id for batch in await asyncio.gather(*takes) for wake in batch]
        assert sorted(run_ids) == [f"r{at}" for at in range(8)]

    async def test_a_wake_carries_the_token(self, store: RunStore) -> None:
        """Whoever sends it finds what the parked vendor run waits on."""
        run = await _called(store)
        await store.deliveries.park("r1", 1, run.seq, "token")
        await store.journals.apply(Change(before=run, after=run, wake_at=T0))
        (wake,) = await store.due.take_wakes(T0, limit=9, resend=5)
        assert wake.delivery is not None
        assert wake.delivery.token == "token"

    async def test_a_parked_run_is_released_when_its_time_has_come(self, store: RunStore) -> None:
        """Its vendor run is superseded, and the next delivery is due when the wait is over."""
        run = await _parked(store, release_at=T0 + 10, parked_until=T0 + 90)
        assert await store.due.release(T0 + 9, limit=9, patience=30) == []
        (released,) = await store.due.release(T0 + 10, limit=9, patience=30)
        assert (released.number, released.provider_run_id) == (1, "v")
        assert await store.due.release(T0 + 99, limit=9, patience=30) == []
        with pytest.raises(Superseded):
            await store.deliveries.claim("r1", 1, "v", T0 + 11)
        first, second = await store.deliveries.read("r1")
        assert (first.state, first.stopping) == (DeliveryState.SUPERSEDED, True)
        assert (second.state, second.reason, second.due_at) == (
            DeliveryState.PENDING,
            DeliveryReason.RELEASED,
            T0 + 90,
        )
        after = (await store.journals.load("r1")).run
        assert (after.seq, after.fence, after.parked) == (run.seq + 1, run.fence, True)
        journal = await store.deliveries.claim("r1", 2, "v2", T0 + 91)
        assert journal.run.delivery == 2

    async def test_a_released_vendor_run_ends_by_itself_or_is_stopped(
        self, store: RunStore
    ) -> None:
        """It is not looked at; its own word is enough, and a missing word is not."""
        for name in ("r1", "r2"):
            await _parked(store, name, release_at=T0)
        await store.due.release(T0, limit=9, patience=30)
        await store.deliveries.report_end("r1", 1, T0 + 1)
        assert await store.due.take_deliveries(T0 + 29, limit=9, hold=5) == []
        (late,) = await store.due.take_deliveries(T0 + 30, limit=9, hold=5)
        assert (late.run_id, late.number, late.stopping) == ("r2", 1, True)

    async def test_a_vendor_run_hands_its_run_over(self, store: RunStore) -> None:
        """The one that holds the live delivery, once; the next delivery is due at once."""
        run = await _called(store)
        for number, vendor_run in ((1, "other"), (2, "v")):
            assert not await store.due.hand_over("r1", number, vendor_run, T0, patience=30)
        assert await store.due.hand_over("r1", 1, "v", T0 + 5, patience=30)
        assert not await store.due.hand_over("r1", 1, "v", T0 + 6, patience=30)
        (delivery,) = await store.due.take_deliveries(T0 + 5, limit=9, hold=5)
        assert (delivery.number, delivery.reason) == (2, DeliveryReason.RELEASED)
        after = (await store.journals.load("r1")).run
        assert (after.fence, after.parked) == (run.fence, False), "attempts in progress go on"

    async def test_only_known_tasks_are_taken_to_be_sent(self, store: RunStore) -> None:
        """Others are left for a replica that knows them; they are checked and stopped by any."""
        for name, task in (("r1", "send"), ("r2", "send_all"), ("r3", "end")):
            await store.events.emit([emission(new_run(name, task))])
        for known, runs in (
            (["send"], ["r1"]),
            (["send-all", "sen", "nd"], []),
            (["end", "send_all"], ["r2", "r3"]),
            ([], []),
            (None, ["r1", "r2", "r3"]),
        ):
            now = T0 + 1_000 if known is None else T0
            deliveries = await store.due.take_deliveries(now, limit=9, hold=5, tasks=known)
            assert sorted(delivery.run_id for delivery in deliveries) == runs
        await store.deliveries.mark_stopped("r1", 1)
        await started(store, "r4", task="gone")
        await store.deliveries.claim("r4", 1, "v", T0)
        deliveries = await store.due.take_deliveries(T0 + 10**7, limit=9, hold=5, tasks=["other"])
        assert [delivery.run_id for delivery in deliveries] == ["r4"]

    async def test_a_reported_end_of_a_live_vendor_run_is_only_a_hint(
        self, store: RunStore
    ) -> None:
        """It is looked at then, and stays the live delivery."""
        await _called(store)
        await store.deliveries.report_end("r1", 1, T0 + 7)
        (delivery,) = await store.due.take_deliveries(T0 + 7, limit=9, hold=5)
        assert (delivery.state, delivery.stopping) == (DeliveryState.CLAIMED, False)

    async def test_a_wake_makes_the_delivery_of_a_released_run_due(self, store: RunStore) -> None:
        """There is no vendor run to be woken; the delivery is sent once a wake is owed."""
        await _parked(store, release_at=T0)
        await store.due.release(T0, limit=9, patience=10**9)
        assert await store.due.take_deliveries(T0 + 10**6, limit=9, hold=5) == []
        run = (await store.journals.load("r1")).run
        woken = run._replace(parked=False, parked_until=None, parked_for=())
        await store.journals.apply(Change(before=run, after=woken, wake_at=T0 + 50))
        for now in (T0 + 49, T0 + 60):
            assert await store.due.take_deliveries(T0 + 60, limit=9, hold=5) == []
            assert await store.due.take_wakes(now, limit=9, resend=5) == []
        (delivery,) = await store.due.take_deliveries(T0 + 60, limit=9, hold=5)
        assert (delivery.number, delivery.state) == (2, DeliveryState.PENDING)

    async def test_a_wake_does_not_hurry_a_delivery_that_was_not_accepted(
        self, store: RunStore
    ) -> None:
        """Its provider is away, and every wake would ask it again."""
        await _parked(store, release_at=T0)
        await store.due.release(T0, limit=9, patience=10**9)
        down = SendResult(run_id="r1", number=2, due_at=T0 + 70, sent_at=T0, error="away")
        await store.deliveries.record([down])
        run = (await store.journals.load("r1")).run
        await store.journals.apply(Change(before=run, after=run, wake_at=T0))
        assert await store.due.take_wakes(T0 + 5, limit=9, resend=5) == []
        assert await store.due.take_deliveries(T0 + 69, limit=9, hold=5) == []

    async def test_only_a_vendor_run_that_has_called_is_released(self, store: RunStore) -> None:
        """Of a delivery that nobody has claimed yet, nobody could be told that it is superseded."""
        await _parked(store, release_at=T0)
        await store.deliveries.redeliver("r1", 1, "local", T0)
        assert await store.due.release(T0, limit=9, patience=30) == []
        await store.deliveries.claim("r1", 2, "v2", T0)
        assert await store.due.release(T0 + 29, limit=9, patience=30) == []
        assert len(await store.due.release(T0 + 30, limit=9, patience=30)) == 1

    async def test_a_run_that_goes_on_or_ends_is_not_released(self, store: RunStore) -> None:
        """The time stands in the row, and counts only while the run is parked."""
        for name in ("r1", "r2"):
            run = await _parked(store, name, release_at=T0)
        woken = run._replace(parked=False, parked_until=None, parked_for=())
        await store.journals.apply(Change(before=run, after=woken))
        await ended(store, "r1")
        assert await store.due.release(T0 + 99, limit=9, patience=30) == []

    async def test_chunks_that_were_passed_on_are_not_given_again(self, store: RunStore) -> None:
        """The next vendor run counts from 0, and goes on behind what the last one passed on."""
        run = await _parked(store, release_at=T0 + 5)
        chunks = tuple(
            Chunk(number=number, name="out", value=b"%d" % number, at=T0) for number in range(3)
        )
        after = run._replace(chunks=3)
        await store.journals.apply(Change(before=run, after=after, chunks=chunks))
        await store.due.release(T0 + 5, limit=9, patience=30)
        run = (await store.journals.load("r1")).run
        assert (run.chunks, run.passed) == (3, 3)
        more = Chunk(number=3, name="out", value=b"3", at=T0)
        await store.journals.apply(Change(before=run, after=run._replace(chunks=4), chunks=(more,)))
        read, page = await store.journals.streamed("r1", after=0, limit=9, beyond_passed=True)
        assert [chunk.value for chunk in page] == [b"3"]
        assert read.chunks - read.passed == 1
        _, page = await store.journals.streamed("r1", after=0, limit=9)
        assert len(page) == 4

    async def test_a_run_is_released_by_one(self, store: RunStore) -> None:
        """Several pumps share what is due."""
        for at in range(8):
            await _parked(store, f"r{at}", release_at=T0)
        releases = [store.due.release(T0, limit=3, patience=9) for _ in range(4)]
        run_ids = [one.run_id for batch in await asyncio.gather(*releases) for one in batch]
        assert sorted(run_ids) == [f"r{at}" for at in range(8)]

    async def test_deadlines_of_live_runs_are_found(self, store: RunStore) -> None:
        """An ended run has none."""
        await store.events.emit([emission(new_run("r1", deadline_at=T0 + 5))])
        await store.events.emit([emission(new_run("r2", deadline_at=T0 + 9))])
        await store.events.emit([emission(new_run("r3", deadline_at=T0 + 1))])
        await ended(store, "r3")
        run_ids = await store.due.deadlines(T0 + 5, limit=9)
        assert [run.run_id for run in run_ids] == ["r1"]

    async def test_leases_that_ran_out_are_found(self, store: RunStore) -> None:
        """Of claimed attempts of live runs only, each run once."""
        for name in ("r1", "r2", "r3"):
            run = await started(store, name)
            attempts = (new_attempt("a", lease_until=T0 + 5), new_attempt("b", lease_until=T0 + 6))
            await store.journals.apply(Change(before=run, after=run, attempts=attempts))
        run = (await store.journals.load("r2")).run
        ended_attempts = tuple(
            new_attempt(step, state=AttemptState.COMPLETED, ended_at=T0) for step in "ab"
        )
        await store.journals.apply(Change(before=run, after=run, attempts=ended_attempts))
        await ended(store, "r3")
        assert await store.leases.expired(T0 + 4, limit=9) == []
        assert await store.leases.expired(T0 + 6, limit=9) == ["r1"]

    async def test_a_lease_is_renewed_while_it_is_ours(self, store: RunStore) -> None:
        """Not after the attempt was settled, the run has ended or the fence was raised."""
        for name in ("r1", "r2", "r3", "r4"):
            run = await started(store, name)
            await store.journals.apply(Change(before=run, after=run, attempts=(new_attempt(),)))
        run = (await store.journals.load("r2")).run
        attempt = new_attempt(state=AttemptState.LOST, ended_at=T0)
        await store.journals.apply(Change(before=run, after=run, attempts=(attempt,)))
        await ended(store, "r3")
        await store.deliveries.redeliver("r4", 1, "other", T0)
        claims = [(name, "s", 1) for name in ("r1", "r2", "r3", "r4", "nope")]
        assert await store.leases.renew(claims, T0 + 99) == claims[1:]
        journal = await store.journals.load("r1")
        assert journal.attempts["s"][0].lease_until == T0 + 99

    async def test_artifacts_that_are_behind_are_found(self, store: RunStore) -> None:
        """A run is held for a while, and again when it has moved."""
        await store.events.emit([emission(new_run())])
        assert await store.projections.take(limit=9, now=T0, hold=10) == ["r1"]
        assert await store.projections.take(limit=9, now=T0 + 9, hold=10) == []
        assert await store.projections.take(limit=9, now=T0 + 10, hold=10) == ["r1"]
        await store.projections.record("r1", 0)
        assert await store.projections.take(limit=9, now=T0 + 99, hold=10) == []
        change = begin(await store.journals.load("r1"), Timeouts(), T0)
        assert change is not None
        await store.journals.apply(change)
        assert await store.projections.take(limit=9, now=T0 + 99, hold=10) == ["r1"]
        await store.projections.record("r1", 0)
        assert await store.projections.take(limit=9, now=T0 + 99, hold=10) == ["r1"]

    async def test_the_next_due_time_is_told(self, store: RunStore) -> None:
        """The earliest of delivery, wake and deadline; None when nothing is."""
        assert await store.due.next_due() is None
        await store.events.emit([emission(new_run(due_at=T0 + 50, deadline_at=T0 + 90))])
        assert await store.due.next_due() == T0 + 50
        await store.deliveries.postpone("r1", 1, T0 + 100)
        assert await store.due.next_due() == T0 + 90
        run = (await store.journals.load("r1")).run
        await store.journals.apply(Change(before=run, after=run, wake_at=T0 + 60))
        assert await store.due.next_due() == T0 + 60
        await ended(store, "r1")
        assert await store.due.next_due() is None


class SchedulesContract:
    """Schedules and slots; routes and replicas."""

    async def test_a_slot_starts_one_run_for_ever(self, store: RunStore) -> None:
        """The second tick is told the first one's run, even if the schedule was put again."""
        nightly = Schedule(id="nightly", task="t", cron="0 3 * * *", payload={"n": 1})
        await store.schedules.put(nightly, "a", T0)
        first = await store.schedules.tick("nightly", T0 + 5, "a", emission(new_run("r1")), T0 + 6)
        assert (first.run_id, first.reason) == ("r1", "started")
        await store.schedules.remove("nightly")
        await store.schedules.put(nightly, "a", T0 + 7)
        second = await store.schedules.tick("nightly", T0 + 5, "a", emission(new_run("r2")), T0 + 8)
        assert (second.run_id, second.reason) == ("r1", "claimed")
        with pytest.raises(UnknownRun):
            await store.journals.load("r2")

    async def test_of_many_ticks_of_a_slot_one_starts(self, store: RunStore) -> None:
        """The claim and its run are one commit."""
        await store.schedules.put(Schedule(id="s", task="t", cron="* * * * *"), "a", T0)
        ticks = [
            store.schedules.tick("s", T0, "a", emission(new_run(f"r{at}")), T0) for at in range(10)
        ]
        results = await asyncio.gather(*ticks)
        assert sorted(result.reason for result in results) == ["claimed"] * 9 + ["started"]
        assert len({result.run_id for result in results}) == 1
        assert len(await store.runs.find(RunFilter())) == 1

    async def test_a_tick_that_starts_nothing_says_why(self, store: RunStore) -> None:
        """Of a paused schedule, of one that is gone."""
        schedule = Schedule(id="s", task="t", cron="* * * * *")
        await store.schedules.put(replace(schedule, paused=True), "a", T0)
        assert (
            await store.schedules.tick("s", T0, "a", emission(new_run()), T0)
        ).reason == "paused"
        assert await store.schedules.remove("s")
        assert not await store.schedules.remove("s")
        assert (
            await store.schedules.tick("s", T0, "a", emission(new_run()), T0)
        ).reason == "removed"
        assert await store.runs.find(RunFilter()) == []

    async def test_a_tick_of_any_provider_claims_its_slot(self, store: RunStore) -> None:
        """The owner is who is armed; who ticks first starts the slot, and is recorded with it."""
        await store.schedules.put(Schedule(id="s", task="t", cron="* * * * *"), "a", T0)
        slot = await store.schedules.tick("s", T0, "b", emission(new_run("r1")), T0)
        assert (slot.run_id, slot.reason) == ("r1", "started")
        late = await store.schedules.tick("s", T0, "a", emission(new_run("r2")), T0)
        assert (late.run_id, late.reason) == ("r1", "claimed")
        assert await store.schedules.claimed("s", T0 - 1) == {T0}
        assert await store.schedules.claimed("s", T0) == set()

    async def test_schedules_read_back_with_their_owner(self, store: RunStore) -> None:
        """A schedule keeps its time as long as it stays as it was, whoever owns it."""
        schedule = Schedule(
            id="s", task="t", cron="@daily", zone="Europe/Kyiv", payload=[1, "ä"], catch_up="once"
        )
        await store.schedules.put(schedule, "a", T0)
        await store.schedules.tick("s", T0 + 9, "a", emission(new_run()), T0 + 9)
        await store.schedules.put(schedule, "a", T0 + 10)
        (owned,) = await store.schedules.read()
        assert owned.schedule == schedule
        assert (owned.provider, owned.since, owned.last_slot) == ("a", T0, T0 + 9)
        await store.schedules.put(schedule, "b", T0 + 20)
        (owned,) = await store.schedules.read()
        assert (owned.provider, owned.since, owned.last_slot) == ("b", T0, T0 + 9)
        await store.schedules.change_owner("s", "c")
        await store.schedules.change_owner("gone", "c")
        (owned,) = await store.schedules.read()
        assert (owned.schedule, owned.provider, owned.since) == (schedule, "c", T0)
        await store.schedules.put(replace(schedule, paused=True), "c", T0 + 30)
        (owned,) = await store.schedules.read()
        assert owned.since == T0 + 30

    async def test_the_flag_has_a_generation(self, store: RunStore) -> None:
        """Another value raises it, also one that was there before; the same value joins it."""
        assert await store.flags.read() is None
        values = ("a", "a", "b", "a")
        joined = [await store.flags.join(value, T0) for value in values]
        assert [flag.generation for flag in joined] == [1, 1, 2, 3]
        assert await store.flags.read() == joined[-1] == Flag(generation=3, value="a")

    async def test_routes_are_set_and_replaced(self, store: RunStore) -> None:
        """A task has one route."""
        assert await store.routes.read() == {}
        await store.routes.put("t", Route(stage=Stage.OLD, old="a", new="b"), T0)
        ramp = Route(stage=Stage.RAMP, old="a", new="b", percentage=10, generation=3, stay=True)
        await store.routes.put("t", ramp, T0 + 1)
        assert await store.routes.read() == {"t": ramp}

    async def test_replicas_that_live_are_listed(self, store: RunStore) -> None:
        """The last beat counts."""
        old = Replica(replica_id="x", provider="a", definition="d", version="1", seen_at=T0)
        link = LinkStatus(state=LinkState.CONNECTED, connections=2, problem="gone away")
        new = replace(old, replica_id="y", seen_at=T0 + 5, links={"a": link}, tasks={"t": "digest"})
        new = replace(new, routes=7, routes_read_at=T0 + 4)
        for replica in (old, new, replace(new, provider="b", seen_at=T0 + 6)):
            await store.replicas.beat(replica)
        assert await store.replicas.read(since=T0 + 1) == [
            replace(new, provider="b", seen_at=T0 + 6)
        ]
        assert len(await store.replicas.read(since=T0)) == 2

    async def test_a_replica_says_how_wrong_its_clock_is(self, store: RunStore) -> None:
        """Its offset is told with its sign; one that is not known is None."""
        common = Replica(replica_id="x", provider="a", definition="d", version="1", seen_at=T0)
        for offset in (-90_000, None):
            await store.replicas.beat(replace(common, clock_ahead=offset))
            assert [replica.clock_ahead for replica in await store.replicas.read(since=T0)] == [
                offset
            ]

    async def test_the_database_tells_its_time(self, store: RunStore) -> None:
        """It runs on, where the database has a clock of its own."""
        first, second = await store.replicas.database_time(), await store.replicas.database_time()
        assert (first is None) == (second is None)
        if first is not None and second is not None:
            assert T0 < first <= second
