"""The control plane: seven capabilities, one small Protocol each.

Type a parameter with the smallest one: a function that only cancels takes a `Cancels`.
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
    """Emits events: every subscribed task starts once."""

    async def emit(self, *events: Event, connection: Any = None) -> Sequence[Emitted]:
        """Record the events and their runs, and return the runs' ids; delivery follows.

        connection: the caller's own SQL transaction on the run store's database (a SQLAlchemy or
        psycopg connection, sync or async); the runs are there if, and only if, it commits.
        InvalidPayload names the field; nothing is recorded if any event is refused.
        """
        ...


class SchedulesRecurring(Protocol):
    """Schedules tasks: a cron expression in a zone starts a task once at every slot."""

    async def schedule_recurring(self, schedule: Schedule) -> None:
        """Add the schedule or replace the one of its id; armed at the provider."""
        ...

    async def unschedule(self, schedule_id: str) -> bool:
        """Remove a schedule; False when there is none of that id."""
        ...

    async def schedules(self) -> Sequence[Schedule]:
        """List the schedules in the run store."""
        ...

    async def armed(self) -> Sequence[ArmedSchedule]:
        """List what the provider's runtime will fire."""
        ...


class Cancels(Protocol):
    """Cancels runs: the named run and its children stop, and no other."""

    async def cancel(self, run_id: str, *, by: str | None = None) -> Cancelled:
        """Cancel a run and its children; UnknownRun when there is none of that id.

        by: who cancels it, for its history.
        """
        ...


class ReportsStatus(Protocol):
    """Reports on runs: state, steps, attempts, and what the provider itself says."""

    async def status(self, run_id: str, *, look: bool = False) -> RunReport:
        """Report on a run; `look` asks the provider too. UnknownRun when there is none."""
        ...


class DefinesTasks(Protocol):
    """Checks tasks: the provider can keep each policy, or the policy is refused by name."""

    async def define_task(self, task: Task) -> None:
        """Check the task's policies; PolicyRefused names one that a provider cannot keep."""
        ...


class RetriesSteps(Protocol):
    """Retries steps: up to `max_attempts` tries of a step, with the declared delays."""

    def check_retries(self, retries: Retries) -> Held:
        """Say who holds the policy; PolicyRefused if nobody can."""
        ...


class LimitsConcurrency(Protocol):
    """Limits concurrency: at most n runs, or executing steps, of a key, in order of emit."""

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
