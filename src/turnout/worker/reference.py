"""A worker whose answers hold no data of the user's: what a vendor is told by reference only."""

from turnout.model.protocol import (
    Advance,
    Execute,
    Executed,
    Follow,
    Followed,
    Next,
    Park,
    Parked,
    Probe,
    Probed,
    Problem,
    Report,
    Tick,
    Ticked,
)
from turnout.model.runs import Run
from turnout.ports.worker import Worker

WITHHELD = "the message is kept in Turnout's run store"


class Discreet:
    """Makes every call on another worker, and leaves results, messages, progress and streams out.

    What is left are ids, digests, states, names of errors, and times.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def advance(self, call: Advance) -> Next:
        """Advance; without data."""
        return _next(await self._worker.advance(call))

    async def execute(self, call: Execute) -> Executed:
        """Run the attempt; without data."""
        done = await self._worker.execute(call)
        receipt = done.receipt.model_copy(update={"error": _problem(done.receipt.error)})
        return done.model_copy(update={"receipt": receipt, "next": _next(done.next)})

    async def run_on(self, call: Advance | Execute, *, known: Run | None = None) -> Next:
        """Run on for a caller in process, which is no vendor: nothing is left out."""
        return await self._worker.run_on(call, known=known)

    async def park(self, call: Park) -> Parked:
        """Park; without data."""
        parked = await self._worker.park(call)
        told = None if parked.next is None else _next(parked.next)
        return parked.model_copy(update={"next": told})

    async def follow(self, call: Follow) -> Followed:
        """Follow; there is nothing to pass on."""
        found = await self._worker.follow(call)
        return Followed(seq=found.seq, recorded=0)

    async def report(self, call: Report) -> None:
        """Take the hint."""
        await self._worker.report(call)

    async def tick(self, call: Tick) -> Ticked:
        """Claim the slot."""
        return await self._worker.tick(call)

    async def probe(self, call: Probe) -> Probed:
        """Answer the probe."""
        return await self._worker.probe(call)


def _next(said: Next) -> Next:
    result = said.result and said.result.model_copy(update={"inline": None})
    progress = said.progress.model_copy(update={"told": None, "chunks": 0})
    return said.model_copy(
        update={"result": result, "error": _problem(said.error), "progress": progress}
    )


def _problem(error: Problem | None) -> Problem | None:
    return None if error is None else error.model_copy(update={"message": WITHHELD})
