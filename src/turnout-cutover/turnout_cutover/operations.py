"""What every command of a move works with: the run store, its clock, and who is asking."""

import getpass
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from turnout.errors import UnknownTask
from turnout.model.replicas import Replica
from turnout.model.routing import Route
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore
from turnout.service.replicas import living
from turnout.service.settings import Settings
from turnout_cutover.agreement import Agreement, agreement
from turnout_cutover.gates import Evidence, evidence
from turnout_cutover.move_file import MoveFile
from turnout_cutover.outcome import refused
from turnout_cutover.route_log import RouteLog

PATIENCE: Final[Millis] = 10_000
"""How long the replicas may take to read new routes, until a command says that they did not."""

PAUSE: Final[Millis] = 100
"""Time between two looks at the replicas."""


Judge: TypeAlias = Callable[[Settings, Path, Sequence[str]], Awaitable[Mapping[str, Evidence]]]


@dataclass(frozen=True, kw_only=True)
class Operations:
    """The run store of a service, seen by an operator."""

    store: RunStore
    log: RouteLog
    clock: Clock
    settings: Settings
    move_file: MoveFile
    providers: Sequence[str]
    """The adapters that are installed here."""
    report: Callable[[str], None]
    """Shows a line of progress."""
    judge: Judge = evidence
    """Gives the verdicts of a gate file."""

    async def replicas(self) -> Sequence[Replica]:
        """Read the replicas that are alive."""
        return await living(self.store.replicas, self.clock)

    async def flag(self) -> str | None:
        """Read the flag that the replicas started with last; None: none has started."""
        flag = await self.store.flags.read()
        return None if flag is None else flag.value

    async def agreement(self) -> Agreement:
        """Compare what the replicas publish with the routes as they are."""
        return agreement(await self.replicas(), newest(await self.log.routes()))

    async def agreed(self, patience: Millis = PATIENCE) -> Agreement:
        """Wait until nothing is against the replicas' routes, or patience ends."""
        return await self.until(self.agreement, lambda latest: latest.objection() is None, patience)

    async def until(
        self,
        look: "Callable[[], Awaitable[Agreement]]",
        suffices: Callable[[Agreement], bool],
        patience: Millis,
    ) -> Agreement:
        """Look again and again, until it is enough or patience ends; return the last look."""
        end = self.clock.now() + patience
        while True:
            latest = await look()
            if suffices(latest) or self.clock.now() >= end:
                return latest
            await self.clock.sleep(PAUSE)

    async def check_environment(self, owner: str) -> None:
        """Refuse a run store of another environment than the settings'."""
        identity = await self.store.identity.read()
        environment = self.settings.environment
        if identity.environment not in (None, environment):
            raise refused(
                f"this run store belongs to the environment {identity.environment}, and here"
                f" TURNOUT_ENV is {environment}",
                next_command=f"TURNOUT_ENV={identity.environment} turnout status",
                owner=owner,
            )


def newest(routes: Mapping[str, Route]) -> int:
    """Return the number of the newest change of a route; 0: there is none."""
    return max((route.generation for route in routes.values()), default=0)


def check_tasks(
    tasks: Sequence[str], replicas: Sequence[Replica], routes: Mapping[str, Route]
) -> None:
    """UnknownTask where neither a living replica nor a route knows a task."""
    task_ids = {*routes, *(task for replica in replicas for task in replica.tasks)}
    unknown = [task for task in tasks if task not in task_ids]
    if unknown:
        raise UnknownTask(
            f"no task {', '.join(map(repr, unknown))} is known to a living replica; known:"
            f" {', '.join(sorted(task_ids)) or 'none'}"
        )


def whoami() -> str:
    """Name the operator, as this machine knows them."""
    return f"{getpass.getuser()}@{socket.gethostname()}"
