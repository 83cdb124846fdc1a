"""Routes of tasks, and the replicas of the service."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

import orjson
from sqlalchemy import bindparam, select

from turnout.model.canonical import canonical_bytes
from turnout.model.providers import LinkState, LinkStatus
from turnout.model.routing import Route, Stage
from turnout.ports.run_store import Replica
from turnout.stores.sql.schema import put_into, replicas, routes
from turnout.stores.sql.statements import Row, Transaction

_ROUTES: Final = select(
    routes.c.task, routes.c.stage, routes.c.old, routes.c.new, routes.c.percentage
).order_by(routes.c.task)
_PUT: Final = put_into(routes)
_BEAT: Final = put_into(replicas)
_SEEN: Final = (
    select(*replicas.c)
    .where(replicas.c.seen_at >= bindparam("since"))
    .order_by(replicas.c.replica_id)
)


def read_routes(tx: Transaction) -> Mapping[str, Route]:
    """Read the routes, by task id."""
    return {
        task: Route(stage=Stage(stage), old=old, new=new, percentage=percentage)
        for task, stage, old, new, percentage in tx.rows(_ROUTES, {})
    }


def put_route(tx: Transaction, task: str, route: Route, now: int) -> None:
    """Set a task's route."""
    values = {"task": task, "stage": route.stage.value, "old": route.old, "new": route.new}
    tx.write(_PUT, {**values, "percentage": route.percentage, "at": now})


def beat(tx: Transaction, replica: Replica) -> None:
    """Publish that a replica lives."""
    values = {"replica_id": replica.replica_id, "provider": replica.provider}
    values |= {"definition": replica.definition, "version": replica.version}
    links = canonical_bytes({name: asdict(each) for name, each in replica.links.items()})
    tx.write(_BEAT, {**values, "seen_at": replica.seen_at, "links": links})


def read_replicas(tx: Transaction, since: int) -> Sequence[Replica]:
    """Read the replicas that have beaten since."""
    return [_replica(row) for row in tx.rows(_SEEN, {"since": since})]


def _replica(row: Row) -> Replica:
    replica_id, provider, definition, version, seen_at, links = row
    return Replica(
        replica_id=replica_id,
        provider=provider,
        definition=definition,
        version=version,
        seen_at=seen_at,
        links={
            name: LinkStatus(**{**told, "state": LinkState(told["state"])})
            for name, told in orjson.loads(links or b"{}").items()
        },
    )
