"""The store's identity: the one row of `turnout_store`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import bindparam, case, select, update

from turnout.errors import InvalidSettings
from turnout.model.identity import StoreIdentity
from turnout.model.status import DeliveryState
from turnout.stores.sql.connections import StoreConnection
from turnout.stores.sql.expressions import fixed
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.schema import deliveries, store
from turnout.stores.sql.statements import Transaction

Result = TypeVar("Result")

EPOCH: Final = select(store.c.epoch).scalar_subquery()
"""The store's epoch, as the value of a column."""
EPOCHS_SINCE: Final = "0004"
"""The revision of the tables that first had epochs."""

_READ: Final = select(store.c.store_id, store.c.app, store.c.environment, store.c.epoch)
_CLAIM: Final = (
    update(store)
    .where(store.c.app.is_(None))
    .values(app=bindparam("to_app"), environment=bindparam("to_environment"))
)
_RAISE: Final = update(store).values(
    epoch=store.c.epoch + fixed(1),
    oldest_code=case(
        (store.c.oldest_code < fixed(EPOCHS_SINCE), fixed(EPOCHS_SINCE)),
        else_=store.c.oldest_code,
    ),
)
_PUT_PENDING_IN_EPOCH: Final = (
    update(deliveries)
    .where(deliveries.c.state == fixed(DeliveryState.PENDING.value))
    .values(epoch=EPOCH)
)


class SqlIdentityStore(StorePart):
    """The store's identity."""

    @reads("identity")
    def read(self, tx: Transaction) -> StoreIdentity:
        """Read the store's identity."""
        return _read(tx)

    @writes("raise_epoch", key="identity")
    def raise_epoch(self, tx: Transaction) -> int:
        """Begin a new epoch; it also counts for deliveries that are not sent yet."""
        tx.write(_RAISE, {})
        tx.write(_PUT_PENDING_IN_EPOCH, {})
        return _read(tx).epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The app that opens a store."""

    app: str
    environment: str | None = None


def claim_store(connection: StoreConnection, name: str, owner: Owner) -> None:
    """Claim the store for an app, unless it is claimed; refuse an app that it does not belong to.

    name: the store's, for the error.
    """
    claimed_by = _in_transaction(connection, _read, reading=True).app
    if claimed_by is None:
        values = {"to_app": owner.app, "to_environment": owner.environment}
        _in_transaction(connection, lambda tx: tx.changed(_CLAIM, values), reading=False)
        claimed_by = _in_transaction(connection, _read, reading=True).app
    if claimed_by != owner.app:
        raise InvalidSettings(
            f"{name} belongs to the app {claimed_by!r}, not to {owner.app!r}: give each app a run"
            " store of its own (on PostgreSQL a schema will do: add ?schema=NAME to the URL)"
        )


def _in_transaction(
    connection: StoreConnection, work: Callable[[Transaction], Result], *, reading: bool
) -> Result:
    try:
        connection.begin(reading=reading, patient=True, lightly=False)
        result = work(connection.tx)
        connection.commit()
    finally:
        connection.rollback()
    return result


def _read(tx: Transaction) -> StoreIdentity:
    ((store_id, app, environment, epoch),) = tx.rows(_READ, {})
    return StoreIdentity(store_id=store_id, app=app, environment=environment, epoch=epoch)
