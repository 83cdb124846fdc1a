"""A sign of life waits for nothing but the run store."""

import asyncio
from typing import Any

import pytest

from turnout.service import heartbeat
from turnout.service.heartbeat import Heartbeat


class Hanging:
    """A provider whose schedules cannot be armed: it does not answer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def arm_changed(self, _ready: Any, *, force: bool) -> None:
        self.asked.set()
        await asyncio.Event().wait()

    def ready(self, _provider: str) -> bool:
        return True


class Counting:
    """A store of replicas, and slots, that count what is asked of them; each ask fails."""

    def __init__(self) -> None:
        self.beats = self.catch_ups = 0

    async def beat(self, _replica: Any) -> None:
        self.beats += 1
        raise OSError

    async def catch_up(self) -> int:
        self.catch_ups += 1
        raise OSError


async def test_a_provider_that_does_not_answer_holds_up_no_beat(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While schedules are being armed, the replica goes on to give signs of life."""
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.001)
    hanging, counting = Hanging(), Counting()
    beating = Heartbeat(
        replicas=counting,  # type: ignore[arg-type]
        replica=lambda: None,  # type: ignore[arg-type, return-value]
        slots=counting,  # type: ignore[arg-type]
        schedules=hanging,  # type: ignore[arg-type]
        registrar=hanging,  # type: ignore[arg-type]
    )
    running = asyncio.create_task(beating.run())
    async with asyncio.timeout(30):
        await hanging.asked.wait()
        seen = counting.beats
        while counting.beats < seen + 3 or counting.catch_ups < 3:
            await asyncio.sleep(0.001)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
