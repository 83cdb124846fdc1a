"""The options of a worker."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from turnout.model.time import Millis


def _worker_id() -> str:
    return f"{os.uname().nodename}-{os.getpid()}-{os.urandom(3).hex()}"


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """A worker's times and bounds, and the runs that it serves."""

    worker_id: str = field(default_factory=_worker_id)
    """The name of this process in the attempts that it claims."""
    alarm_grace: Mapping[str, Millis] = field(default_factory=dict)
    """By provider: how late its own alarm may be before the pump wakes a run instead."""
    default_grace: Millis = 5_000
    """The grace of a provider that `alarm_grace` does not name."""
    release_after: Mapping[str, Millis] = field(default_factory=dict)
    """By provider: how long a vendor run may wait until its run is released.

    A provider that frees the slot of a vendor run that waits is not named.
    """
    lookahead: Callable[[str, int], int] = lambda _provider, _limit: 0
    """How many runs of a line, of this provider and limit, are delivered before their turn."""
    bound: Millis | None = 25_000
    """How long an execute is waited for before it is answered `accepted`; None: for ever."""
    bounds: Mapping[str, Millis | None] = field(default_factory=dict)
    """The bounds of single providers."""
    lease: Millis = 15_000
    """How long a claim holds unless its lease is renewed."""
    watch_seconds: float = 1.0
    """How often leases are renewed and cancels are looked for, in real time."""
    inline: int = 64 * 1024
    """The largest result, in bytes, that a vendor gets; of a larger one it gets the digest only."""
    definitions: frozenset[str] = frozenset()
    """Definitions of other versions of the app whose workers are served during a deployment."""
    providers: frozenset[str] | None = None
    """The providers whose runs are served; None: all."""

    def bound_of(self, provider: str) -> Millis | None:
        """How long an execute for this provider is waited for."""
        return self.bounds.get(provider, self.bound)
