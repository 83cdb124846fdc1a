"""The promises of a run store about deliveries."""

import asyncio
from dataclasses import replace

import pytest

from turnout.errors import RunEnded, Superseded, UnknownRun
from turnout.model.runs import (
    Calling,
    Change,
    Journal,
    Run,
    SendResult,
)
from turnout.model.status import (
    DeliveryState,
)
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


def _change_by(run: Run, by: str, *, number: int = 1, at: int = T0) -> Change:
    """Commit nothing but that a vendor run calls."""
    calling = Calling(number=number, provider_run_id=by, at=at)
    return Change(before=run, after=run, calling=calling)


class DeliveriesContract:
    """Who may call for a run."""

    async def test_the_first_vendor_run_claims(self, store: RunStore) -> None:
        """Another vendor run is superseded; the same one may call again."""
        await store.events.emit([emission(new_run())])
        journal = await store.deliveries.claim("r1", 1, "v1", T0 + 1)
        assert journal == await store.journals.load("r1")
        with pytest.raises(Superseded):
            await store.deliveries.claim("r1", 1, "v2", T0 + 2)
        await store.deliveries.claim("r1", 1, "v1", T0 + 3)
        (delivery,) = await store.deliveries.read("r1")
        assert (delivery.state, delivery.provider_run_id) == (DeliveryState.CLAIMED, "v1")
        assert (delivery.claimed_at, delivery.called_at) == (T0 + 1, T0 + 3)

    async def test_of_many_vendor_runs_one_claims(self, store: RunStore) -> None:
        """However many call at once, one holds the delivery."""
        await store.events.emit([emission(new_run())])
        calls = [store.deliveries.claim("r1", 1, f"v{at}", T0) for at in range(12)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert sum(isinstance(outcome, Journal) for outcome in outcomes) == 1
        assert sum(isinstance(outcome, Superseded) for outcome in outcomes) == 11

    async def test_the_id_that_a_sending_told_does_not_claim(self, store: RunStore) -> None:
        """What a vendor answered is a hint; who calls first has the delivery."""
        await store.events.emit([emission(new_run())])
        sent_result = SendResult(
            run_id="r1", number=1, due_at=T0 + 9, sent_at=T0 + 1, provider_run_id="told"
        )
        await store.deliveries.record([sent_result])
        await store.deliveries.claim("r1", 1, "caller", T0 + 2)
        (delivery,) = await store.deliveries.read("r1")
        assert delivery.provider_run_id == "caller"

    async def test_calls_that_cannot_be_served_are_named(self, store: RunStore) -> None:
        """An unknown run, a delivery that is not the live one, a run that has ended."""
        await store.events.emit([emission(new_run())])
        with pytest.raises(UnknownRun):
            await store.deliveries.claim("nope", 1, "v", T0)
        with pytest.raises(Superseded):
            await store.deliveries.claim("r1", 2, "v", T0)
        await store.deliveries.claim("r1", 1, "v", T0)
        await ended(store, "r1")
        with pytest.raises(RunEnded, match="completed"):
            await store.deliveries.claim("r1", 1, "v", T0)

    async def test_a_first_commit_claims_the_delivery_with_it(self, store: RunStore) -> None:
        """Whoever commits on a run as it was emitted holds its delivery from then on."""
        await store.events.emit([emission(new_run())])
        run = (await store.journals.load("r1")).run
        assert await store.journals.apply(_change_by(run, "v1", at=T0 + 1))
        (delivery,) = await store.deliveries.read("r1")
        assert (delivery.state, delivery.provider_run_id) == (DeliveryState.CLAIMED, "v1")
        assert (delivery.claimed_at, delivery.called_at) == (T0 + 1, T0 + 1)
        run = (await store.journals.load("r1")).run
        assert await store.journals.apply(_change_by(run, "v1", at=T0 + 2))
        (delivery,) = await store.deliveries.read("r1")
        assert (delivery.claimed_at, delivery.called_at) == (T0 + 1, T0 + 2)
        assert not await store.journals.apply(_change_by(run, "v2"))

    async def test_a_commit_of_who_may_not_call_writes_nothing(self, store: RunStore) -> None:
        """Not of another vendor run, nor for a delivery that is not the live one."""
        await store.events.emit([emission(new_run())])
        run = (await store.deliveries.claim("r1", 1, "v1", T0)).run
        for change in (_change_by(run, "v2"), _change_by(run, "v1", number=2)):
            with pytest.raises(Superseded):
                await store.journals.apply(
                    replace(change, steps=(new_step(),), attempts=(new_attempt(),))
                )
        assert await store.journals.load("r1") == Journal(run=run)
        (delivery,) = await store.deliveries.read("r1")
        assert (delivery.provider_run_id, delivery.called_at) == ("v1", T0)

    async def test_of_many_first_commits_at_once_one_holds(self, store: RunStore) -> None:
        """Whether they claim apart or with their commit, one vendor run holds each delivery."""
        await store.events.emit([emission(new_run(f"r{at}")) for at in range(5)])
        runs = [(await store.journals.load(f"r{at}")).run for at in range(5)]
        commits = [
            store.journals.apply(_change_by(run, f"v{at}")) for at in range(4) for run in runs
        ]
        claims = [store.deliveries.claim(run.run_id, 1, "v9", T0) for run in runs]
        outcomes = await asyncio.gather(*commits, *claims, return_exceptions=True)
        assert not [
            outcome
            for outcome in outcomes
            if isinstance(outcome, Exception) and type(outcome) is not Superseded
        ]
        for at, run in enumerate(runs):
            (delivery,) = await store.deliveries.read(run.run_id)
            winners = [n for n in range(4) if outcomes[n * 5 + at] is True]
            assert (delivery.provider_run_id == "v9") == (winners == [])
            assert winners in ([], [int(str(delivery.provider_run_id)[1:])])
            assert (await store.journals.load(run.run_id)).run.seq == len(winners)

    async def test_a_delivery_to_be_sent_comes_with_its_run(self, store: RunStore) -> None:
        """As it stands, for as long as nothing was committed on it."""
        await store.events.emit([emission(new_run("r1")), emission(new_run("r2"))])
        first, second = await store.due.take_deliveries(T0, limit=9, hold=5)
        assert first.run == (await store.journals.load(first.run_id)).run
        assert second.run == (await store.journals.load(second.run_id)).run
        assert first.run is not None
        assert await store.journals.apply(_change_by(first.run, "v1"))
        deliveries = await store.due.take_deliveries(T0 + 9, limit=9, hold=5)
        assert {delivery.run_id: delivery.run for delivery in deliveries} == {
            first.run_id: None,
            second.run_id: second.run,
        }

    async def test_a_redelivery_supersedes(self, store: RunStore) -> None:
        """The next delivery is pending; whoever calls for the old one ends."""
        run = await started(store)
        await store.deliveries.claim("r1", 1, "v1", T0)
        assert await store.deliveries.redeliver("r1", 1, "local", T0 + 5)
        assert not await store.deliveries.redeliver("r1", 1, "local", T0 + 5)
        with pytest.raises(Superseded):
            await store.deliveries.claim("r1", 1, "v1", T0 + 6)
        journal = await store.deliveries.claim("r1", 2, "v2", T0 + 6)
        assert (journal.run.delivery, journal.run.seq) == (2, run.seq + 1)
        assert journal.run.fence == run.fence
        states = [delivery.state for delivery in await store.deliveries.read("r1")]
        assert states == [DeliveryState.SUPERSEDED, DeliveryState.CLAIMED]

    async def test_a_move_fences_and_stops_the_old_vendor_run(self, store: RunStore) -> None:
        """A redelivery to another provider raises the fence and has the old one stopped."""
        await started(store)
        await store.deliveries.claim("r1", 1, "v1", T0)
        assert await store.deliveries.redeliver("r1", 1, "other", T0 + 5)
        run = (await store.journals.load("r1")).run
        assert (run.provider, run.fence) == ("other", 1)
        due = await store.due.take_deliveries(T0 + 5, limit=9, hold=9)
        assert {(delivery.number, delivery.provider, delivery.stopping) for delivery in due} == {
            (1, "local", True),
            (2, "other", False),
        }
        await store.deliveries.mark_stopped("r1", 1)
        assert [delivery.state for delivery in await store.deliveries.read("r1")] == [
            DeliveryState.SUPERSEDED,
            DeliveryState.PENDING,
        ]

    async def test_what_is_superseded_is_stopped_where_that_is_said(self, store: RunStore) -> None:
        """At the same provider, too; attempts are not fenced: nobody else runs them."""
        await started(store)
        await store.deliveries.claim("r1", 1, "v1", T0)
        assert await store.deliveries.redeliver("r1", 1, "local", T0 + 5, stop=True)
        assert (await store.journals.load("r1")).run.fence == 0
        due = await store.due.take_deliveries(T0 + 5, limit=9, hold=9)
        assert {
            (delivery.number, delivery.provider_run_id, delivery.stopping) for delivery in due
        } == {
            (1, "v1", True),
            (2, None, False),
        }
        await store.deliveries.mark_stopped("r1", 1)
        due = await store.due.take_deliveries(T0 + 99, limit=9, hold=9)
        assert [delivery.number for delivery in due] == [2]

    async def test_an_ended_run_is_not_delivered_again(self, store: RunStore) -> None:
        """There is nothing left to call for."""
        await started(store)
        await ended(store, "r1")
        assert not await store.deliveries.redeliver("r1", 1, "local", T0)

    async def test_a_due_delivery_is_taken_by_one(self, store: RunStore) -> None:
        """What one pump holds, no other is given until the hold has passed."""
        await store.events.emit([emission(new_run(f"r{at}")) for at in range(10)])
        takes = [store.due.take_deliveries(T0, limit=4, hold=50) for _ in range(5)]
        run_ids = [delivery.run_id for batch in await asyncio.gather(*takes) for delivery in batch]
        assert sorted(run_ids) == sorted(f"r{at}" for at in range(10))
        assert await store.due.take_deliveries(T0 + 49, limit=99, hold=50) == []
        assert len(await store.due.take_deliveries(T0 + 50, limit=99, hold=50)) == 10

    async def test_a_delayed_run_is_not_due_early(self, store: RunStore) -> None:
        """Its delivery waits for its start."""
        await store.events.emit([emission(new_run(due_at=T0 + 100))])
        assert await store.due.take_deliveries(T0 + 99, limit=9, hold=1) == []
        assert len(await store.due.take_deliveries(T0 + 100, limit=9, hold=1)) == 1

    async def test_an_accepted_sending_is_sent(self, store: RunStore) -> None:
        """It is looked after at its next due time."""
        await store.events.emit([emission(new_run())])
        sent_result = SendResult(
            run_id="r1", number=1, due_at=T0 + 9, sent_at=T0 + 1, provider_run_id="v"
        )
        await store.deliveries.record([sent_result])
        (delivery,) = await store.deliveries.read("r1")
        assert (delivery.state, delivery.sent_at, delivery.due_at) == (
            DeliveryState.SENT,
            T0 + 1,
            T0 + 9,
        )
        assert delivery.provider_run_id == "v"

    async def test_a_failed_sending_is_tried_again(self, store: RunStore) -> None:
        """It stays pending, and its failures are counted."""
        await store.events.emit([emission(new_run())])
        for at in (1, 2):
            down = SendResult(run_id="r1", number=1, due_at=T0 + at, sent_at=T0, error="down")
            await store.deliveries.record([down])
        (delivery,) = await store.deliveries.read("r1")
        assert (delivery.state, delivery.failures, delivery.due_at) == (
            DeliveryState.PENDING,
            2,
            T0 + 2,
        )

    async def test_late_news_of_a_sending_does_not_undo_a_claim(self, store: RunStore) -> None:
        """A vendor run may call before the answer to its sending is recorded."""
        await store.events.emit([emission(new_run())])
        await store.deliveries.claim("r1", 1, "v", T0 + 1)
        for error in (None, "timed out"):
            late = SendResult(run_id="r1", number=1, due_at=T0 + 9, sent_at=T0, error=error)
            await store.deliveries.record([late])
        (delivery,) = await store.deliveries.read("r1")
        assert (delivery.state, delivery.provider_run_id) == (DeliveryState.CLAIMED, "v")
        assert (delivery.failures, delivery.due_at) == (0, T0 + 9)

    async def test_a_postponed_delivery_is_due_later(self, store: RunStore) -> None:
        """The pump looks after it when it said it would."""
        await store.events.emit([emission(new_run())])
        await store.deliveries.postpone("r1", 1, T0 + 70)
        assert await store.due.take_deliveries(T0 + 69, limit=9, hold=1) == []
        assert len(await store.due.take_deliveries(T0 + 70, limit=9, hold=1)) == 1

    async def test_a_token_is_remembered_while_nothing_moved(self, store: RunStore) -> None:
        """A vendor run that parks on what is stale is told to look again."""
        run = await started(store)
        assert await store.deliveries.park("r1", 1, run.seq, "token")
        assert not await store.deliveries.park("r1", 1, run.seq - 1, "old")
        assert not await store.deliveries.park("r1", 2, run.seq, "other")
        (delivery,) = await store.deliveries.read("r1")
        assert delivery.token == "token"
