"""The control plane: seven capabilities, one small Protocol each.

Ask for the least: a function that only cancels takes a `Cancels`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from turnout.model.events import Emitted, Event
from turnout.model.policies import Concurrency, Retries
from turnout.model.reports import Cancelled, RunReport
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.status import Capability, Held
from turnout.model.tasks import Task


class Emits(Protocol):
    """Every subscribed task starts once."""

    async def emit(self, *events: Event, connection: Any = None) -> Sequence[Emitted]:
        """Record the events and their runs, and return the runs' ids; delivery follows.

        connection: the caller's own SQL transaction on the run store's database (a SQLAlchemy or
        psycopg connection, sync or async); the runs are there if, and only if, it commits.
        InvalidPayload names the field; nothing is recorded if any event is refused.
        """
        ...


class SchedulesRecurring(Protocol):
    """A cron expression in a zone starts a task, at every slot, once."""

    async def schedule_recurring(self, schedule: Schedule) -> None:
        """Add the schedule or replace the one of its id; armed at the provider."""
        ...

    async def unschedule(self, schedule_id: str) -> bool:
        """Remove it; False when there was none."""
        ...

    async def schedules(self) -> Sequence[Schedule]:
        """List what we intend."""
        ...

    async def armed(self) -> Sequence[ArmedSchedule]:
        """List what the provider's runtime will fire."""
        ...


class Cancels(Protocol):
    """That run stops, and no other."""

    async def cancel(self, run_id: str) -> Cancelled:
        """Cancel a run and its children; UnknownRun when there is none of that id."""
        ...


class ReportsStatus(Protocol):
    """State, steps, attempts, timings, and what the provider itself says."""

    async def status(self, run_id: str, *, look: bool = False) -> RunReport:
        """Report on a run; `look` asks the provider too. UnknownRun when there is none."""
        ...


class DefinesTasks(Protocol):
    """A task and its policies are known to the provider, or refused by name."""

    async def define_task(self, task: Task) -> None:
        """Check the task's policies and make it known; PolicyRefused names the policy."""
        ...


class RetriesSteps(Protocol):
    """`max_attempts` tries of one step, with the declared delays."""

    def check_retries(self, retries: Retries) -> Held:
        """Say who holds the policy; PolicyRefused if nobody can."""
        ...


class LimitsConcurrency(Protocol):
    """At most n runs, or executing steps, of a key; in order of emit."""

    def check_concurrency(self, concurrency: Concurrency) -> Held:
        """Say who holds the policy; PolicyRefused if nobody can."""
        ...


class Orchestrator(
    Emits,
    SchedulesRecurring,
    Cancels,
    ReportsStatus,
    DefinesTasks,
    RetriesSteps,
    LimitsConcurrency,
    Protocol,
):
    """The port: all seven capabilities."""

    @property
    def capabilities(self) -> Mapping[Capability, Held]:
        """Who holds each capability's promise for newly emitted runs."""
        ...
