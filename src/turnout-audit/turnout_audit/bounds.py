"""A bound on the processor time that one file may take."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

SECONDS = 20.0
"""Seconds of the processor for one file; a large script takes less than one."""

ALLOWANCE = 60.0
"""Seconds that all files of one process may take too long; then each has MINIMUM."""
MINIMUM = 1.0


class TookTooLong(Exception):
    """A file took more processor time than it may."""


class Allowance:
    """The processor time that a tree may lose to files that take too long."""

    def __init__(self) -> None:
        self._seconds = ALLOWANCE

    def seconds(self) -> float:
        """Return the seconds that the next file may take."""
        return min(SECONDS, max(MINIMUM, self._seconds))

    def spend(self, seconds: float) -> None:
        """Take off what a file took too long."""
        self._seconds -= seconds


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raise TookTooLong from what is done within, once it has taken so much processor time.

    Only in a main thread, where signals arrive; elsewhere nothing is bounded.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGPROF"):
        yield
        return
    before = signal.signal(signal.SIGPROF, _raise)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _raise(number: int, frame: Any) -> NoReturn:
    del number, frame
    raise TookTooLong
