"""Brings a run as far as it goes: reads it, decides, and commits, until the store agrees."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from turnout.driver.decision import Decision
from turnout.driver.effects import Effects
from turnout.driver.replay import replay, replay_open
from turnout.errors import DefinitionMismatch, Overloaded, RunEnded, Superseded
from turnout.model.policies import Policies
from turnout.model.protocol import Follow, Followed, Next, RunCall
from turnout.model.runs import Calling, Journal, Run
from turnout.model.status import AttemptState, ParkReason, RunStatus
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout.model.transitions import begin, time_out
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore
from turnout.worker.answers import MOST_TOLD, followed, next_ended, next_of
from turnout.worker.changes import Draft, unparked
from turnout.worker.in_flight import Flight, Flights
from turnout.worker.run_cache import Seat

TRIES: Final = 50
"""Lost races on one run before the caller is asked to come again."""


def _worker_id() -> str:
    return f"{os.uname().nodename}-{os.getpid()}-{os.urandom(3).hex()}"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a worker works.

    alarm_grace: by provider, how late its own alarm may be before the pump wakes a run instead.
    bound: how long an execute is waited for before it is answered `accepted`; None: for ever;
    bounds has those of single providers. lease: how long a claim stands without a sign of life.
    watch_seconds: how often signs of life are given and cancels are looked for, in real time.
    inline: bytes of a result that a vendor is given; larger ones by their digest only.
    definitions: of other apps whose vendor workers are served too, during a deployment.
    providers: whose runs are served; None: any.
    """

    worker_id: str = field(default_factory=_worker_id)
    alarm_grace: Mapping[str, Millis] = field(default_factory=dict)
    default_grace: Millis = 5_000
    bound: Millis | None = 25_000
    bounds: Mapping[str, Millis | None] = field(default_factory=dict)
    lease: Millis = 15_000
    watch_seconds: float = 1.0
    inline: int = 64 * 1024
    definitions: frozenset[str] = frozenset()
    providers: frozenset[str] | None = None

    def bound_of(self, provider: str) -> Millis | None:
        """How long an execute for this provider is waited for."""
        return self.bounds.get(provider, self.bound)


