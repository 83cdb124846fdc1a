"""Places where a test may kill this process: before and after each commit.

`TURNOUT_FAILPOINT=store.emit.before_commit:3` kills it, as SIGKILL does, at the third pass of that
place. Without the variable a place costs one look into the environment.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from typing import Final

from turnout.errors import InvalidSettings

VARIABLE: Final = "TURNOUT_FAILPOINT"

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
"""The run store's methods that commit something about runs."""

POLLS: Final = frozenset({"due_deliveries", "due_wakes", "unprojected"})
"""Those that are asked again and again; one that finds nothing to take commits nothing."""

POINTS: Final = frozenset(
    f"store.{name}.{when}" for name in COMMITS for when in ("before_commit", "after_commit")
)
"""Every place there is."""

_passes: Final = Counter[str]()
_counting: Final = threading.Lock()


def armed() -> bool:
    """Whether any place is armed: asked once for many passes."""
    return VARIABLE in os.environ


def reach(name: str) -> None:
    """Pass a place; die here if the environment says so."""
    armed = os.environ.get(VARIABLE)
    if armed is None:
        return
    place, times = _read(armed)
    with _counting:
        _passes[name] += 1
        passes = _passes[name]
    if place == name and passes >= times:
        os.kill(os.getpid(), signal.SIGKILL)


def passed() -> Mapping[str, int]:
    """Say how often each place was passed while any was armed."""
    with _counting:
        return dict(_passes)


def _read(armed: str) -> tuple[str, int]:
    place, _, times = armed.partition(":")
    if place not in POINTS:
        raise InvalidSettings(
            f"{VARIABLE}: no place {place!r}; there are: {', '.join(sorted(POINTS))}"
        )
    if times and (not times.isdigit() or int(times) < 1):
        raise InvalidSettings(f"{VARIABLE}: {times!r} is not a number of passes, like {place}:3")
    return place, int(times or 1)
