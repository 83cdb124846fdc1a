"""Leads a job: works while this replica holds the lease, and stops at once when it does not."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from turnout.errors import StoreUnavailable
from turnout.model.time import Millis
from turnout_tracking.leaders import LeaderStore, Lease, LeaseLost

LENGTH: Final[Millis] = 15_000
"""For how long a lease is taken."""
RENEWALS: Final = 3
"""How often it is renewed in that time."""

log = logging.getLogger(__name__)


async def lead(
    leaders: LeaderStore,
    job: str,
    holder: str,
    work: Callable[[Lease], Awaitable[None]],
    *,
    length: Millis = LENGTH,
    monotonic: Callable[[], float] = time.monotonic,
) -> bool:
    """Do the work if this replica may lead the job, and resign; False: another one leads it.

    What the work raises is raised, after it has resigned.
    LeaseLost: the lease was lost on the way, and the work was cancelled. The store may not answer
    for as long as the lease lasts: then it counts as lost, too, though nobody may have taken it.
    """
    taken_at = monotonic()
    lease = await leaders.take(job, holder, length)
    if lease is None:
        return False
    working = asyncio.ensure_future(work(lease))
    renewing = asyncio.ensure_future(_renew(leaders, lease, length, taken_at, monotonic))
    try:
        await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise LeaseLost(f"{holder} leads {job!r} no more")
    finally:
        working.cancel()
        renewing.cancel()
        await asyncio.gather(working, renewing, return_exceptions=True)
    await leaders.resign(lease)
    await working
    return True


async def _renew(
    leaders: LeaderStore,
    lease: Lease,
    length: Millis,
    taken_at: float,
    monotonic: Callable[[], float],
) -> None:
    """Renew the lease until it is lost; the time before it was asked for counts."""
    until = taken_at + length / 1_000
    while True:
        await asyncio.sleep(max(0, min(length / RENEWALS / 1_000, until - monotonic())))
        asked_at = monotonic()
        try:
            async with asyncio.timeout(max(0, until - asked_at)):
                if not await leaders.renew(lease, length):
                    return
        except TimeoutError:
            return
        except StoreUnavailable as error:
            log.warning(
                "the lease of a leader was not renewed; tried again",
                extra={"action": "lead", "job": lease.job, "error": str(error)},
            )
        else:
            until = asked_at + length / 1_000
