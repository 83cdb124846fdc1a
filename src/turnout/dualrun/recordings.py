"""What primaries recorded, for the shadows that repeat it."""

from collections import OrderedDict

from turnout.model.ids import primary_id
from turnout.model.runs import Attempt, Journal, Step
from turnout.ports.run_store import KeepsJournals

KEPT = 2_000
"""Journals held in memory; one that was let go is read again."""


class Recordings:
    """Reads the journals of primaries that have ended, and keeps the latest ones at hand."""

    def __init__(self, primaries: KeepsJournals) -> None:
        self._primaries = primaries
        self._journals: OrderedDict[str, Journal] = OrderedDict()

    async def fetch(self, run_id: str) -> Journal:
        """Read the primary of a shadow, or of itself, unless it is at hand."""
        name = primary_id(run_id)
        found = self._journals.get(name)
        if found is None:
            found = await self._primaries.load(name)
            self._journals[name] = found
            while len(self._journals) > KEPT:
                self._journals.popitem(last=False)
        self._journals.move_to_end(name)
        return found

    def step(self, run_id: str, step: str) -> Step | None:
        """Find a recorded step of a primary that was fetched."""
        journal = self._journals.get(primary_id(run_id))
        return None if journal is None else journal.steps.get(step)

    def attempt(self, run_id: str, step: str, number: int) -> Attempt | None:
        """Find a recorded attempt by its place among those that count, from 1."""
        journal = self._journals.get(primary_id(run_id))
        tried = () if journal is None else journal.attempts.get(step, ())
        counted = [each for each in tried if each.state.counts]
        return counted[number - 1] if 0 < number <= len(counted) else None
