"""Kills this process at a commit of its run store: before it, or after it.

::

    failpoints = Failpoints("store.emit.before_commit:3")
    store = open_run_store(url, around=failpoints.around)

The process dies, as SIGKILL does, at the third pass of that place.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from turnout.errors import WrongUse

COMMITS: Final = (
    "emit",
    "apply",
    "claim_delivery",
    "park_on",
    "due_deliveries",
    "delivered",
    "postpone",
    "redeliver",
    "stopped",
    "take_slot",
    "due_wakes",
    "renew",
    "unprojected",
    "projected",
    "tick",
)
"""The operations of a run store that commit something about runs."""

POLLS: Final = frozenset({"due_deliveries", "due_wakes", "unprojected"})
"""The operations that are called again and again; where one gives nothing, it commits nothing."""

POINTS: Final = frozenset(
    f"store.{name}.{when}" for name in COMMITS for when in ("before_commit", "after_commit")
)
"""Every place there is."""

EMIT_IN_TRANSACTION: Final = "store.emit.before_commit"
"""The place that an emit in a transaction of the caller's own passes, before the caller commits."""


class Committed(Protocol):
    """An operation of a run store, done in the transaction that is committed."""

    @property
    def name(self) -> str:
        """The operation's name."""
        ...

    @property
    def result(self) -> Any:
        """What the operation gives its caller."""
        ...


class Failpoints:
    """Counts how often each place is passed, and kills this process at one pass of one place."""

    def __init__(self, place: str | None = None) -> None:
        """Take a place, with the number of the pass: `store.emit.before_commit:3`.

        None: only the passes are counted. WrongUse names a place that there is not.
        """
        self._place: str | None = None
        self._pass = 1
        if place is not None:
            self._place, self._pass = _read(place)
        self._passes = Counter[str]()
        self._counting = threading.Lock()

    @contextmanager
    def around(self, operations: Sequence[Committed]) -> Iterator[None]:
        """Pass the places before and after a commit of these operations."""
        names = [work.name for work in operations if work.result or work.name not in POLLS]
        for name in names:
            self.reach(f"store.{name}.before_commit")
        yield
        for name in names:
            self.reach(f"store.{name}.after_commit")

    def reach(self, place: str) -> None:
        """Pass a place; the process ends here where it is told to."""
        with self._counting:
            self._passes[place] += 1
            passes = self._passes[place]
        if place == self._place and passes >= self._pass:
            os.kill(os.getpid(), signal.SIGKILL)

    @property
    def passes(self) -> Mapping[str, int]:
        """How often each place was passed."""
        with self._counting:
            return dict(self._passes)


def _read(text: str) -> tuple[str, int]:
    place, _, number = text.partition(":")
    if place not in POINTS:
        raise WrongUse(f"no failpoint {place!r}; there are: {', '.join(sorted(POINTS))}")
    if number and (not number.isdigit() or int(number) < 1):
        raise WrongUse(f"{number!r} is not a number of passes, like {place}:3")
    return place, int(number or 1)
