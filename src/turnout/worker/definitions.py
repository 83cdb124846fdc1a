"""Whether a caller of another version of the app may be served: task by task."""

from collections.abc import Sequence
from typing import Any, Final

from turnout.errors import DefinitionMismatch, Unavailable
from turnout.model.protocol import Call, Probe, RunCall
from turnout.model.replicas import ALIVE, Replica
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.run_store import ReplicaStore

REMEMBERED: Final[Millis] = 30 * 86_400_000
"""For how long the definitions of a replica that is gone are looked at."""
READ_EVERY: Final[Millis] = 1_000


class Definitions:
    """Checks the definition that a caller knows against those that replicas publish."""

    def __init__(
        self, app: App, replicas: ReplicaStore, clock: Clock, accepted: frozenset[str]
    ) -> None:
        """accepted: definitions of the whole app that are served whatever they say."""
        self._app = app
        self._replicas = replicas
        self._clock = clock
        self._accepted = accepted | {app.definition, ""}
        self._published: Sequence[Replica] = ()
        self._read_at: Millis | None = None

    async def check(self, call: Call[Any]) -> None:
        """Raise where the caller's task is not ours: another replica may serve it, or none does.

        Unavailable while a living replica publishes the caller's definition; DefinitionMismatch
        otherwise. A definition in which the task itself is as here is served.
        """
        if not isinstance(call, RunCall | Probe) or call.definition in self._accepted:
            return
        publishers = [
            replica for replica in await self._read() if replica.definition == call.definition
        ]
        own_tasks = self._app.task_definitions
        if isinstance(call, RunCall) and any(
            call.task in own_tasks and replica.tasks.get(call.task) == own_tasks[call.task]
            for replica in publishers
        ):
            return
        mismatch = f"the caller knows definition {call.definition[:80]!r}"
        if any(replica.seen_at > self._clock.now() - ALIVE for replica in publishers):
            raise Unavailable(f"{mismatch}, which another replica serves; send the call again")
        raise DefinitionMismatch(
            f"{mismatch}, this worker {self._app.definition!r}; deploy both from the same tasks"
        )

    async def _read(self) -> Sequence[Replica]:
        now = self._clock.now()
        if self._read_at is None or not 0 <= now - self._read_at < READ_EVERY:
            self._published = await self._replicas.read(since=now - REMEMBERED)
            self._read_at = now
        return self._published
