"""The live orchestrator: seven capabilities over one run store and the durable callers."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from turnout.control.emissions import Emitter
from turnout.errors import PolicyRefused, TurnoutError, Unavailable, UnknownProvider
from turnout.model.events import Emitted, Event
from turnout.model.policies import Concurrency, Policies, Retries
from turnout.model.protocol import Tick, Ticked
from turnout.model.providers import Sighting
from turnout.model.reports import Cancelled, RunReport
from turnout.model.runs import Delivery, Run
from turnout.model.schedules import ArmedSchedule, OwnedSchedule, Schedule
from turnout.model.status import Capability, DeliveryState, Held
from turnout.model.tasks import App, Task
from turnout.model.time import Millis
from turnout.model.transitions import cancel
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore

log = logging.getLogger(__name__)

TICK_GRACE: Millis = 15_000
"""How late a provider's tick may be before the slot is started without it."""

CATCH_UP: Millis = 60 * 60 * 1_000
"""Slots missed for longer than this are not made up."""


class ControlPlane:
    """An `Orchestrator`: records what is asked in the run store, and has the provider follow.

    callers: by provider name, every one that may have runs. nudge: called after each commit that
    leaves something due, so that the pump need not wait for its next turn.
    """

    def __init__(
        self,
        *,
        store: RunStore,
        emitter: Emitter,
        callers: Mapping[str, DurableCaller],
        clock: Clock,
        nudge: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._emitter = emitter
        self._callers = callers
        self._clock = clock
        self._nudge = nudge

    @property
    def app(self) -> App:
        """The app whose tasks are orchestrated."""
        return self._emitter.app

    @property
    def capabilities(self) -> Mapping[Capability, Held]:
        """Who holds each capability's promise for newly emitted runs."""
        return self._caller(self._emitter.selection.names[0]).capabilities

    async def emit(self, *events: Event, connection: Any = None) -> Sequence[Emitted]:
        """Record the events and their runs, and return the runs' ids; delivery follows."""
        now = self._clock.now()
        emissions = [self._emitter.emission(event, now) for event in events]
        recorded = await self._store.events.emit(emissions, connection=connection)
        self._nudge()
        return recorded

    async def schedule_recurring(self, schedule: Schedule) -> None:
        """Add the schedule or replace the one of its id; armed at the provider.

        PolicyRefused where the provider cannot fire it exactly; all is then as it was.
        """
        self.app.task(schedule.task).read_payload(schedule.payload)
        provider = self._emitter.choice(schedule.task, sticky=schedule.id).provider
        owned = {each.schedule.id: each for each in await self._store.schedules.read()}
        await self._store.schedules.put(schedule, provider, self._clock.now())
        try:
            await self.arm()
        except PolicyRefused:
            # Kept, it would stand in the way of arming any other.
            before = owned.get(schedule.id)
            if before is None:
                await self._store.schedules.remove(schedule.id)
            else:
                await self._store.schedules.put(before.schedule, before.provider, before.since)
            raise

    async def unschedule(self, schedule_id: str) -> bool:
        """Remove it; False when there was none."""
        removed = await self._store.schedules.remove(schedule_id)
        await self.arm()
        return removed

    async def schedules(self) -> Sequence[Schedule]:
        """List what we intend."""
        return [owned.schedule for owned in await self._store.schedules.read()]

    async def armed(self) -> Sequence[ArmedSchedule]:
        """List what the providers' runtimes will fire."""
        read = await asyncio.gather(*(self._caller(name).armed() for name in self._selected()))
        return [each for armed in read for each in armed]

    async def arm(self) -> None:
        """Make every provider's armed schedules those that it owns.

        One that new runs do not go to may be away: what it still fires is not its own, and skipped.
        """
        for name in self._callers:
            try:
                await self.arm_at(name)
            except Unavailable as error:
                if name in self._selected():
                    raise
                log.warning("not disarmed", extra={"provider": name, "error": str(error)})

    async def arm_at(self, name: str) -> None:
        """Make one provider's armed schedules those that it owns."""
        owned = await self._store.schedules.read()
        mine = [each.schedule for each in owned if each.provider == name]
        await self._caller(name).arm([each for each in mine if self._known(each)])

    async def cancel(self, run_id: str) -> Cancelled:
        """Cancel a run and its children; UnknownRun when there is none of that id."""
        run, changed = await self._cancel(run_id)
        for child in await self._store.runs.children(run_id):
            if not child.state.terminal:
                await self.cancel(child.run_id)
        self._nudge()
        return Cancelled(
            run_id=run_id,
            state=run.state,
            changed=changed,
            confirmed=await self._confirm(run_id),
        )

    async def status(self, run_id: str, *, look: bool = False) -> RunReport:
        """Report on a run; `look` asks the provider too. UnknownRun when there is none."""
        journal = await self._store.journals.load(run_id)
        deliveries = tuple(await self._store.deliveries.read(run_id))
        return RunReport(
            journal=journal,
            transitions=tuple(await self._store.journals.transitions(run_id)),
            deliveries=deliveries,
            sighting=await self._look(deliveries[-1]) if look and deliveries else None,
        )

    async def define_task(self, task: Task) -> None:
        """Check the task's policies with every provider that may get it."""
        for name in self._selected():
            self._caller(name).check(task)

    async def define(self) -> None:
        """Check all tasks, make them known to the providers, and arm the app's schedules.

        A provider that does not answer is logged and tried again by the pump: runs wait for it.
        """
        for task in self.app.tasks:
            await self.define_task(task)
        for schedule in self.app.schedules:
            await self._declare(schedule)

    def check_retries(self, retries: Retries) -> Held:
        """Say who holds the policy; PolicyRefused if nobody can."""
        return self._check(Policies(retries=retries), Capability.RETRIES)

    def check_concurrency(self, concurrency: Concurrency) -> Held:
        """Say who holds the policy; PolicyRefused if nobody can."""
        return self._check(Policies(concurrency=concurrency), Capability.CONCURRENCY)

    async def tick(self, call: Tick) -> Ticked:
        """Claim a schedule's slot and start its run; what the worker's `tick` does."""
        found = {each.schedule.id: each for each in await self._store.schedules.read()}
        owned = found.get(call.schedule)
        if owned is None:
            return Ticked(run_id=None, reason="removed")
        before = call.provider == owned.provider and call.slot <= owned.since
        if owned.schedule.paused or before:
            return Ticked(run_id=None, reason="paused")
        schedule = owned.schedule
        now = self._clock.now()
        emission = self._emitter.slot(schedule, call.slot, now)
        ticked = await self._store.schedules.tick(
            schedule.id, call.slot, call.provider, emission, now
        )
        self._nudge()
        return ticked

    async def catch_up(self) -> int:
        """Start the slots that no provider has ticked in time; each starts once all the same.

        A tick can be lost while the service is down or a schedule moves. Slots older than
        CATCH_UP are left alone: a run that late is a decision for people.
        """
        now, started = self._clock.now(), 0
        for owned in await self._store.schedules.read():
            started += await self._make_up(owned, now, now - TICK_GRACE)
        if started:
            log.warning(
                "runs were started that schedules owed: nobody had at the time",
                extra={"action": "catch_up", "count": started},
            )
            self._nudge()
        return started

    async def _make_up(self, owned: OwnedSchedule, now: Millis, until: Millis) -> int:
        """Start the slots of an owner, until a moment, that nobody has started."""
        if owned.schedule.paused or not self._known(owned.schedule):
            return 0
        started = 0
        for slot in owned.schedule.slots(max(owned.since, owned.last_slot or 0, now - CATCH_UP)):
            if slot > until:
                break
            emission = self._emitter.slot(owned.schedule, slot, now)
            ticked = await self._store.schedules.tick(
                owned.schedule.id, slot, owned.provider, emission, now
            )
            started += ticked.reason == "started"
        return started

    async def _declare(self, schedule: Schedule) -> None:
        """Put a schedule of the code, unless it is there as it is: then its slots go on.

        A new owner answers for no slot before it. One that fell while nobody was there to take
        the last owner's tick would be lost with it, and is started first.
        """
        provider = self._emitter.choice(schedule.task, sticky=schedule.id).provider
        now = self._clock.now()
        for owned in await self._store.schedules.read():
            if owned.schedule == schedule and owned.provider == provider:
                return
            if owned.schedule == schedule:
                await self._make_up(owned, now, now)
        await self._store.schedules.put(schedule, provider, now)

    def _known(self, schedule: Schedule) -> bool:
        return any(each.id == schedule.task for each in self.app.tasks)

    async def _cancel(self, run_id: str) -> tuple[Run, bool]:
        while True:
            run = (await self._store.journals.load(run_id)).run
            change = cancel(run, self._clock.now())
            if change is None:
                return run, False
            if await self._store.journals.apply(change):
                return change.after._replace(seq=run.seq + 1), True

    async def _confirm(self, run_id: str) -> bool:
        """Stop the vendor run now rather than at the pump's next turn, and say if it has ended."""
        live = [each for each in await self._store.deliveries.read(run_id) if each.stopping]
        for delivery in live:
            try:
                if not await self._caller(delivery.provider).stop(delivery):
                    return False
            except TurnoutError as error:
                log.warning("stop not confirmed", extra={"action": "stop", "error": str(error)})
                return False
            await self._store.deliveries.mark_stopped(delivery.run_id, delivery.number)
        return True

    async def _look(self, delivery: Delivery) -> Sighting | None:
        if delivery.state is DeliveryState.PENDING or delivery.provider not in self._callers:
            return None
        try:
            return await self._callers[delivery.provider].look(delivery)
        except TurnoutError as error:
            log.warning("look failed", extra={"action": "look", "error": str(error)})
            return None

    def _check(self, policies: Policies, capability: Capability) -> Held:
        probe = Task(id="policy-check", function=_nothing, policies=policies)
        for name in self._selected():
            self._caller(name).check(probe)
        held = self.capabilities[capability]
        if held is Held.REFUSED:
            raise PolicyRefused(f"{self._selected()[0]} does not offer {capability}")
        return held

    def _selected(self) -> tuple[str, ...]:
        return self._emitter.selection.names

    def _caller(self, name: str) -> DurableCaller:
        if name not in self._callers:
            raise UnknownProvider(
                f"no live adapter named {name!r}; live: {', '.join(self._callers)}"
            )
        return self._callers[name]


async def _nothing(_ctx: Any, _payload: Any) -> None:
    pass
