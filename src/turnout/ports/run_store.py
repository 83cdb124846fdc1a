"""The run store: the truth about runs, steps, events, deliveries, schedules and routes.

It has a small Protocol for each need; take only the ones that you use. Every method is one
transaction. A store may group several callers' methods into one commit; a method returns only when
that commit is durable. A commit that only takes what can be taken again (a claim, due deliveries or
wakes, a slot) may be lost when the machine loses power, with all such commits since the last
durable one. StoreUnavailable: try again later.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from turnout.model.events import DeadLetter, Emitted
from turnout.model.identity import StoreIdentity
from turnout.model.protocol import Ticked
from turnout.model.replicas import Replica
from turnout.model.routing import Flag, Route
from turnout.model.runs import (
    Change,
    Chunk,
    Claim,
    Delivery,
    Emission,
    Journal,
    Run,
    RunFilter,
    SendResult,
    Transition,
    Wake,
)
from turnout.model.schedules import OwnedSchedule, Schedule
from turnout.model.time import Millis

CALM_LOOK: Millis = 60_000
"""How long a delivery may be silent while its run works or waits, until its provider is asked."""


class EventStore(Protocol):
    """Events and the runs that they start."""

    async def emit(
        self, emissions: Sequence[Emission], *, connection: Any = None
    ) -> Sequence[Emitted]:
        """Insert events, runs, first deliveries and cancel-waits; meet the open waits.

        A run whose key is taken for its task is not inserted: the first run's id is returned as a
        duplicate. An event whose waits match settles them (`transitions.meet`) in the same
        transaction. connection: do all of it in this transaction of the caller's (SQLAlchemy sync
        or async connection or session, psycopg sync or async connection; on the same database).
        """
        ...


class DeadLetterStore(Protocol):
    """Events that were refused at a door."""

    async def put(self, letter: DeadLetter) -> None:
        """Keep a letter, unless one of its id was kept before."""
        ...

    async def read(self, *, limit: int, dropped: bool = False) -> Sequence[DeadLetter]:
        """Read the letters that are kept, or those that were dropped, the oldest first."""
        ...

    async def count(self) -> int:
        """Count the letters that are kept: neither emitted again nor dropped."""
        ...

    async def drop(self, letter_ids: Sequence[str], reason: str) -> Sequence[str]:
        """Drop letters that are kept; returns the ids of those that were."""
        ...

    async def settle(self, letter_id: str, event_id: str) -> None:
        """Record as which event a letter was emitted again."""
        ...


class JournalStore(Protocol):
    """Journals: a run is read with all its steps, and changed in one commit."""

    async def load(self, run_id: str) -> Journal:
        """Read one run with its steps and attempts; UnknownRun when there is none."""
        ...

    async def apply(self, change: Change) -> bool:
        """Commit a change if the run's seq is still `change.before.seq`; else False, and nothing.

        Sets the run's seq to the old one + 1. In the same transaction: the wake alarm is replaced
        (or removed when wake_at is None); waits of settled steps are closed; concurrency slots of
        attempts that are no longer claimed are freed and the next run in line is woken. When the
        run ends, its slot and waits are removed, the next run in line is woken, its parent's invoke
        is settled (`transitions.child_ended`), its live delivery is ended, or marked stopping where
        `change.stop_vendor` says so; emissions are recorded as by `emit`. Superseded where
        `change.calling` may not call: another vendor run holds the delivery.
        """
        ...

    async def transitions(self, run_id: str) -> Sequence[Transition]:
        """Read a run's changes of state, in order."""
        ...

    async def streamed(
        self, run_id: str, *, after: int, limit: int, beyond_passed: bool = False
    ) -> tuple[Run, Sequence[Chunk]]:
        """Read a run, and its chunks from number `after` on, in order, as one consistent read.

        beyond_passed: `after` counts from those that earlier vendor runs have passed on.
        """
        ...


class RunSearch(Protocol):
    """Finds runs."""

    async def find(self, run_filter: RunFilter) -> Sequence[Run]:
        """Read a page of runs: newest emit first, or in order of emit where `after` is set."""
        ...

    async def children(self, run_id: str) -> Sequence[Run]:
        """Read the runs that a run invoked."""
        ...


