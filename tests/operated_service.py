"""A service as an operator sees it: its run store, and what its replicas publish."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from turnout_cutover.move_file import MoveFile
from turnout_cutover.operations import Operations, newest
from turnout_cutover.route_log import RouteLog

from turnout.model.replicas import Replica
from turnout.model.routing import DUAL
from turnout.model.time import Millis
from turnout.ports.run_store import RunStore
from turnout.service.settings import Settings

T0: Millis = 1_800_000_000_000


class LeapingClock:
    """Whoever sleeps is there at once, and what was to happen meanwhile has happened."""

    def __init__(self) -> None:
        self.time = T0
        self.meanwhile: Callable[[], object] | None = None

    def now(self) -> Millis:
        """Tell the time."""
        return self.time

    async def sleep(self, duration: Millis) -> None:
        """Be later."""
        self.time += duration
        if self.meanwhile is not None:
            result = self.meanwhile()
            if asyncio.iscoroutine(result):
                await result
        await asyncio.sleep(0)


@dataclass
class Service:
    """Replicas, of which each publishes what a test says."""

    store: RunStore
    log: RouteLog
    clock: LeapingClock
    replicas: list[Replica] = field(default_factory=list)

    async def beat(self) -> None:
        """Have every replica publish what it goes by."""
        for replica in self.replicas:
            await self.store.replicas.beat(replace(replica, seen_at=self.clock.now()))

    async def follow(self) -> None:
        """Have every replica read the routes, and publish that."""
        generation = newest(await self.log.routes())
        self.replicas = [replace(replica, routes=generation) for replica in self.replicas]
        await self.beat()

    def operations(self, **changes: object) -> Operations:
        """Make what a command works with."""
        plain = Operations(
            store=self.store,
            log=self.log,
            clock=self.clock,
            settings=Settings(),
            move_file=MoveFile(owner="anna"),
            providers=("acme", "bolt", "carl"),
            report=lambda _line: None,
        )
        return replace(plain, **changes)  # type: ignore[arg-type]


def replica(name: str, **changes: object) -> Replica:
    """Make a replica of a service that is at dual."""
    plain = Replica(
        replica_id=name,
        provider=DUAL,
        definition="d",
        version="1",
        seen_at=T0,
        tasks={"order": "1", "report": "2"},
        routes=0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]
