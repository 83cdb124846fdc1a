"""Whether the replicas follow the routes, and which of them they have read; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from turnout.model.replicas import Replica
from turnout.model.routing import DUAL

NONE_ALIVE = (
    "no replica of the service is alive in this run store; is it the store of the service, and is"
    " the service running?"
)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What the living replicas say of their routes."""

    living: int
    current: int
    """How many go by the newest routes."""
    absolute: tuple[str, ...]
    """Those whose flag names a provider, so that they ignore routes."""
    behind: tuple[str, ...]
    """Those that have not read the newest routes, or do not say what they have read."""

    @property
    def count(self) -> str:
        """How many of how many go by the newest routes, like 4/4."""
        return f"{self.current}/{self.living}"

    def objection(self) -> str | None:
        """Say why routes must not be changed now; None: nothing is against it."""
        if not self.living:
            return NONE_ALIVE
        if self.absolute:
            return f"routes are ignored by {_list(self.absolute)}"
        if self.behind:
            return f"an older copy of the routes is in force at {_list(self.behind)}"
        return None


def agreement(replicas: Sequence[Replica], generation: int) -> Agreement:
    """Compare what the living replicas publish with the newest change of a route."""
    absolute = tuple(
        f"{replica.replica_id} (ORCHESTRATOR_PROVIDER={replica.provider})"
        for replica in replicas
        if replica.provider != DUAL
    )
    following = [replica for replica in replicas if replica.provider == DUAL]
    behind = tuple(
        f"{replica.replica_id} ({_copy(replica)})"
        for replica in following
        if replica.routes is None or replica.routes < generation
    )
    return Agreement(
        living=len(replicas),
        current=len(following) - len(behind),
        absolute=absolute,
        behind=behind,
    )


def _copy(replica: Replica) -> str:
    if replica.routes is None:
        return f"version {replica.version} does not say which routes it has"
    return f"change {replica.routes}"


def _list(replicas: tuple[str, ...]) -> str:
    return f"{len(replicas)} replica(s): {', '.join(replicas)}"