@dataclass(frozen=True, kw_only=True)
class Runner:
    """One app's runs in one store, moved on by one process."""

    app: App
    store: RunStore
    clock: Clock
    effects: Effects
    options: Options
    flights: Flights

    async def claim(self, seat: Seat, call: RunCall[Any]) -> None:
        """Read the run for a vendor run that holds its live delivery, or may claim it."""
        now = self.clock.now()
        try:
            journal = await self.store.deliveries.claim(
                call.run_id, call.delivery, call.provider_run_id, now
            )
        except RunEnded:
            # The one that holds the delivery is told how it ended; any other ends quietly.
            if not await self._holds(call):
                raise
            journal = await self.store.journals.load(call.run_id)
        self._check(call, journal.run)
        seat.read(journal)
        seat.caller = (call.delivery, call.provider_run_id)

    def guess(self, seat: Seat, call: RunCall[Any], known: Run) -> Calling | None:
        """Take a run to be as it came with its delivery; who calls is to be committed with it.

        None where the run must be read: it is remembered, or its limit is looked at first.
        """
        limit = self.app.task(known.task).policies.concurrency
        if seat.journal is not None or known.seq != 0 or known.delivery != call.delivery or limit:
            return None
        self._check(call, known)
        seat.read(Journal(run=known))
        seat.fresh = False
        return Calling(
            number=call.delivery, provider_run_id=call.provider_run_id, at=self.clock.now()
        )

    async def reload(self, seat: Seat, *, for_caller: bool = True) -> None:
        """Read the run again; Superseded when the caller that is served no longer holds it."""
        try:
            journal = await self.store.journals.load(seat.run_id)
        except BaseException:
            seat.forget()
            raise
        if seat.caller is not None and seat.caller[0] != journal.run.delivery:
            seat.forget()
            if for_caller:
                raise Superseded
        seat.read(journal)

    async def look(self, seat: Seat, *, hot: bool = False, flight: Flight | None = None) -> Next:
        """Bring the run as far as it goes, and say what is next.

        hot: nobody reads the answer, so a run that can go on is woken. flight: a body that runs,
        and whose progress and chunks are to be shown.
        """
        for _ in range(TRIES):
            now = self.clock.now()
            if seat.known.run.state.terminal:
                break
            draft = Draft(seat.known)
            if flight is not None:
                self._show(flight, draft, now)
            decision = await self.decide(seat, draft, now, hot=hot)
            if decision is None:
                continue
            if await self.apply(seat, draft, decision, now, hot=hot):
                break
            await self.reload(seat)
        else:
            raise self.contended(seat)
        return await self.next(seat)

    async def decide(
        self, seat: Seat, draft: Draft, now: Millis, *, hot: bool = False
    ) -> Decision | None:
        """Say what the run does now, into the draft; None when the seat had to be read again.

        hot: an end is left to the vendor run, so that it ends with its run and as that did.
        """
        run = draft.run
        if run.deadline_at is not None and run.deadline_at <= now:
            draft.finish(time_out(run, now), self.effects, now)
            return Decision(state=RunStatus.TIMED_OUT)
        task = self.app.task(run.task)
        if run.state is RunStatus.QUEUED:
            waits = await self._not_admitted(run, task.policies, now)
            if waits is not None:
                draft.park(waits)
                return waits
            draft.merge(begin(draft.view(), task.policies.timeouts, now))
        if task.open_mode:
            decision = await replay_open(task, draft.view(), now, self.effects)
        else:
            decision = replay(task, draft.view(), now, self.effects)
        if decision.attempts and await self._revived(seat, decision, now):
            return None
        if hot and decision.state is not RunStatus.RUNNING:
            draft.record_settled(decision)
            draft.run = unparked(draft.run)
            return Decision(held=True, done=decision.done)
        draft.record(decision, self.effects, now)
        self._tell(seat, draft, decision)
        draft.stream(decision.streamed, now)
        return decision

    async def apply(
        self, seat: Seat, draft: Draft, decision: Decision, now: Millis, *, hot: bool = False
    ) -> bool:
        """Commit; False when the run has moved since it was read. The seat shows what stands."""
        if not draft.dirty:
            seat.decision = decision
            return True
        wake_at = self._wake_at(draft.run, decision, now, hot=hot)
        try:
            applied = await self.store.journals.apply(draft.change(wake_at))
        except BaseException:
            seat.forget()  # it may have been committed, or not
            raise
        if applied:
            seat.wrote(draft.committed(), decision, draft.grown)
        return applied

    async def next(self, seat: Seat, *, lease_until: Millis | None = None) -> Next:
        """Say what a vendor run does next, as the seat stands."""
        run, decision = seat.known.run, seat.decision
        if run.state.terminal or decision is None:
            return next_ended(seat.known, inline=self.options.inline)
        policies = self.app.task(run.task).policies
        ready = decision.ready
        if ready and counts_steps(policies):
            now = self.clock.now()
            ready = [each for each in ready if await self.slot(run, policies, each.command.id, now)]
        return next_of(
            run,
            decision,
            ready,
            policies.timeouts,
            inline=self.options.inline,
            lease_until=lease_until,
        )

    async def follow(self, call: Follow) -> Followed:
        """Say what a run has streamed; Superseded where another delivery holds it."""
        run, chunks = await self.store.journals.streamed(
            call.run_id, after=call.streamed, limit=MOST_TOLD
        )
        self._check(call, run)
        if run.delivery != call.delivery:
            raise Superseded
        return followed(run, chunks)

    async def slot(self, run: Run, policies: Policies, step: str, now: Millis) -> bool:
        """Whether a step may start under the task's limit; otherwise it stands in line.

        A run that was emitted before the task had a limit has no key to be counted by, and none.
        """
        if not counts_steps(policies) or run.limit_key is None:
            return True
        assert policies.concurrency is not None
        return await self.store.limits.take_slot(run.run_id, step, policies.concurrency.limit, now)

    def contended(self, seat: Seat) -> Overloaded:
        """Say that a run moves faster than it can be read."""
        return Overloaded(f"run {seat.run_id!r} changed {TRIES} times while it was being moved on")

    def _check(self, call: RunCall[Any], run: Run) -> None:
        if call.task != run.task:
            raise DefinitionMismatch(
                f"run {call.run_id!r} is of task {run.task!r}, not of {call.task!r}"
            )
        served = self.options.providers
        if served is not None and run.provider not in served:
            raise DefinitionMismatch(f"this worker does not serve provider {run.provider!r}")

    async def _holds(self, call: RunCall[Any]) -> bool:
        deliveries = await self.store.deliveries.read(call.run_id)
        last = deliveries[-1] if deliveries else None
        return (
            last is not None
            and last.number == call.delivery
            and last.provider_run_id == call.provider_run_id
        )

    async def _not_admitted(self, run: Run, policies: Policies, now: Millis) -> Decision | None:
        if run.due_at > now:
            return Decision(until=run.due_at, reasons=(ParkReason.SLEEP,))
        limit = policies.concurrency
        if limit is None or limit.counts != "runs" or run.limit_key is None:
            return None
        if await self.store.limits.take_slot(run.run_id, None, limit.limit, now):
            return None
        return Decision(reasons=(ParkReason.SLOT,))

    async def _revived(self, seat: Seat, lost: Decision, now: Millis) -> bool:
        """Make sure that leases that look lost are: they are renewed without raising the seq."""
        own = self.flights.own(seat.run_id, lost.attempts)
        if own:
            given_up = await self.store.leases.renew(own, now + self.options.lease)
            own = [each for each in own if each not in given_up]
        if own or not seat.fresh:
            await self.reload(seat)
            return True
        return False

    def _tell(self, seat: Seat, draft: Draft, decision: Decision) -> None:
        """Take up what the function said of itself, unless it only repeats it in this replay."""
        if decision.told is None or decision.told == seat.told:
            return
        news = seat.told is not None or decision.asked or decision.state is not RunStatus.RUNNING
        if news or draft.run.progress is None:
            draft.tell(decision.told)
        seat.told = decision.told

    def _show(self, flight: Flight, draft: Draft, now: Millis) -> None:
        """Take up what a running body says, as long as its attempt stands."""
        here, attempt = flight.here, flight.attempt
        draft.tell(here.told)
        tried = draft.journal.attempts.get(attempt.step, ())
        last = tried[-1] if tried else attempt
        if last.state is AttemptState.CLAIMED and last.number == attempt.number:
            # It is written whole, and its lease may have been renewed since it was read.
            alive = last._replace(lease_until=now + self.options.lease)
            draft.stream_of(alive, here.streamed, now)

    def _wake_at(self, run: Run, decision: Decision, now: Millis, *, hot: bool) -> Millis | None:
        if decision.held or (hot and decision.ready):
            return now
        if run.state.terminal or decision.until is None:
            return None
        grace = self.options.alarm_grace.get(run.provider, self.options.default_grace)
        return decision.until + grace


def counts_steps(policies: Policies) -> bool:
    """Whether each executing step of the task needs a slot."""
    return policies.concurrency is not None and policies.concurrency.counts == "steps"
