"""The run store in SQL: its parts share one committer."""

from collections.abc import Sequence
from typing import Any

from turnout.model.events import Emitted
from turnout.model.runs import Change, Chunk, Emission, Journal, Run, RunFilter, Transition
from turnout.ports.run_store import (
    DeadLetterStore,
    DeliveryStore,
    DueWork,
    EventStore,
    FlagStore,
    IdentityStore,
    JournalStore,
    LeaseStore,
    LimitStore,
    ProjectionQueue,
    ReplicaStore,
    RouteStore,
    RunSearch,
    ScheduleStore,
)
from turnout.stores.sql import journals, limits
from turnout.stores.sql.caller_transactions import CallerTransactions
from turnout.stores.sql.commits import apply_all, emit, frees_a_slot
from turnout.stores.sql.committer import Committer
from turnout.stores.sql.dead_letters import SqlDeadLetterStore
from turnout.stores.sql.deliveries import SqlDeliveryStore
from turnout.stores.sql.due import SqlDueWork
from turnout.stores.sql.identity import SqlIdentityStore
from turnout.stores.sql.leases import SqlLeaseStore
from turnout.stores.sql.limits import SqlLimitStore
from turnout.stores.sql.operations import StorePart, reads
from turnout.stores.sql.projections import SqlProjectionQueue
from turnout.stores.sql.replicas import SqlReplicaStore
from turnout.stores.sql.routes import SqlFlagStore, SqlRouteStore
from turnout.stores.sql.schedules import SqlScheduleStore
from turnout.stores.sql.search import read_runs
from turnout.stores.sql.statements import Transaction


class SqlRunStore:
    """A `RunStore` on SQLite or PostgreSQL; made by `open_run_store`."""

    def __init__(self, name: str, committer: Committer, callers: CallerTransactions) -> None:
        self._name = name
        self._committer = committer
        self.events: EventStore = SqlEventStore(committer, callers)
        self.dead_letters: DeadLetterStore = SqlDeadLetterStore(committer)
        self.journals: JournalStore = SqlJournalStore(committer)
        self.runs: RunSearch = SqlRunSearch(committer)
        self.deliveries: DeliveryStore = SqlDeliveryStore(committer)
        self.limits: LimitStore = SqlLimitStore(committer)
        self.leases: LeaseStore = SqlLeaseStore(committer)
        self.due: DueWork = SqlDueWork(committer)
        self.projections: ProjectionQueue = SqlProjectionQueue(committer)
        self.schedules: ScheduleStore = SqlScheduleStore(committer)
        self.routes: RouteStore = SqlRouteStore(committer)
        self.flags: FlagStore = SqlFlagStore(committer)
        self.replicas: ReplicaStore = SqlReplicaStore(committer)
        self.identity: IdentityStore = SqlIdentityStore(committer)

    def __repr__(self) -> str:
        return f"<run store {self._name}>"

    async def close(self) -> None:
        """Finish the operations that have begun, then close the connections."""
        await self._committer.close()


class SqlEventStore(StorePart):
    """Events and the runs that they start."""

    def __init__(self, committer: Committer, callers: CallerTransactions) -> None:
        super().__init__(committer)
        self._callers = callers

    async def emit(
        self, emissions: Sequence[Emission], *, connection: Any = None
    ) -> Sequence[Emitted]:
        """Record events and start their runs, in the caller's transaction where one is given."""

        def work(tx: Transaction) -> Sequence[Emitted]:
            return emit(tx, emissions)

        if connection is not None:
            return await self._callers.run(connection, work)
        return await self.committer.write("emit", work, _first_run(emissions))


class SqlJournalStore(StorePart):
    """Runs, read whole and changed whole."""

    async def apply(self, change: Change) -> bool:
        """Commit a change, in the same statements as others that wait."""
        key = limits.LINES if frees_a_slot(change) else change.before.run_id
        return await self.committer.write_one(
            "apply", apply_all, change, key, light=change.only_claims
        )

    @reads("load")
    def load(self, tx: Transaction, run_id: str) -> Journal:
        """Read one run with its steps and attempts."""
        return journals.read_journal(tx, journals.read_run(tx, run_id))

    @reads("transitions")
    def transitions(self, tx: Transaction, run_id: str) -> Sequence[Transition]:
        """Read a run's changes of state, in order."""
        return journals.read_transitions(tx, run_id)

    @reads("streamed")
    def streamed(
        self,
        tx: Transaction,
        run_id: str,
        *,
        after: int,
        limit: int,
        beyond_passed: bool = False,
    ) -> tuple[Run, Sequence[Chunk]]:
        """Read a run, and its chunks from a number on."""
        return journals.read_streamed(tx, run_id, after, limit, beyond_passed=beyond_passed)


class SqlRunSearch(StorePart):
    """Finds runs."""

    @reads("runs")
    def find(self, tx: Transaction, run_filter: RunFilter) -> Sequence[Run]:
        """Read a page of runs."""
        return read_runs(tx, run_filter)

    @reads("children")
    def children(self, tx: Transaction, run_id: str) -> Sequence[Run]:
        """Read the runs that a run invoked, in order of emit."""
        return journals.read_children(tx, run_id)


def _first_run(emissions: Sequence[Emission]) -> str:
    return next((new.run.run_id for emission in emissions for new in emission.runs), "")
