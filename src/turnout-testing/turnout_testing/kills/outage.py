"""An outage: trials get ready, a process is killed, trials act meanwhile, it is back."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final

LONGEST_PREPARATION: Final = 120.0
"""Seconds that trials have to get ready, and to act."""


class Victim(StrEnum):
    """What is killed."""

    SERVICE = "service"
    WORKER = "worker"
    SERVER = "server"


class Outage:
    """One kill that several trials share."""

    def __init__(self) -> None:
        self.killed = asyncio.Event()
        self.back = asyncio.Event()
        self.back_at = 0.0
        """When the victim was back, in monotonic seconds."""
        self._shares: list[OutageShare] = []

    def share(self) -> "OutageShare":
        """Make what one trial is given of it."""
        self._shares.append(OutageShare(self))
        return self._shares[-1]

    async def happen(
        self,
        kill: Callable[[], Awaitable[None]],
        restart: Callable[[], Awaitable[None]],
        seconds: float,
    ) -> None:
        """Kill once all trials are ready; restart when all have acted, after so many seconds."""
        async with asyncio.timeout(LONGEST_PREPARATION):
            await asyncio.gather(*(share.ready.wait() for share in self._shares))
        await kill()
        killed_at = time.monotonic()
        self.killed.set()
        async with asyncio.timeout(LONGEST_PREPARATION):
            await asyncio.gather(*(share.acted.wait() for share in self._shares))
        await asyncio.sleep(max(0.0, killed_at + seconds - time.monotonic()))
        await restart()
        self.back_at = time.monotonic()
        self.back.set()


class OutageShare:
    """The kill as one trial sees it."""

    def __init__(self, outage: Outage) -> None:
        self._outage = outage
        self.ready = asyncio.Event()
        self.acted = asyncio.Event()

    @property
    def back_at(self) -> float:
        """When the victim was back, in monotonic seconds."""
        return self._outage.back_at

    async def strikes(self) -> None:
        """Say that the trial is ready; return when the victim has been killed."""
        self.ready.set()
        await self._outage.killed.wait()

    async def is_over(self) -> None:
        """Say that the trial has acted; return when the victim is back."""
        self.acted.set()
        await self._outage.back.wait()

    def end(self) -> None:
        """Hold up nobody from now on."""
        self.ready.set()
        self.acted.set()