class DeliveryStore(Protocol):
    """Deliveries: who may call for a run."""

    async def claim(self, run_id: str, number: int, provider_run_id: str, now: Millis) -> Journal:
        """Let a vendor run call for this delivery, and read the run.

        The first vendor run that calls claims the delivery; every other one gets Superseded, as
        does any call for a delivery that is not the live one. RunEnded where the run has ended;
        UnknownRun. The run's wake is withdrawn if it was due or sent; an alarm for later stays.
        A delivery that has called before is due to be checked within a minute.
        """
        ...

    async def park(
        self, run_id: str, number: int, seq: int, token: str, *, release_at: Millis | None = None
    ) -> bool:
        """Record the token that wakes the vendor run, unless the run's seq is no longer `seq`.

        False, and nothing, where it is not. release_at: the run waits for limit slots of its steps,
        so it is parked, too, and released then.
        """
        ...

    async def read(self, run_id: str) -> Sequence[Delivery]:
        """Read a run's deliveries, in order of number."""
        ...

    async def record(self, results: Sequence[SendResult]) -> None:
        """Record what became of sendings; never moves a delivery back from claimed."""
        ...

    async def postpone(self, run_id: str, number: int, due_at: Millis) -> None:
        """Make the delivery due at another time."""
        ...

    async def redeliver(
        self, run_id: str, number: int, provider: str, now: Millis, *, stop: bool = False
    ) -> bool:
        """Supersede delivery `number` by number + 1, pending; False if it is not the live one.

        Its reason is `lost`, or `moved` where the provider is another one. The superseded delivery
        is marked stopping where `stop` says so, and on a move.
        """
        ...

    async def mark_stopped(self, run_id: str, number: int) -> None:
        """Record that the vendor confirmed the end of its run."""
        ...

    async def report_end(self, run_id: str, number: int, due_at: Millis) -> None:
        """Record a vendor run's own word that it ends.

        A superseded one is not stopped any more; any other is due to be looked at.
        """
        ...


class LimitStore(Protocol):
    """Concurrency limits: slots in order of emit, across all providers and replicas."""

    async def take_slot(
        self, run_id: str, step: str | None, limit: int, now: Millis, *, lookahead: int = 0
    ) -> bool:
        """Hold a concurrency slot of the run's (task, limit_key), or stand in line for one.

        step None: the run's own slot, queued since its emit, freed when it ends. A step's slot is
        queued when first asked for, in the order of the runs' emit, and freed when its attempt is
        no longer claimed. True when held; asking again changes nothing. Never more than `limit`
        are held, and no run overtakes a due run that waits. When False, the run is woken when its
        turn comes, and is no longer parked from then on.
        lookahead: how many runs that `admit` holds back are delivered now, before their turn.
        """
        ...

    async def admit(self, run_id: str, limit: int, now: Millis, *, lookahead: int) -> bool:
        """Whether a run may be delivered: its turn has come, or is at most `lookahead` runs away.

        Otherwise it stands in line, and its pending delivery is due when it is woken in its turn.
        True for a run that has no place in a line.
        """
        ...

    async def give_back(self, run_id: str, limit: int, now: Millis, until: Millis) -> None:
        """Let others of its line go past a run that cannot be delivered, until then at least.

        It keeps its place in the order: it is the first again once it asks.
        """
        ...


class LeaseStore(Protocol):
    """Leases of claimed attempts."""

    async def renew(self, claims: Sequence[Claim], lease_until: Millis) -> Sequence[Claim]:
        """Extend the leases of claimed attempts; returns the claims that no longer hold.

        A claim no longer holds when the attempt is settled, the run has ended, or its fence rose.
        """
        ...

    async def expired(self, now: Millis, *, limit: int) -> Sequence[str]:
        """Read ids of runs that have a claimed attempt whose lease has run out."""
        ...


class DueWork(Protocol):
    """Work that is due: what the pump has to do now, and when it has to do something next."""

    async def take_deliveries(
        self, now: Millis, *, limit: int, hold: Millis, tasks: Collection[str] | None = None
    ) -> Sequence[Delivery]:
        """Take live deliveries that are due to be sent, checked or stopped.

        Those of other tasks than `tasks` are not taken to be sent: a replica that knows them does.
        Each is held by this caller: its due_at becomes now + hold, so that no other pump takes it.
        One that is to be sent comes with its run, if nothing was committed on that yet.
        """
        ...

    async def take_wakes(
        self, now: Millis, *, limit: int, resend: Millis, look: Millis = CALM_LOOK
    ) -> Sequence[Wake]:
        """Take the wakes that are due, with their live delivery; each is due again after resend.

        A delivery that was claimed is due to be checked after `look` at the latest: whoever calls
        withdraws the wake, and may die before it commits.
        A wake that is owed to a released run makes its pending delivery due, unless that was not
        accepted before, and is withdrawn: no vendor run is there to be woken.
        """
        ...

    async def postpone_wakes(self, wakes: Sequence[Wake]) -> None:
        """Record when each wake is due, and how often it was sent.

        Nothing is changed for a run that has called or moved since its wake was taken.
        """
        ...

    async def release(self, now: Millis, *, limit: int, patience: Millis) -> Sequence[Delivery]:
        """Release parked runs whose `release_at` has come; returns what was their live deliveries.

        The vendor run's delivery is superseded by the next, pending one, of the reason `released`:
        due when the run's wait is over, or at its wake. Chunks that are recorded count as passed
        on. The vendor run is to end by itself: it is stopped after `patience`, unless it reports
        its end before. One that has not called yet is looked at again after `patience`.
        """
        ...

    async def hand_over(
        self, run_id: str, number: int, provider_run_id: str, now: Millis, *, patience: Millis
    ) -> bool:
        """Release a run whose vendor run ends near a limit of its vendor's, whatever the run does.

        Its next delivery is due now. False, and nothing, where that vendor run does not hold the
        live delivery. The vendor run is stopped after `patience`, unless it reports its end before.
        """
        ...

    async def deadlines(self, now: Millis, *, limit: int) -> Sequence[Run]:
        """Read live runs whose deadline has passed."""
        ...

    async def next_due(self) -> Millis | None:
        """Say when the next delivery, wake or deadline is due; None when nothing is."""
        ...


