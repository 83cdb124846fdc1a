"""Landings: an attempt's outcome, what follows from it, and the run's end, in one commit."""

import asyncio
from collections.abc import Callable
from typing import Final

from turnout.driver.attempts import BodyOutcome, interrupt_attempt, settle_attempt
from turnout.errors import Overloaded, Refused, TurnoutError, Unavailable
from turnout.model.policies import Retries
from turnout.model.protocol import Executed, Outcome
from turnout.model.runs import Attempt, Journal, Step
from turnout.model.status import AttemptState
from turnout.model.time import Millis
from turnout.worker.answers import executed, not_run, receipt_of
from turnout.worker.changes import Draft
from turnout.worker.claims import Claimed, put_next, standing
from turnout.worker.in_flight import Flight
from turnout.worker.run_cache import Seat, Seats
from turnout.worker.runner import TRIES, Runner

PATIENCE: Final = 12
"""How often a store that does not answer is tried: for about 20 seconds."""

GoOn = Callable[[Claimed, Journal], None]
"""Starts the attempt that was claimed in the commit of the one before, in this journal."""

Ending = Callable[[Journal, Millis], tuple[Attempt, Step]]
"""Settles the attempt, and perhaps its step, from the journal as it stands."""


async def land(
    runner: Runner,
    seats: Seats,
    flight: Flight,
    outcome: BodyOutcome,
    retries: Retries,
    *,
    go_on: GoOn | None = None,
) -> None:
    """Commit an attempt's outcome, and answer its caller or go on in its name.

    go_on: starts the only attempt that comes next, which is claimed in the same commit.
    An attempt that is no longer ours commits nothing; its caller is told what stands.
    """

    def ending(journal: Journal, now: Millis) -> tuple[Attempt, Step]:
        step = journal.steps[flight.attempt.step]
        tried = journal.attempts[flight.attempt.step]
        return settle_attempt(flight.run_id, step, tried, retries, outcome, now)

    for tried in range(PATIENCE):
        try:
            async with seats.at(flight.run_id) as seat:
                flight.landing = True
                answer = await _commit(runner, seat, flight, ending, go_on)
                if answer is not None:
                    flight.answered(answer)
                return
        except Unavailable:
            flight.landing = False
            if tried == PATIENCE - 1:
                raise
        # The body has run: its outcome is worth waiting for a store that is away.
        await asyncio.sleep(min(0.1 * 2**tried, 2.0))


async def interrupt(runner: Runner, seats: Seats, flight: Flight) -> None:
    """Give an attempt back: it does not count, and another worker may begin the next at once."""

    def ending(journal: Journal, now: Millis) -> tuple[Attempt, Step]:
        name = flight.attempt.step
        # As it is recorded: what it has streamed since its claim is not recorded twice.
        return interrupt_attempt(journal.attempts[name][-1], now), journal.steps[name]

    flight.drop()
    async with seats.at(flight.run_id) as seat:
        flight.answered(Overloaded("this worker is stopping; send the call again"))
        await _commit(runner, seat, flight, ending)


async def tell_dropped(runner: Runner, seats: Seats, flight: Flight) -> None:
    """Stop an attempt that is no longer ours, and tell its caller what stands."""
    flight.drop()
    try:
        async with seats.at(flight.run_id) as seat:
            await runner.reload(seat)
            flight.answered(await _standing(runner, seat, flight))
    except Refused as error:
        flight.answered(error)
    except TurnoutError as error:
        flight.answered(error)
        raise


async def _commit(
    runner: Runner, seat: Seat, flight: Flight, ending: Ending, go_on: GoOn | None = None
) -> Executed | None:
    if seat.journal is None:
        await runner.reload(seat, for_caller=False)
    for _ in range(TRIES):
        if not _is_ours(seat.known, flight.attempt):
            if seat.fresh:
                return await _standing(runner, seat, flight)
            await runner.reload(seat, for_caller=False)
            continue
        now = runner.clock.now()
        draft = Draft(seat.known)
        attempt, step = ending(seat.known, now)
        draft.put_attempt(attempt)
        if step is not seat.known.steps[step.step]:
            draft.put_step(step)
        draft.tell(flight.here.told)
        draft.stream_of(attempt, flight.here.streamed, now)
        hot = flight.answer.done()
        decision = await runner.decide(seat, draft, now, hot=hot)
        if decision is None:
            continue
        begun = None
        if go_on is not None and not hot:
            begun = put_next(runner, draft, decision, now)
        if await runner.apply(seat, draft, standing(decision, begun), now, hot=hot):
            if go_on is not None and begun is not None:
                go_on(begun, seat.known)
                return None
            return executed(receipt_of(step, attempt), await runner.next(seat))
        await runner.reload(seat, for_caller=False)
    raise runner.contended(seat)


async def _standing(runner: Runner, seat: Seat, flight: Flight) -> Executed:
    then = await runner.look(seat, hot=flight.answer.done())
    name, number = flight.attempt.step, flight.attempt.number
    tried = seat.known.attempts.get(name, ())
    found = tried[number - 1] if number <= len(tried) else None
    if found is None or found.state is AttemptState.CLAIMED:
        return executed(not_run(name, number, Outcome.BUSY), then)
    return executed(receipt_of(seat.known.steps[name], found), then)


def _is_ours(journal: Journal, attempt: Attempt) -> bool:
    tried = journal.attempts.get(attempt.step, ())
    last = tried[-1] if tried else None
    return (
        last is not None
        and last.number == attempt.number
        and last.state is AttemptState.CLAIMED
        and last.worker == attempt.worker
        and not journal.run.state.terminal
        and journal.run.fence == attempt.fence
    )
