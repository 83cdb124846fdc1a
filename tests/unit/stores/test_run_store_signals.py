"""The store says after which commits the pump has something to do at once."""

from collections.abc import AsyncIterator

import pytest
from turnout_testing.conformance.run_store_values import T0, emission, new_run, started

from turnout.model.runs import Change
from turnout.model.transitions import cancel
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store


class Signalled:
    """A store, and how often it said that something became due."""

    def __init__(self) -> None:
        self.count = 0
        self.store: RunStore = open_run_store("sqlite://", made_due=self._count)

    def _count(self) -> None:
        self.count += 1

    def since(self) -> int:
        """Return how often since the last call."""
        count, self.count = self.count, 0
        return count


@pytest.fixture
async def signalled() -> AsyncIterator[Signalled]:
    """A store in memory."""
    signalled = Signalled()
    yield signalled
    await signalled.store.close()


async def test_an_emit_makes_deliveries_due(signalled: Signalled) -> None:
    """One whose runs start later does not."""
    await signalled.store.events.emit([emission(new_run("r1"))])
    assert signalled.since() == 1
    await signalled.store.events.emit([emission(new_run("r2", due_at=T0 + 9))])
    assert signalled.since() == 0


async def test_a_wake_that_is_owed_now_is_told(signalled: Signalled) -> None:
    """A claim, progress, or an alarm for later are nothing to the pump."""
    run = await started(signalled.store, "r1")
    signalled.since()
    assert await signalled.store.journals.apply(Change(before=run, after=run, wake_at=T0 + 99_999))
    assert signalled.since() == 0
    run = (await signalled.store.journals.load("r1")).run
    assert await signalled.store.journals.apply(Change(before=run, after=run, wake_at=T0))
    assert signalled.since() == 1


async def test_a_slot_that_is_given_up_is_told(signalled: Signalled) -> None:
    """The next in line is woken by the pump."""
    runs = [new_run(f"r{at}", limit_key="null") for at in range(2)]
    await signalled.store.events.emit([emission(run, slotted=True) for run in runs])
    assert await signalled.store.limits.take_slot("r0", None, 1, T0)
    assert not await signalled.store.limits.take_slot("r1", None, 1, T0)
    signalled.since()
    change = cancel((await signalled.store.journals.load("r0")).run, T0 + 1)
    assert change is not None
    assert await signalled.store.journals.apply(change)
    assert signalled.since() == 1


async def test_what_changes_nothing_is_not_told(signalled: Signalled) -> None:
    """A commit over a stale seq, and a read."""
    run = await started(signalled.store, "r1")
    assert await signalled.store.journals.apply(Change(before=run, after=run))
    signalled.since()
    assert not await signalled.store.journals.apply(Change(before=run, after=run, wake_at=T0))
    await signalled.store.journals.load("r1")
    assert signalled.since() == 0
