"""The worker plane: an app's tasks, run one call at a time over a run store."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar

from turnout.driver.effects import Effects, LiveEffects
from turnout.errors import DefinitionMismatch, Unavailable
from turnout.model.protocol import (
    PROTOCOL,
    Advance,
    Call,
    Execute,
    Executed,
    Follow,
    Followed,
    Next,
    Park,
    Parked,
    Probe,
    Probed,
    Report,
    RunCall,
    Tick,
    Ticked,
)
from turnout.model.runs import Run
from turnout.model.tasks import App
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore
from turnout.worker.bodies import Bodies, LiveBodies
from turnout.worker.claims import Claimed, begin_attempt, begin_next
from turnout.worker.executor import Crew
from turnout.worker.in_flight import Flights
from turnout.worker.run_cache import Seat, Seats
from turnout.worker.runner import TRIES, Options, Runner

AnswerT = TypeVar("AnswerT")

OnReport: TypeAlias = Callable[[Report], Awaitable[None]]
OnTick: TypeAlias = Callable[[Tick], Awaitable[Ticked]]


class TaskWorker:
    """Runs an app's tasks for durable callers: the ports `Worker` and `RunsOn`, with a close.

    on_report and on_tick are the control plane's part; they may be set after it has been made.
    """

    def __init__(
        self,
        *,
        app: App,
        store: RunStore,
        clock: Clock,
        bodies: Bodies | None = None,
        effects: Effects | None = None,
        options: Options | None = None,
        on_report: OnReport | None = None,
        on_tick: OnTick | None = None,
    ) -> None:
        self.on_report = on_report
        self.on_tick = on_tick
        self._seats = Seats()
        self._runner = Runner(
            app=app,
            store=store,
            clock=clock,
            effects=effects or LiveEffects(app),
            options=options or Options(),
            flights=Flights(),
        )
        self._crew = Crew(
            runner=self._runner, seats=self._seats, bodies=bodies or LiveBodies(clock)
        )
        self._answers: Mapping[type[Call[Any]], Callable[[Any], Awaitable[Any]]] = {
            Advance: self._advance,
            Execute: self._execute,
            Park: self._park,
            Follow: self._follow,
            Report: self._report,
            Tick: self._tick,
            Probe: self._probe,
        }

    async def answer(self, call: Call[AnswerT]) -> AnswerT:
        """Answer one message of the step protocol."""
        self._check(call)
        answer: AnswerT = await self._answers[type(call)](call)
        return answer

    async def run_on(self, call: Advance | Execute, *, known: Run | None = None) -> Next:
        """Advance or execute, and then execute what comes next while that is one attempt alone.

        Each is claimed before its body runs: in the commit that ends the one before, or that
        begins the run.
        """
        self._check(call)
        async with self._seats.at(call.run_id) as seat:
            if isinstance(call, Execute):
                begun: Claimed | Executed | Next = await self._begin(seat, call)
            else:
                begun = await self._begin_next(seat, call, known)
            if isinstance(begun, Executed):
                return begun.next
            if isinstance(begun, Next):
                return begun
            flight = self._crew.start(begun, seat.known, onward=True)
        return (await flight.answer).next

    async def _advance(self, call: Advance) -> Next:
        """Claim the delivery for this vendor run, replay, and say what to do next."""
        async with self._seats.at(call.run_id) as seat:
            await self._runner.claim(seat, call)
            return await self._runner.look(seat)

    async def _execute(self, call: Execute) -> Executed:
        """Run one attempt of a step once, and commit its outcome with what follows.

        The Next that comes with it is all the caller needs; it need not advance before it goes on.
        """
        async with self._seats.at(call.run_id) as seat:
            begun = await self._begin(seat, call)
            if isinstance(begun, Executed):
                return begun
            flight = self._crew.start(begun, seat.known)
        return await flight.answer

    async def _park(self, call: Park) -> Parked:
        """Record what the vendor run will wait on, unless there is something to do already."""
        runner = self._runner
        async with self._seats.at(call.run_id) as seat:
            await runner.claim(seat, call)
            for _ in range(TRIES):
                found = await runner.look(seat)
                if found.seq != call.seq or not self._idle(found):
                    return Parked(go=False, next=found)
                token = call.token
                if await runner.store.deliveries.park(call.run_id, call.delivery, call.seq, token):
                    return Parked(go=True)
                await runner.reload(seat)
            raise runner.contended(seat)

    async def _follow(self, call: Follow) -> Followed:
        """Read what the run has streamed beyond what the vendor run has passed on."""
        return await self._runner.follow(call)

    async def _report(self, call: Report) -> None:
        """Take a hint about the vendor run; nothing is believed, it is looked at."""
        if self.on_report is not None:
            await self.on_report(call)

    async def _tick(self, call: Tick) -> Ticked:
        """Claim a schedule's slot and start its run, in one transaction; at most once a slot."""
        if self.on_tick is None:
            raise Unavailable("this worker has no schedules; start it with its control plane")
        return await self.on_tick(call)

    async def _probe(self, _call: Probe) -> Probed:
        """Say that this worker is there, knows the caller's definition, and what its time is."""
        return Probed(at=self._runner.clock.now())

    async def expire(self, run_id: str) -> None:
        """Count the attempts whose lease has run out as lost, and wake the run to go on."""
        async with self._seats.at(run_id) as seat:
            await self._runner.reload(seat, for_caller=False)
            if seat.known.attempts:
                await self._runner.look(seat, hot=True)

    async def time_out(self, run_id: str) -> None:
        """End the run if its deadline has passed."""
        async with self._seats.at(run_id) as seat:
            await self._runner.reload(seat, for_caller=False)
            deadline = seat.known.run.deadline_at
            if deadline is not None and deadline <= self._runner.clock.now():
                await self._runner.look(seat, hot=True)

    async def watch(self) -> None:
        """Give a sign of life for what runs here, and stop what is no longer wanted.

        Done by itself every `watch_seconds` while something runs.
        """
        await self._crew.once()

    async def close(self, grace: float = 10.0) -> None:
        """Claim nothing more, wait for what runs up to `grace` seconds, and give the rest back."""
        await self._crew.close(grace)

    async def _begin(self, seat: Seat, call: Execute) -> Claimed | Executed:
        if seat.journal is None or seat.caller != (call.delivery, call.provider_run_id):
            await self._runner.claim(seat, call)
        return await begin_attempt(self._runner, seat, call, closing=self._crew.closing)

    async def _begin_next(self, seat: Seat, call: Advance, known: Run | None) -> Claimed | Next:
        if self._crew.closing:
            await self._runner.claim(seat, call)
            return await self._runner.look(seat)
        begun = await begin_next(self._runner, seat, call, known=known)
        return begun or await self._runner.next(seat)

    def _idle(self, found: Next) -> bool:
        if found.run or found.park is None:
            return False
        return found.park.until is None or found.park.until > self._runner.clock.now()

    def _check(self, call: Call[Any]) -> None:
        if call.protocol != PROTOCOL:
            raise DefinitionMismatch(
                f"the caller speaks protocol {call.protocol}, this worker {PROTOCOL};"
                " deploy both again"
            )
        if isinstance(call, RunCall | Probe):
            self._check_definition(call.definition)

    def _check_definition(self, definition: str) -> None:
        own = self._runner.app.definition
        if definition and definition != own and definition not in self._runner.options.definitions:
            raise DefinitionMismatch(
                f"the caller knows definition {definition[:80]!r}, this worker {own!r};"
                " deploy both from the same tasks"
            )
