"""The replicas of the service."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import orjson
from sqlalchemy import bindparam, select

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
        tx.write(_BEAT, {**values, "seen_at": replica.seen_at, "links": links})

    @reads("replicas")
    def read(self, tx: Transaction, *, since: Millis) -> Sequence[Replica]:
        """Read the replicas that have published since."""
        return [_replica(row) for row in tx.rows(_READ, {"since": since})]


def _replica(row: Row) -> Replica:
    replica_id, provider, definition, version, seen_at, links = row
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
    )
