"""What every command of a move works with: the run store, its clock, and who is asking."""

import getpass
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from turnout.errors import ProviderUnavailable, UnknownProvider, UnknownTask
from turnout.model.replicas import Replica
from turnout.model.routing import Route
from turnout.model.time import Millis
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock
from turnout.ports.run_store import RunStore
from turnout.service.process import Turnout
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
        end = self.clock.now() + patience
        while True:
            latest = await self.agreement()
            if latest.objection() is None or self.clock.now() >= end:
                return latest
            await self.clock.sleep(PAUSE)

    def check_providers(self, *names: str) -> None:
        """UnknownProvider where no adapter of a name is installed; it names those that are."""
        unknown = [name for name in names if name not in self.providers]
        if unknown:
            raise UnknownProvider(
                f"no adapter named {' or '.join(map(repr, unknown))} is installed; installed:"
                f" {', '.join(self.providers)}"
            )

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


def known_tasks(replicas: Sequence[Replica], routes: Mapping[str, Route]) -> set[str]:
    """Return the ids of the tasks that a living replica or a route knows."""
    return {*routes, *(task for replica in replicas for task in replica.tasks)}


def check_tasks(
    tasks: Sequence[str], replicas: Sequence[Replica], routes: Mapping[str, Route]
) -> None:
    """UnknownTask where neither a living replica nor a route knows a task."""
    task_ids = known_tasks(replicas, routes)
    unknown = [task for task in tasks if task not in task_ids]
    if unknown:
        raise UnknownTask(
            f"no task {', '.join(map(repr, unknown))} is known to a living replica; known:"
            f" {', '.join(sorted(task_ids)) or 'none'}"
        )


def caller_of(live: Turnout, provider: str) -> DurableCaller:
    """Return a provider's caller; ProviderUnavailable where its settings are not complete here."""
    caller = live.callers.get(provider)
    if caller is None:
        raise ProviderUnavailable(f"{provider} is not set up here, so it cannot be read")
    return caller


def whoami() -> str:
    """Name the operator, as this machine knows them; a user of a container may have no name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "an operator"
    return f"{user}@{socket.gethostname()}"