class ProjectionQueue(Protocol):
    """Runs whose artifacts are to be written."""

    async def take(self, *, limit: int, now: Millis, hold: Millis) -> Sequence[str]:
        """Take runs whose artifacts are behind their journal, each held for a while."""
        ...

    async def record(self, run_id: str, seq: int) -> None:
        """Record that the artifacts show the journal as of seq."""
        ...


class ScheduleStore(Protocol):
    """Schedules and their slots."""

    async def put(self, schedule: Schedule, provider: str, now: Millis) -> None:
        """Add a schedule, owned by a provider, or replace the one of its id.

        One that is there as it is keeps its `since`, whoever owns it.
        """
        ...

    async def change_owner(self, schedule_id: str, provider: str) -> None:
        """Make a provider the owner of a schedule, if there is one of that id."""
        ...

    async def remove(self, schedule_id: str) -> bool:
        """Remove a schedule; False when there was none."""
        ...

    async def read(self) -> Sequence[OwnedSchedule]:
        """Read all schedules, in order of id.

        One that this machine cannot compute is read as an `UnreadableSchedule`.
        """
        ...

    async def tick(
        self, schedule_id: str, slot: Millis, provider: str, emission: Emission, now: Millis
    ) -> Ticked:
        """Claim a slot and record its emission, together; at most once a slot, for ever.

        Any provider's tick will do. A tick that starts nothing is recorded with its reason.
        """
        ...

    async def claimed(self, schedule_id: str, after: Millis) -> frozenset[Millis]:
        """Read the slots after a moment that were claimed."""
        ...


class RouteStore(Protocol):
    """Per-task routes."""

    async def read(self) -> Mapping[str, Route]:
        """Read the routes, by task id."""
        ...

    async def put(self, task: str, route: Route, now: Millis) -> None:
        """Set a task's route."""
        ...


class FlagStore(Protocol):
    """The values of ORCHESTRATOR_PROVIDER that replicas have started with, in order."""

    async def read(self) -> Flag | None:
        """Read the latest value; None where no replica has started yet."""
        ...

    async def join(self, value: str, now: Millis) -> Flag:
        """Make this the latest value and return it; its generation rises if it was another."""
        ...


class IdentityStore(Protocol):
    """The identity of the store."""

    async def read(self) -> StoreIdentity:
        """Read the store's identity as it is now."""
        ...

    async def raise_epoch(self) -> int:
        """Begin a new epoch, after the store was restored from a backup; gives its number.

        The keys of pending and of later deliveries contain it, so that no vendor takes them for
        deliveries that were made after the backup and that the store has forgotten. Releases whose
        tables have no epoch are refused from then on. Call it while no replica runs.
        """
        ...


class ReplicaStore(Protocol):
    """The processes of the service, and what each runs with."""

    async def beat(self, replica: Replica) -> None:
        """Publish that this replica is alive, and with which settings."""
        ...

    async def read(self, *, since: Millis) -> Sequence[Replica]:
        """Read the replicas that have published since, in order of id."""
        ...

    async def database_time(self) -> Millis | None:
        """Read the clock that all replicas go by; None where it is the machine's."""
        ...


class RunStore(Protocol):
    """All parts of one store; whoever opens it closes it."""

    events: EventStore
    dead_letters: DeadLetterStore
    journals: JournalStore
    runs: RunSearch
    deliveries: DeliveryStore
    limits: LimitStore
    leases: LeaseStore
    due: DueWork
    projections: ProjectionQueue
    schedules: ScheduleStore
    routes: RouteStore
    flags: FlagStore
    replicas: ReplicaStore
    identity: IdentityStore

    async def close(self) -> None:
        """Finish the operations that have begun, then close the connections."""
        ...
