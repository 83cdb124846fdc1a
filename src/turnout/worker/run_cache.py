"""What this process remembers of runs, so that a step needs no read.

A remembered journal is a guess: every commit is guarded by the run's seq in the store, and a guess
that was wrong is read anew. One seat per run; its lock keeps this process from racing itself.
"""

import asyncio
from collections import OrderedDict
from typing import Final

from turnout.driver.decision import Decision
from turnout.model.runs import Journal

MOST_SEATS: Final = 2_000
LARGEST_JOURNAL: Final = 64 * 1024
"""Bytes of outputs; a larger journal is read each time."""


class Seat:
    """One run as this process last saw it."""

    __slots__ = (
        "caller",
        "decision",
        "fresh",
        "journal",
        "lock",
        "run_id",
        "told",
        "users",
        "weight",
    )

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.lock = asyncio.Lock()
        self.users = 0
        self.journal: Journal | None = None
        self.decision: Decision | None = None
        """What was decided from the journal; None when that has not been asked yet."""
        self.told: bytes | None = None
        """What the task function itself last said of its progress."""
        self.caller: tuple[int, str] | None = None
        """The delivery and the vendor run that are known to hold the run."""
        self.fresh = False
        """Whether the journal was read while this seat has been held."""
        self.weight = 0
        """The bytes of the journal's outputs, or a little more."""

    def read(self, journal: Journal) -> None:
        """Take a journal as the store has it."""
        if self.journal is None or self.journal.run.seq != journal.run.seq:
            self.decision = None
        self.journal = journal
        self.fresh = True
        outputs = [each.output for each in journal.steps.values() if each.output is not None]
        self.weight = len(journal.run.payload) + sum(map(len, outputs))

    def wrote(self, journal: Journal, decision: Decision, grown: int) -> None:
        """Take a journal as it was just committed, grown by so many bytes of outputs."""
        self.journal = journal
        self.decision = decision
        self.weight += grown

    def forget(self) -> None:
        """Know nothing any more."""
        self.journal = self.decision = self.caller = None
        self.fresh = False

    @property
    def known(self) -> Journal:
        """The journal, which has been read."""
        assert self.journal is not None
        return self.journal


class Seats:
    """The runs that this process remembers, least recently used first."""

    def __init__(self) -> None:
        self._seats: OrderedDict[str, Seat] = OrderedDict()

    def at(self, run_id: str) -> "_Held":
        """Hold a run's seat in an `async with`; others of this process wait."""
        seat = self._seats.get(run_id)
        if seat is None:
            seat = self._seats[run_id] = Seat(run_id)
        else:
            self._seats.move_to_end(run_id)
        return _Held(self, seat)

    def leave(self, seat: Seat) -> None:
        """Forget a seat that nobody holds, where it is not worth its memory."""
        if seat.users:
            return
        journal = seat.journal
        if journal is None or journal.run.state.terminal or seat.weight > LARGEST_JOURNAL:
            self._seats.pop(seat.run_id, None)
        while len(self._seats) > MOST_SEATS:
            oldest = next(iter(self._seats.values()))
            if oldest.users:
                break
            self._seats.popitem(last=False)


class _Held:
    """A seat while it is held; a class, because a generator costs more than the rest of it."""

    __slots__ = ("_seat", "_seats")

    def __init__(self, seats: Seats, seat: Seat) -> None:
        self._seats = seats
        self._seat = seat

    async def __aenter__(self) -> Seat:
        seat = self._seat
        seat.users += 1
        try:
            await seat.lock.acquire()
        except BaseException:
            self._left()
            raise
        seat.fresh = False
        return seat

    async def __aexit__(self, *_: object) -> None:
        self._seat.lock.release()
        self._left()

    def _left(self) -> None:
        self._seat.users -= 1
        self._seats.leave(self._seat)
