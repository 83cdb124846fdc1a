"""The run store: each method is one operation of the committer."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from turnout.model.events import Emitted
from turnout.model.protocol import Ticked
from turnout.model.routing import Route
from turnout.model.runs import Change, Chunk, Delivery, Emission, Journal, Run, Transition, Wake
from turnout.model.schedules import Schedule
from turnout.model.time import Millis
from turnout.ports.run_store import Handed, OwnedSchedule, Replica, RunFilter
from turnout.stores.sql import crossing, deliveries, journals, pump, routes, schedules, slots
from turnout.stores.sql.callers import Callers
from turnout.stores.sql.committer import Committer
from turnout.stores.sql.statements import Transaction


class SqlRunStore:
    """A `RunStore` on SQLite or PostgreSQL; made by `open_run_store`."""

    def __init__(self, name: str, committer: Committer, callers: Callers) -> None:
        self._name = name
        self._committer = committer
        self._callers = callers

    def __repr__(self) -> str:
        return f"<run store {self._name}>"

    async def close(self) -> None:
        """Finish what was begun and let go of the database."""
        await self._committer.close()

    # Events

    async def emit(
        self, emissions: Sequence[Emission], *, connection: Any = None
    ) -> Sequence[Emitted]:
        """Record events and start their runs, in the caller's transaction where one is given."""
        work = partial(_emit, emissions=emissions)
        if connection is not None:
            return await self._callers.run(connection, work)
        return await self._committer.write("emit", work, _first_run(emissions))

    # Journals

    async def load(self, run_id: str) -> Journal:
        """Read one run with its steps and attempts."""
        return await self._committer.read("load", partial(_load, run_id=run_id))

    async def apply(self, change: Change) -> bool:
        """Commit a change if the run's seq is still what was read."""
        of = change.before.run_id
        return await self._committer.write_one("apply", crossing.apply_all, change, of)

    async def transitions(self, run_id: str) -> Sequence[Transition]:
        """Read a run's changes of state, in order."""
        work = partial(journals.read_transitions, run_id=run_id)
        return await self._committer.read("transitions", work)

    async def streamed(self, run_id: str, *, after: int, limit: int) -> tuple[Run, Sequence[Chunk]]:
        """Read a run, and its chunks from a number on."""
        work = partial(journals.read_streamed, run_id=run_id, after=after, limit=limit)
        return await self._committer.read("streamed", work)

    async def children(self, run_id: str) -> Sequence[Run]:
        """Read the runs that a run invoked."""
        work = partial(journals.read_children, run_id=run_id)
        return await self._committer.read("children", work)

    async def runs(self, wanted: RunFilter) -> Sequence[Run]:
        """Read a page of runs, newest emit first."""
        return await self._committer.read("runs", partial(journals.read_runs, wanted=wanted))

    # Deliveries

    async def claim_delivery(
        self, run_id: str, number: int, provider_run_id: str, now: Millis
    ) -> Journal:
        """Let a vendor run call for this delivery, and read the run."""

        def work(tx: Transaction) -> Journal:
            return deliveries.claim_delivery(tx, run_id, number, provider_run_id, now)

        return await self._committer.write("claim_delivery", work, run_id)

    async def park_on(self, run_id: str, number: int, seq: int, token: str) -> bool:
        """Remember the token, unless the run moved on."""

        def work(tx: Transaction) -> bool:
            return deliveries.park_on(tx, run_id, number, seq, token)

        return await self._committer.write("park_on", work, run_id)

    async def deliveries(self, run_id: str) -> Sequence[Delivery]:
        """Read a run's deliveries, in order of number."""
        work = partial(deliveries.read_deliveries, run_id=run_id)
        return await self._committer.read("deliveries", work)

    async def due_deliveries(self, now: Millis, *, limit: int, hold: Millis) -> Sequence[Delivery]:
        """Take live deliveries that are due to be sent, looked after or stopped."""
        work = partial(deliveries.due_deliveries, now=now, limit=limit, hold=hold)
        return await self._committer.write("due_deliveries", work, "pump")

    async def delivered(self, number_of: Sequence[Handed]) -> None:
        """Record what became of sendings."""
        work = partial(deliveries.delivered, handed=number_of)
        await self._committer.write("delivered", work, number_of[0].run_id if number_of else "")

    async def postpone(self, run_id: str, number: int, due_at: Millis) -> None:
        """Look after this delivery later."""
        work = partial(deliveries.postpone, run_id=run_id, number=number, due_at=due_at)
        await self._committer.write("postpone", work, run_id)

    async def redeliver(
        self, run_id: str, number: int, provider: str, now: Millis, *, stop: bool = False
    ) -> bool:
        """Supersede delivery `number` by number + 1."""

        def work(tx: Transaction) -> bool:
            return deliveries.redeliver(tx, run_id, number, provider, now, stop=stop)

        return await self._committer.write("redeliver", work, run_id)

    async def stopped(self, run_id: str, number: int) -> None:
        """Record that the vendor confirmed the end of its run."""
        work = partial(deliveries.stopped, run_id=run_id, number=number)
        await self._committer.write("stopped", work, run_id)

    # Slots of limits

    async def take_slot(self, run_id: str, step: str | None, limit: int, now: Millis) -> bool:
        """Hold a slot of the run's (task, limit_key), or stand in line for one."""

        def work(tx: Transaction) -> bool:
            return slots.take_slot(tx, run_id, step, limit, now)

        return await self._committer.write("take_slot", work, run_id)

    # The pump

    async def due_wakes(self, now: Millis, *, limit: int, resend: Millis) -> Sequence[Wake]:
        """Take the wakes that are due, with their live delivery."""
        work = partial(pump.due_wakes, now=now, limit=limit, resend=resend)
        return await self._committer.write("due_wakes", work, "pump")

    async def due_deadlines(self, now: Millis, *, limit: int) -> Sequence[Run]:
        """Read live runs whose deadline has passed."""
        work = partial(pump.due_deadlines, now=now, limit=limit)
        return await self._committer.read("due_deadlines", work)

    async def expired_leases(self, now: Millis, *, limit: int) -> Sequence[str]:
        """Read ids of runs that have a claimed attempt whose lease has run out."""
        work = partial(pump.expired_leases, now=now, limit=limit)
        return await self._committer.read("expired_leases", work)

    async def renew(
        self, claims: Sequence[tuple[str, str, int]], lease_until: Millis
    ) -> Sequence[tuple[str, str, int]]:
        """Extend leases; returns those that are no longer ours to run."""
        work = partial(pump.renew, claims=claims, lease_until=lease_until)
        return await self._committer.write("renew", work, claims[0][0] if claims else "")

    async def unprojected(self, *, limit: int, now: Millis, hold: Millis) -> Sequence[str]:
        """Take runs whose artifacts are behind their journal."""
        work = partial(pump.unprojected, limit=limit, now=now, hold=hold)
        return await self._committer.write("unprojected", work, "pump")

    async def projected(self, run_id: str, seq: int) -> None:
        """Record that the artifacts show the journal as of seq."""
        work = partial(pump.projected, run_id=run_id, seq=seq)
        await self._committer.write("projected", work, run_id)

    async def next_due(self) -> Millis | None:
        """Say when the next delivery, wake or deadline is due."""
        return await self._committer.read("next_due", pump.next_due)

    # Schedules

    async def put_schedule(self, schedule: Schedule, provider: str, now: Millis) -> None:
        """Add a schedule, owned by a provider, or replace the one of its id."""
        work = partial(schedules.put_schedule, schedule=schedule, provider=provider, now=now)
        await self._committer.write("put_schedule", work, schedule.id)

    async def remove_schedule(self, schedule_id: str) -> bool:
        """Remove a schedule."""
        work = partial(schedules.remove_schedule, schedule_id=schedule_id)
        return await self._committer.write("remove_schedule", work, schedule_id)

    async def schedules(self) -> Sequence[OwnedSchedule]:
        """Read all schedules."""
        return await self._committer.read("schedules", schedules.read_schedules)

    async def tick(
        self, schedule_id: str, slot: Millis, provider: str, emission: Emission, now: Millis
    ) -> Ticked:
        """Claim a slot and record its emission, together."""

        def work(tx: Transaction) -> Ticked:
            return schedules.tick(tx, schedule_id, slot, provider, emission, now)

        return await self._committer.write("tick", work, schedule_id)

    # Routes

    async def routes(self) -> Mapping[str, Route]:
        """Read the routes, by task id."""
        return await self._committer.read("routes", routes.read_routes)

    async def put_route(self, task: str, route: Route, now: Millis) -> None:
        """Set a task's route."""
        work = partial(routes.put_route, task=task, route=route, now=now)
        await self._committer.write("put_route", work, task)

    async def beat(self, replica: Replica) -> None:
        """Publish that this replica lives."""
        await self._committer.write("beat", partial(routes.beat, replica=replica), "beat")

    async def replicas(self, *, since: Millis) -> Sequence[Replica]:
        """Read the replicas that have beaten since."""
        return await self._committer.read("replicas", partial(routes.read_replicas, since=since))


def _emit(tx: Transaction, emissions: Sequence[Emission]) -> Sequence[Emitted]:
    return crossing.emit(tx, emissions)


def _load(tx: Transaction, run_id: str) -> Journal:
    return journals.read_journal(tx, journals.read_run(tx, run_id))


def _first_run(emissions: Sequence[Emission]) -> str:
    return next((new.run.run_id for each in emissions for new in each.runs), "")
