"""Ids of events, in the order in which this process records them."""

import os
import threading

from turnout.model.ids import new_run_id
from turnout.model.time import Millis


class OrderedIds:
    """Makes ids like those of runs; each sorts after the one before, also within a millisecond."""

    def __init__(self) -> None:
        self._last = (0, 0)
        self._lock = threading.Lock()

    def new(self, now: Millis) -> str:
        """Make the next id."""
        draw = int.from_bytes(os.urandom(9))
        with self._lock:
            last, last_draw = self._last
            self._last = (now, draw) if now > last else (last, last_draw + 1)
            moment, draw = self._last
        return new_run_id(moment, draw=draw.to_bytes(10))
