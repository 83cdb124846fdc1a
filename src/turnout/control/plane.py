"""The live orchestrator: seven capabilities over one run store and the durable callers."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnout.control.emitter import Emitter
from turnout.control.providers import Providers
from turnout.control.reports import run_report
from turnout.control.schedules import Schedules
from turnout.errors import PolicyRefused, TurnoutError
from turnout.model.events import Emitted, Event
from turnout.model.policies import Concurrency, Policies, Retries
from turnout.model.providers import Sighting
from turnout.model.reports import Cancelled, RunReport
from turnout.model.runs import Delivery, Run
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.status import Capability, DeliveryState, Held, TransitionCause
from turnout.model.tasks import App, Task
from turnout.model.transitions import cancel
from turnout.ports.clock import Clock
from turnout.ports.run_store import DeliveryStore, JournalStore, RunSearch

log = logging.getLogger(__name__)


class ControlPlane:
    """An `Orchestrator`: records what is asked in the run store, and has the provider follow."""

    def __init__(
        self,
        *,
        journals: JournalStore,
        runs: RunSearch,
        deliveries: DeliveryStore,
        emitter: Emitter,
        schedules: Schedules,
        providers: Providers,
        clock: Clock,
    ) -> None:
        self._journals = journals
        self._runs = runs
        self._deliveries = deliveries
        self._emitter = emitter
        self._schedules = schedules
        self._providers = providers
        self._clock = clock

    @property
    def app(self) -> App:
        """The app whose tasks are orchestrated."""
        return self._emitter.emissions.app

    @property
    def capabilities(self) -> Mapping[Capability, Held]:
        """Who holds each capability's promise for newly emitted runs."""
        return self._providers.caller(self._providers.selection.names[0]).capabilities

    async def emit(self, *events: Event, connection: Any = None) -> Sequence[Emitted]:
        """As `Emits.emit`."""
        return await self._emitter.emit(*events, connection=connection)

    async def schedule_recurring(self, schedule: Schedule) -> None:
        """As `SchedulesRecurring.schedule_recurring`; PolicyRefused changes nothing."""
        await self._schedules.schedule_recurring(schedule)

    async def unschedule(self, schedule_id: str) -> bool:
        """As `SchedulesRecurring.unschedule`."""
        return await self._schedules.unschedule(schedule_id)

    async def schedules(self) -> Sequence[Schedule]:
        """As `SchedulesRecurring.schedules`."""
        return await self._schedules.schedules()

    async def armed(self) -> Sequence[ArmedSchedule]:
        """As `SchedulesRecurring.armed`, of every selected provider."""
        return await self._schedules.armed()

    async def cancel(self, run_id: str, *, by: str | None = None) -> Cancelled:
        """Cancel a run and its children; UnknownRun when there is none of that id."""
        return await self._cancel_all(run_id, TransitionCause.CANCEL, by)

    async def _cancel_all(
        self, run_id: str, cause: TransitionCause, actor: str | None
    ) -> Cancelled:
        run, changed = await self._cancel(run_id, cause, actor)
        for child in await self._runs.children(run_id):
            if not child.state.terminal:
                await self._cancel_all(child.run_id, TransitionCause.PARENT, run_id)
        return Cancelled(
            run_id=run_id,
            state=run.state,
            changed=changed,
            confirmed=await self._confirm(run_id),
        )

    async def status(self, run_id: str, *, look: bool = False) -> RunReport:
        """Report on a run; `look` asks the provider too. UnknownRun when there is none."""
        report = await run_report(self._journals, self._deliveries, run_id)
        if not look or not report.deliveries:
            return report
        run = report.journal.run
        if run.provider in self._providers.embedded:
            seen = Sighting(state=run.state, word="embedded", seen_at=self._clock.now())
            return replace(report, sighting=seen)
        return replace(report, sighting=await self._look(report.deliveries[-1]))

    async def define_task(self, task: Task) -> None:
        """Check the task's policies with every provider that may get it."""
        for caller in self._providers.selected():
            caller.check(task)
        self.check_retries(task.policies.retries)
        if task.policies.concurrency is not None:
            self.check_concurrency(task.policies.concurrency)

    async def define(self) -> None:
        """Check the policies of all tasks, and store the schedules of the code.

        No provider is called: the registrar makes the tasks known to them. Schedules are left as
        they are where replicas run with another flag.
        """
        for task in self.app.tasks:
            await self.define_task(task)
        await self._schedules.declare_all(self.app.schedules)

    def check_retries(self, retries: Retries) -> Held:
        """Say who holds the policy; PolicyRefused if nobody can."""
        return self._check(Policies(retries=retries), Capability.RETRIES)

    def check_concurrency(self, concurrency: Concurrency) -> Held:
        """Say who holds the policy; PolicyRefused if nobody can."""
        return self._check(Policies(concurrency=concurrency), Capability.CONCURRENCY)

    async def _cancel(
        self, run_id: str, cause: TransitionCause, actor: str | None
    ) -> tuple[Run, bool]:
        while True:
            run = (await self._journals.load(run_id)).run
            change = cancel(run, self._clock.now(), cause, actor)
            if change is None:
                return run, False
            if await self._journals.apply(change):
                return change.after._replace(seq=run.seq + 1), True

    async def _confirm(self, run_id: str) -> bool:
        """Stop the vendor run now rather than at the pump's next turn; True once it has ended."""
        deliveries = await self._deliveries.read(run_id)
        for delivery in deliveries:
            if not delivery.stopping:
                continue
            try:
                if not await self._providers.caller(delivery.provider).stop(delivery):
                    return False
            except TurnoutError as error:
                log.warning(
                    "the provider did not confirm that it stopped a run; the pump asks again",
                    extra={"action": "stop", "run_id": run_id, "error": str(error)},
                )
                return False
            await self._deliveries.mark_stopped(delivery.run_id, delivery.number)
        return True

    async def _look(self, delivery: Delivery) -> Sighting | None:
        caller = self._providers.callers.get(delivery.provider)
        if caller is None or delivery.state is DeliveryState.PENDING:
            return None
        try:
            return await caller.look(delivery)
        except TurnoutError as error:
            log.warning(
                "the provider did not answer about a run",
                extra={"action": "look", "run_id": delivery.run_id, "error": str(error)},
            )
            return None

    def _check(self, policies: Policies, capability: Capability) -> Held:
        trial = Task(id="policy-check", function=_empty_task, policies=policies)
        for caller in self._providers.selected():
            caller.check(trial)
        holder = self.capabilities[capability]
        if holder is Held.REFUSED:
            raise PolicyRefused(f"{self._providers.selection.names[0]} does not offer {capability}")
        return holder


async def _empty_task(_ctx: Any, _payload: Any) -> None:
    pass
