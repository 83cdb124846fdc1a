"""The replicas of the service."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson
from sqlalchemy import BigInteger, bindparam, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from turnout.model.canonical import canonical_bytes
from turnout.model.providers import LinkState, LinkStatus
from turnout.model.replicas import Replica
from turnout.model.time import Millis
from turnout.stores.sql.expressions import put_into
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.schema import replicas
from turnout.stores.sql.statements import Row, Transaction

_BEAT: Final = put_into(replicas)
_READ: Final = (
    select(*replicas.c)
    .where(replicas.c.seen_at >= bindparam("since"))
    .order_by(replicas.c.replica_id)
)


class SqlReplicaStore(StorePart):
    """The replicas of the service."""

    @writes("beat", key="beat")
    def beat(self, tx: Transaction, replica: Replica) -> None:
        """Publish that a replica is alive."""
        values = {"replica_id": replica.replica_id, "provider": replica.provider}
        values |= {"definition": replica.definition, "version": replica.version}
        links = canonical_bytes({name: asdict(link) for name, link in replica.links.items()})
        tasks = canonical_bytes(dict(replica.tasks))
        numbers = {"seen_at": replica.seen_at, "clock_ahead": replica.clock_ahead}
        numbers |= {"routes": replica.routes, "routes_read_at": replica.routes_read_at}
        tx.write(_BEAT, {**values, **numbers, "links": links, "tasks": tasks})

    @reads("replicas")
    def read(self, tx: Transaction, *, since: Millis) -> Sequence[Replica]:
        """Read the replicas that have published since."""
        return [_replica(row) for row in tx.rows(_READ, {"since": since})]

    @reads("time")
    def database_time(self, tx: Transaction) -> Millis | None:
        """Read the server's clock; None on SQLite, which has the machine's."""
        ((now,),) = tx.rows(_TIME, {})
        return None if now is None else int(now)


class _ServerTime(FunctionElement[int]):
    """The server's time in milliseconds, as it is now; null where there is no server."""

    inherit_cache = True
    type = BigInteger()


@compiles(_ServerTime)
def _none(*_arguments: Any, **_options: Any) -> str:
    return "NULL"


@compiles(_ServerTime, "postgresql")
def _clock_timestamp(*_arguments: Any, **_options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"


_TIME: Final = select(_ServerTime())


def _replica(row: Row) -> Replica:
    replica_id, provider, definition, version, seen_at, links, clock_ahead, tasks, *of_routes = row
    routes, routes_read_at = of_routes
    return Replica(
        replica_id=replica_id,
        provider=provider,
        definition=definition,
        version=version,
        seen_at=seen_at,
        links={
            name: LinkStatus(**{**link, "state": LinkState(link["state"])})
            for name, link in orjson.loads(links or b"{}").items()
        },
        clock_ahead=clock_ahead,
        tasks=orjson.loads(tasks or b"{}"),
        routes=routes,
        routes_read_at=routes_read_at,
    )
