"""What primaries recorded, for the shadows that repeat it."""

from collections import OrderedDict

from turnout.model.ids import primary_id
from turnout.model.runs import Attempt, Journal, Step
from turnout.ports.run_store import JournalStore

CACHE_BYTES = 64 * 1024 * 1024
"""Bytes of journals kept in memory; one that was dropped is read again."""

OVERHEAD_BYTES = 1_024
"""Bytes that a run, a step or an attempt takes beside its values, roughly."""


class Recordings:
    """Reads the journals of primaries that have ended, and caches the latest ones."""

    def __init__(self, primaries: JournalStore, *, limit: int = CACHE_BYTES) -> None:
        self._primaries = primaries
        self._limit = limit
        self._journals: OrderedDict[str, Journal] = OrderedDict()
        self.cached_bytes = 0
        """Bytes that the cached journals take, by estimate."""

    async def fetch(self, run_id: str) -> Journal:
        """Read the journal of a shadow's primary, or of a primary, unless it is cached."""
        name = primary_id(run_id)
        journal = self._journals.get(name)
        if journal is None:
            journal = await self._primaries.load(name)
            self._cache(name, journal)
        self._journals.move_to_end(name)
        return journal

    def _cache(self, name: str, journal: Journal) -> None:
        """Keep the journal, even one that is too large alone, and drop the oldest ones for it."""
        replaced = self._journals.pop(name, None)  # read twice at the same time
        self.cached_bytes += weight(journal) - (0 if replaced is None else weight(replaced))
        self._journals[name] = journal
        while self.cached_bytes > self._limit and len(self._journals) > 1:
            self.cached_bytes -= weight(self._journals.popitem(last=False)[1])

    def step(self, run_id: str, step: str) -> Step | None:
        """Find a recorded step of a primary whose journal was fetched."""
        journal = self._journals.get(primary_id(run_id))
        return None if journal is None else journal.steps.get(step)

    def attempt(self, run_id: str, step: str, number: int) -> Attempt | None:
        """Find a recorded attempt by its place among those that count, from 1."""
        journal = self._journals.get(primary_id(run_id))
        attempts = () if journal is None else journal.attempts.get(step, ())
        counted = [attempt for attempt in attempts if attempt.state.counts]
        return counted[number - 1] if 0 < number <= len(counted) else None


def weight(journal: Journal) -> int:
    """Estimate the bytes that a journal takes in memory."""
    values = [journal.run.payload, journal.run.result, journal.run.progress]
    values += [step.output for step in journal.steps.values()]
    attempts = sum(map(len, journal.attempts.values()))
    records = 1 + len(journal.steps) + attempts
    return sum(len(value) for value in values if value is not None) + OVERHEAD_BYTES * records
