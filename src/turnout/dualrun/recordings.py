"""What primaries recorded, for the shadows that repeat it."""

from collections import OrderedDict

from turnout.model.ids import primary_id
from turnout.model.runs import Attempt, Journal, Step
from turnout.ports.run_store import JournalStore

KEPT = 64 * 1024 * 1024
"""Bytes of journals held in memory; one that was let go is read again."""
EACH = 1_024
"""Bytes that a run, a step or an attempt takes beside its values, roughly."""


class Recordings:
    """Reads the journals of primaries that have ended, and keeps the latest ones at hand."""

    def __init__(self, primaries: JournalStore, *, kept: int = KEPT) -> None:
        self._primaries = primaries
        self._kept = kept
        self._journals: OrderedDict[str, Journal] = OrderedDict()
        self.held = 0
        """Bytes held now, by estimate."""

    async def fetch(self, run_id: str) -> Journal:
        """Read the primary of a shadow, or of itself, unless it is at hand."""
        name = primary_id(run_id)
        found = self._journals.get(name)
        if found is None:
            found = await self._primaries.load(name)
            self._keep(name, found)
        self._journals.move_to_end(name)
        return found

    def _keep(self, name: str, journal: Journal) -> None:
        """Hold the journal; the one that is asked for is held even if it is too large alone."""
        earlier = self._journals.pop(name, None)  # read twice at the same time
        self.held += weight(journal) - (0 if earlier is None else weight(earlier))
        self._journals[name] = journal
        while self.held > self._kept and len(self._journals) > 1:
            self.held -= weight(self._journals.popitem(last=False)[1])

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


def weight(journal: Journal) -> int:
    """Estimate the bytes that a journal takes in memory."""
    tried = sum(len(each) for each in journal.attempts.values())
    values = [journal.run.payload, journal.run.result, journal.run.progress]
    values += [each.output for each in journal.steps.values()]
    told = sum(len(each) for each in values if each is not None)
    return told + EACH * (1 + len(journal.steps) + tried)
