"""A process that leads a job under a machine's clock that is wrong, until it is killed.

Arguments: the run store's URL; by how many seconds the clock is ahead.
"""

import asyncio
import sys
import time

from turnout_tracking.leaders import Lease, open_leaders
from turnout_tracking.leading import lead

from turnout.stores.sql import open_run_store

HOUR = 3_600_000


async def work(lease: Lease) -> None:
    """Say which fence it has, and go on for ever."""
    print(lease.fence, flush=True)  # noqa: T201
    await asyncio.Event().wait()


if __name__ == "__main__":
    url, ahead = sys.argv[1], float(sys.argv[2])
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + ahead
    time.time_ns = lambda: true_time_ns() + int(ahead * 1e9)
    asyncio.run(lead(open_leaders(open_run_store(url)), "job", "killed", work, length=HOUR))
