"""What the owner of a process may do about its memory; a library leaves that alone."""

import gc
from typing import Final

YOUNG: Final = 10_000
"""Containers made, less those freed, before the collector looks at the young ones."""


def spare_collector() -> None:
    """Leave what is there to the end of the process, and look for rubbish less often.

    For a process that serves and nothing else, once it is open: tables, models and statements stay
    as long as it does, and nearly all that a run makes is freed without the collector.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 20)
