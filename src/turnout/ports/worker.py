"""The worker plane: what a durable caller calls."""

from typing import Protocol

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
    Report,
    Tick,
    Ticked,
)
from turnout.model.runs import Run


class Worker(Protocol):
    """Runs a task one call at a time; every call is idempotent.

    Every method raises Superseded or RunEnded when the vendor run must end quietly,
    DefinitionMismatch when its worker is of another protocol or definition, Unavailable when the
    same call should be made again later.
    """

    async def advance(self, call: Advance) -> Next:
        """Claim the delivery for this vendor run, replay, and say what to do next."""
        ...

    async def execute(self, call: Execute) -> Executed:
        """Run one attempt of a step once, and commit its outcome with what follows."""
        ...

    async def run_on(self, call: Advance | Execute, *, known: Run | None = None) -> Next:
        """Advance or execute, and then execute what comes next while that is one attempt alone.

        For a caller in the worker's own process: what it would ask for in calls, in fewer commits.
        known: the run as it came with its delivery, which saves a read if it still stands so. The
        Next is what is left to do.
        """
        ...

    async def park(self, call: Park) -> Parked:
        """Record what the vendor run will wait on, unless there is something to do already."""
        ...

    async def follow(self, call: Follow) -> Followed:
        """Read what the run has streamed beyond what the vendor run has passed on."""
        ...

    async def report(self, call: Report) -> None:
        """Take a hint about the vendor run; nothing is believed, it is looked at."""
        ...

    async def probe(self, call: Probe) -> Probed:
        """Say that this worker is there, knows the caller's definition, and what its time is."""
        ...

    async def tick(self, call: Tick) -> Ticked:
        """Claim a schedule's slot and start its run, in one transaction; at most once a slot."""
        ...
