"""Runs claimed attempts: starts their bodies, gives signs of life, sees cancels, stops in time."""

import asyncio
import logging
import types
from collections.abc import Coroutine, Generator
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, TypeVar

from turnout.driver.context import MOST_CHUNKS, StepContext
from turnout.errors import TurnoutError, Unavailable
from turnout.model.protocol import Executed, Outcome
from turnout.model.runs import Journal
from turnout.worker.answers import executed, not_run
from turnout.worker.bodies import Bodies
from turnout.worker.claims import Claimed
from turnout.worker.commit import interrupt, land, tell_dropped
from turnout.worker.in_flight import Flight
from turnout.worker.run_cache import Seats
from turnout.worker.runner import Runner

_log = logging.getLogger("turnout.worker")

T = TypeVar("T")
Following = tuple[Flight, Claimed, Journal]
"""The next attempt of a caller that goes on."""


@dataclass(slots=True, kw_only=True)
class Crew:
    """The bodies at work in this process, and the loop that watches over them."""

    runner: Runner
    seats: Seats
    bodies: Bodies
    closing: bool = field(default=False, init=False)
    """Whether nothing more is claimed."""
    _watching: asyncio.Task[None] | None = field(default=None, init=False)

    def start(self, claimed: Claimed, journal: Journal, *, onward: bool = False) -> Flight:
        """Run a claimed attempt; its answer comes when it has landed, or at the bound.

        onward: go on with what is claimed as it lands; the answer comes when the last has landed.
        """
        loop = asyncio.get_running_loop()
        flight = self._take_off(
            claimed, journal, loop.create_future(), copy_context(), onward=onward
        )
        flight.task = loop.create_task(self._fly_on(flight, claimed, journal))
        if self._watching is None or self._watching.done():
            self._watching = loop.create_task(self._watch())
        return flight

    def _take_off(
        self,
        claimed: Claimed,
        journal: Journal,
        answer: asyncio.Future[Executed],
        context: Context,
        *,
        onward: bool,
    ) -> Flight:
        run, attempt = journal.run, claimed.attempt
        flight = Flight(
            run_id=run.run_id,
            provider=run.provider,
            attempt=attempt,
            here=StepContext(
                run_id=run.run_id,
                step=attempt.step,
                attempt=attempt.number,
                room=MOST_CHUNKS - run.chunks,
            ),
            answer=answer,
            began=asyncio.get_running_loop().time(),
            context=context,
            onward=onward,
        )
        self.runner.flights.add(flight)
        return flight

    async def once(self) -> None:
        """Renew the leases of what has run for a while; stop what is no longer ours to run."""
        older = [each for each in self.runner.flights if each.watched and not each.dropped]
        for flight in self.runner.flights:
            flight.watched += 1
        if not older:
            return
        runner = self.runner
        lease_until = runner.clock.now() + runner.options.lease
        lost = set(await runner.store.leases.renew([each.claim for each in older], lease_until))
        for flight in older:
            if flight.landing:
                continue
            if flight.claim in lost:
                await tell_dropped(runner, self.seats, flight)
            else:
                await self._keep(flight)

    async def close(self, grace: float) -> None:
        """Claim nothing more, wait for what runs up to `grace` seconds, and give the rest back."""
        self.closing = True
        flights = self.runner.flights
        tasks = [each.task for each in flights if each.task is not None]
        if tasks and grace > 0:
            await asyncio.wait(tasks, timeout=grace)
        # Again for what was claimed in a commit that was under way.
        while any(not each.dropped for each in flights):
            for flight in flights:
                if not flight.landing and not flight.dropped:
                    await self._give_back(flight)
            # Not for their tasks, which may go on with what is claimed as they land.
            await asyncio.gather(*(each.ended() for each in flights if each.landing))
        if self._watching is not None:
            self._watching.cancel()
        await self.bodies.close()

    async def _give_back(self, flight: Flight) -> None:
        try:
            await interrupt(self.runner, self.seats, flight)
        except TurnoutError:
            _log.warning(
                "an attempt could not be given back; it counts as lost when its lease runs out",
                exc_info=True,
                extra={"action": "interrupt_failed", "attempt": flight.claim},
            )

    async def _fly_on(self, flight: Flight, claimed: Claimed, journal: Journal) -> None:
        """Run an attempt, and those that are claimed as the one before them lands."""
        following: Following | None = (flight, claimed, journal)
        while following is not None:
            following = await self._fly(*following)

    async def _fly(self, flight: Flight, claimed: Claimed, journal: Journal) -> "Following | None":
        following: Following | None = None

        def go_on(begun: Claimed, journal: Journal) -> None:
            nonlocal following
            then = self._take_off(begun, journal, flight.answer, flight.context, onward=True)
            then.task = flight.task
            following = (then, begun, journal)

        body = self.bodies.run(claimed.command, flight.here, journal, claimed.limit)
        try:
            # A context of its own: what one body sets in it the next one does not see.
            outcome = await within(flight.context.copy(), body)
            if not flight.dropped:
                then = go_on if flight.onward and not self.closing else None
                await land(self.runner, self.seats, flight, outcome, claimed.retries, go_on=then)
        except asyncio.CancelledError:
            if not flight.dropped:
                flight.answered(Unavailable("this worker was stopped; send the call again"))
                raise
        except Exception as error:  # noqa: BLE001 - the edge of a task: nobody else would see it
            # Its lease runs out and the attempt counts as lost: nothing is stranded.
            _log.exception(
                "an attempt could not be committed",
                extra={"action": "attempt_not_committed", "attempt": flight.claim},
            )
            flight.answered(error if isinstance(error, TurnoutError) else Unavailable())
        finally:
            self.runner.flights.end(flight)
        return following

    async def _watch(self) -> None:
        options = self.runner.options
        bounds = [each for each in (options.bound, *options.bounds.values()) if each is not None]
        pause = min([options.watch_seconds, *(bound / 1_000 for bound in bounds)])
        while len(self.runner.flights):
            await asyncio.sleep(pause)
            try:
                await self.once()
            except Exception:  # noqa: BLE001 - the edge of a task: it goes on whatever one turn ran into
                _log.warning(
                    "the watch over running steps failed; it goes on",
                    exc_info=True,
                    extra={"action": "watch_failed"},
                )

    async def _keep(self, flight: Flight) -> None:
        """Tell a caller who has waited long that the step goes on; show how far it says it is."""
        bound = self.runner.options.bound_of(flight.provider)
        waited = (asyncio.get_running_loop().time() - flight.began) * 1_000
        late = bound is not None and waited >= bound and not flight.answer.done()
        said = (flight.here.told, len(flight.here.streamed))
        if not late and said == flight.shown:
            return
        async with self.seats.at(flight.run_id) as seat:
            if flight.landing or flight.dropped:
                return
            if seat.journal is None:
                await self.runner.reload(seat, for_caller=False)
            # Nobody but a late caller reads what is next: hot, so that nothing is left lying.
            then = await self.runner.look(seat, hot=not late, flight=flight)
            flight.shown = said
            if late:
                name, number = flight.attempt.step, flight.attempt.number
                flight.answered(executed(not_run(name, number, Outcome.ACCEPTED), then))


@types.coroutine
def within(context: Context, coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await a coroutine in a context that is not the task's own."""
    step, given = coroutine.send, None
    try:
        while True:
            waited = context.run(step, given)
            try:
                step, given = coroutine.send, (yield waited)
            except BaseException as error:  # noqa: BLE001 - whatever is thrown in is the coroutine's
                step, given = coroutine.throw, error
    except StopIteration as done:
        found: T = done.value
        return found
