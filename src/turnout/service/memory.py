"""Settings of the garbage collector, for a process that only serves."""

import gc
from typing import Final

YOUNG: Final = 10_000
"""The collector runs after this many allocations more than deallocations."""


def collect_rarely() -> None:
    """Look for reference cycles less often, and never among the objects that exist now.

    For a process that serves and nothing else, once it is open: tables, models and statements stay
    as long as it does, and nearly all that a run makes is freed by reference counts. It saves a
    tenth of the CPU of a run on `local` (migration_docs/benchmarks.md).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
