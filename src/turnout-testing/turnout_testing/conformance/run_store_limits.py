"""The promises of a run store about concurrency limits and their slots."""

import asyncio

import pytest

from turnout.errors import UnknownRun, WrongUse
from turnout.model.runs import (
    Change,
    SendResult,
)
from turnout.model.status import (
    AttemptState,
    ParkReason,
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


class SlotsContract:
    """Concurrency slots."""

    async def test_the_limit_holds_in_order_of_emit(self, store: RunStore) -> None:
        """A run gets a slot in its turn, and the next is woken when one is freed."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(4)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        assert not await store.limits.take_slot("r1", None, 2, T0)
        assert await store.limits.take_slot("r0", None, 2, T0)
        assert [wake.run_id for wake in await store.due.take_wakes(T0, limit=9, resend=99)] == [
            "r1"
        ]
        assert await store.limits.take_slot("r1", None, 2, T0)
        assert await store.limits.take_slot("r1", None, 2, T0)
        assert not await store.limits.take_slot("r2", None, 2, T0)
        assert not await store.limits.take_slot("r3", None, 2, T0)
        await ended(store, "r0")
        woken = {wake.run_id for wake in await store.due.take_wakes(T0 + 10, limit=9, resend=99)}
        assert woken == {"r2"}
        assert not await store.limits.take_slot("r3", None, 2, T0 + 10)
        assert await store.limits.take_slot("r2", None, 2, T0 + 10)

    async def test_a_run_is_admitted_in_its_turn(self, store: RunStore) -> None:
        """Else its delivery is due once it is woken, and then it passes."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(4)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        admitted = [await store.limits.admit(f"r{at}", 2, T0, lookahead=0) for at in range(4)]
        assert admitted == [True, True, False, False]
        deliveries = await store.due.take_deliveries(T0 + 9, limit=9, hold=99)
        assert {delivery.run_id for delivery in deliveries} == {"r0", "r1"}
        for name in ("r0", "r1"):
            await store.deliveries.claim(name, 1, "v", T0)
            assert await store.limits.take_slot(name, None, 2, T0)
        await ended(store, "r1")
        assert await store.due.take_wakes(T0 + 10, limit=9, resend=99) == []
        (delivery,) = await store.due.take_deliveries(T0 + 10, limit=9, hold=99)
        assert delivery.run_id == "r2"
        assert await store.limits.admit("r2", 2, T0 + 10, lookahead=0)
        assert await store.limits.take_slot("r2", None, 2, T0 + 10)
        assert not await store.limits.admit("r3", 2, T0 + 10, lookahead=0)

    async def test_the_next_of_a_line_are_delivered_ahead(self, store: RunStore) -> None:
        """So many behind those that hold a slot, and one more whenever a slot is taken."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(5)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        admitted = [await store.limits.admit(f"r{at}", 1, T0, lookahead=2) for at in range(5)]
        assert admitted == [True, True, True, False, False]
        await store.due.take_deliveries(T0, limit=9, hold=10**9)
        assert await store.limits.take_slot("r0", None, 1, T0, lookahead=2)
        assert not await store.limits.take_slot("r1", None, 1, T0, lookahead=2)
        await ended(store, "r0")
        assert await store.limits.take_slot("r1", None, 1, T0 + 10, lookahead=2)
        due = await store.due.take_deliveries(T0 + 10, limit=9, hold=10**9)
        passing = [
            d.run_id for d in due if await store.limits.admit(d.run_id, 1, T0 + 10, lookahead=2)
        ]
        assert passing == ["r3"]

    async def test_a_run_that_cannot_be_delivered_lets_others_go_past(
        self, store: RunStore
    ) -> None:
        """It is the first again when it asks."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(3)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        assert await store.limits.admit("r0", 1, T0, lookahead=0)
        assert not await store.limits.admit("r1", 1, T0, lookahead=0)
        await store.due.take_deliveries(T0, limit=9, hold=10**9)
        await store.limits.give_back("r0", 1, T0 + 10, T0 + 50)
        await store.due.take_wakes(T0 + 10, limit=9, resend=99)
        due = await store.due.take_deliveries(T0 + 10, limit=9, hold=10**9)
        assert "r1" in {delivery.run_id for delivery in due}
        assert await store.limits.take_slot("r1", None, 1, T0 + 10)
        assert not await store.limits.take_slot("r0", None, 1, T0 + 20)
        await ended(store, "r1")
        assert not await store.limits.take_slot("r2", None, 1, T0 + 30)
        assert await store.limits.take_slot("r0", None, 1, T0 + 30)

    async def test_a_run_that_could_not_be_delivered_is_delivered_in_its_turn(
        self, store: RunStore
    ) -> None:
        """Its delivery has no back-off any more once it awaits its wake."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(2)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        await store.due.take_deliveries(T0, limit=9, hold=10**9)
        down = SendResult(run_id="r0", number=1, due_at=T0 + 50, sent_at=T0, error="down")
        await store.deliveries.record([down])
        await store.limits.give_back("r0", 1, T0 + 10, T0 + 50)
        assert await store.limits.take_slot("r1", None, 1, T0 + 10)
        await store.due.take_deliveries(T0 + 50, limit=9, hold=10**9)
        assert not await store.limits.admit("r0", 1, T0 + 50, lookahead=0)
        await ended(store, "r1")
        assert await store.due.take_wakes(T0 + 60, limit=9, resend=99) == []
        due = await store.due.take_deliveries(T0 + 60, limit=9, hold=10**9)
        assert [delivery.run_id for delivery in due] == ["r0"]

    async def test_a_run_without_a_place_in_a_line_is_admitted(self, store: RunStore) -> None:
        """Its task limits its steps, or nothing."""
        await store.events.emit([emission(new_run("r1")), emission(new_run("r2", limit_key="1"))])
        assert await store.limits.admit("r1", 1, T0, lookahead=0)
        assert await store.limits.admit("r2", 1, T0, lookahead=0)
        await store.limits.give_back("r1", 1, T0, T0 + 9)

    async def test_as_many_of_the_head_are_woken_as_slots_are_free(self, store: RunStore) -> None:
        """Each is handed a slot in order of emit, and takes it whenever it asks."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(5)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        for name in ("r1", "r2", "r3"):
            assert not await store.limits.take_slot(name, None, 3, T0)
        assert await store.limits.take_slot("r0", None, 3, T0)
        woken = [wake.run_id for wake in await store.due.take_wakes(T0, limit=9, resend=99)]
        assert sorted(woken) == ["r1", "r2"]
        assert not await store.limits.take_slot("r3", None, 3, T0)
        assert await store.limits.take_slot("r2", None, 3, T0)
        assert not await store.limits.take_slot("r3", None, 3, T0)
        assert await store.limits.take_slot("r1", None, 3, T0)

    async def test_a_lower_limit_is_reached_as_runs_end(self, store: RunStore) -> None:
        """A run that was handed a slot gives it back where there are fewer now."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(4)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        granted = [await store.limits.take_slot(f"r{at}", None, 2, T0) for at in range(4)]
        assert granted == [True, True, False, False]
        await ended(store, "r0")
        assert not await store.limits.take_slot("r2", None, 1, T0 + 10)
        await ended(store, "r1")
        assert await store.limits.take_slot("r2", None, 1, T0 + 10)
        assert not await store.limits.take_slot("r3", None, 1, T0 + 10)

    async def test_a_higher_limit_wakes_more_of_the_line(self, store: RunStore) -> None:
        """The first run that asks under it wakes those for whom there is room now."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(5)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        granted = [await store.limits.take_slot(f"r{at}", None, 1, T0) for at in range(5)]
        assert granted == [True, False, False, False, False]
        await ended(store, "r0")
        assert await store.limits.take_slot("r1", None, 3, T0 + 10)
        woken = {wake.run_id for wake in await store.due.take_wakes(T0 + 10, limit=9, resend=99)}
        assert woken == {"r1", "r2", "r3"}

    async def test_a_wake_for_a_slot_moves_the_seq(self, store: RunStore) -> None:
        """A run that is about to park on what it saw before must look again."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(2)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        assert await store.limits.take_slot("r0", None, 1, T0)
        run = (await store.journals.load("r1")).run
        assert not await store.limits.take_slot("r1", None, 1, T0)
        await ended(store, "r0")
        parked = run._replace(parked=True, parked_for=(ParkReason.SLOT,))
        assert not await store.journals.apply(Change(before=run, after=parked))
        assert await store.limits.take_slot("r1", None, 1, T0 + 10)

    async def test_a_wake_for_a_slot_ends_the_parking(self, store: RunStore) -> None:
        """Whoever is woken may die before it commits; then its silence must not look right."""
        runs = [new_run(f"r{at}", limit_key='"k"') for at in range(2)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        assert await store.limits.take_slot("r0", None, 1, T0)
        assert not await store.limits.take_slot("r1", None, 1, T0)
        run = (await store.journals.load("r1")).run
        parked = run._replace(parked=True, parked_until=T0 + 99, parked_for=(ParkReason.SLOT,))
        assert await store.journals.apply(Change(before=run, after=parked))
        await ended(store, "r0")
        woken = (await store.journals.load("r1")).run
        assert (woken.parked, woken.parked_until, woken.parked_for) == (False, None, ())

    async def test_keys_and_tasks_do_not_share_slots(self, store: RunStore) -> None:
        """A limit is per task and value of the key."""
        for at, (task, key) in enumerate([("a", '"x"'), ("a", '"y"'), ("b", '"x"'), ("a", '"x"')]):
            run = new_run(f"r{at}", task, limit_key=key)
            await store.events.emit([emission(run, slotted=True)])
        granted = [await store.limits.take_slot(f"r{at}", None, 1, T0) for at in range(4)]
        assert granted == [True, True, True, False]

    async def test_a_run_that_is_not_due_holds_nobody_up(self, store: RunStore) -> None:
        """A delayed run stands in line from its start on."""
        late = new_run("r0", limit_key="null", due_at=T0 + 100)
        await store.events.emit([emission(late, slotted=True)])
        await store.events.emit([emission(new_run("r1", limit_key="null"), slotted=True)])
        await store.events.emit([emission(new_run("r2", limit_key="null"), slotted=True)])
        assert await store.limits.take_slot("r1", None, 1, T0)
        await ended(store, "r1")
        assert not await store.limits.take_slot("r2", None, 1, T0 + 100)
        assert await store.limits.take_slot("r0", None, 1, T0 + 100)

    async def test_one_that_gives_up_lets_the_next_pass(self, store: RunStore) -> None:
        """A run that is cancelled in line wakes the one behind it."""
        runs = [new_run(f"r{at}", limit_key="null") for at in range(2)]
        await store.events.emit([emission(run, slotted=True) for run in runs])
        assert not await store.limits.take_slot("r1", None, 1, T0)
        change = cancel((await store.journals.load("r0")).run, T0 + 1)
        assert change is not None
        assert await store.journals.apply(change)
        assert [wake.run_id for wake in await store.due.take_wakes(T0 + 1, limit=9, resend=9)] == [
            "r1"
        ]
        assert await store.limits.take_slot("r1", None, 1, T0 + 1)
        assert not await store.limits.take_slot("r0", None, 1, T0 + 1)

    async def test_a_steps_slot_is_freed_with_its_attempt(self, store: RunStore) -> None:
        """It is held from the claim to the attempt's end; retries stand in line again."""
        first = await started(store, "r1", limit_key="null")
        second = await started(store, "r2", limit_key="null")
        assert await store.limits.take_slot("r1", "s", 1, T0)
        claim = Change(before=first, after=first, steps=(new_step(),), attempts=(new_attempt(),))
        assert await store.journals.apply(claim)
        assert not await store.limits.take_slot("r2", "s", 1, T0)
        assert not await store.limits.take_slot("r1", "other", 1, T0)
        run = (await store.journals.load("r1")).run
        failed = new_attempt(state=AttemptState.FAILED, ended_at=T0 + 5, retry_at=T0 + 50)
        assert await store.journals.apply(Change(before=run, after=run, attempts=(failed,)))
        (wake,) = await store.due.take_wakes(T0 + 5, limit=9, resend=99)
        assert wake.run_id == "r1"
        assert not await store.limits.take_slot("r2", "s", 1, T0 + 5)
        await ended(store, "r1")
        woken = [wake.run_id for wake in await store.due.take_wakes(T0 + 9, limit=9, resend=99)]
        assert woken == ["r2"]
        assert await store.limits.take_slot("r2", "s", 1, T0 + 9)
        assert (await store.journals.load("r2")).run.seq == second.seq + 1

    async def test_slots_asked_for_at_once_stay_within_the_limit(self, store: RunStore) -> None:
        """However many ask together, no more than the limit are held."""
        names = [f"r{at}" for at in range(12)]
        for name in names:
            await started(store, name, limit_key="null")
        asks = [store.limits.take_slot(name, "s", 3, T0) for name in names]
        assert sum(await asyncio.gather(*asks)) <= 3
        granted = [await store.limits.take_slot(name, "s", 3, T0) for name in names]
        assert sum(granted) == 3

    async def test_a_run_without_a_limit_has_no_line(self, store: RunStore) -> None:
        """A slot of no limit is refused by name, and so is standing in line for one."""
        await store.events.emit([emission(new_run())])
        with pytest.raises(WrongUse, match="limit_key"):
            await store.limits.take_slot("r1", None, 1, T0)
        with pytest.raises(WrongUse, match="limit_key"):
            await store.events.emit([emission(new_run("r2"), slotted=True)])
        with pytest.raises(UnknownRun):
            await store.limits.take_slot("nope", None, 1, T0)
