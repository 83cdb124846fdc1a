"""Dead letters, as rows."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, func, select, update

from turnout.model.events import DeadLetter
from turnout.stores.sql.expressions import equals, fixed, insert_into
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.rows import labels_of, labels_row
from turnout.stores.sql.schema import dead_letters
from turnout.stores.sql.statements import Transaction

_COLUMNS: Final = ("letter_id", "name", "payload", "key", "due_at", "error", "refused_at")
_LABELS: Final = ("user_id", "tags", "metadata")
_IS_KEPT: Final = dead_letters.c.event_id.is_(None)
_COLUMNS_READ: Final = [dead_letters.c[name] for name in (*_COLUMNS, "dropped", *_LABELS)]
_PUT: Final = insert_into(dead_letters).on_conflict_do_nothing(
    index_elements=[dead_letters.c.letter_id]
)
_READ, _READ_DROPPED = (
    select(*_COLUMNS_READ)
    .where(condition)
    .order_by(dead_letters.c.refused_at, dead_letters.c.letter_id)
    .limit(bindparam("limit"))
    for condition in (_IS_KEPT, dead_letters.c.dropped.is_not(None))
)
_COUNT: Final = select(func.count()).select_from(dead_letters).where(_IS_KEPT)
_SETTLE: Final = (
    update(dead_letters)
    .where(equals(dead_letters.c.letter_id))
    .values(event_id=bindparam("to_event_id"))
)
_DROP: Final = (
    update(dead_letters)
    .where(equals(dead_letters.c.letter_id), _IS_KEPT)
    # The release before knows the event alone, and so takes the letter for settled.
    .values(event_id=fixed(""), dropped=bindparam("to_dropped"))
)


class SqlDeadLetterStore(StorePart):
    """Events that were refused at a door."""

    @writes("put_dead_letter", key="dead_letters")
    def put(self, tx: Transaction, letter: DeadLetter) -> None:
        """Keep a letter, unless it was kept before."""
        values = {name: getattr(letter, name) for name in _COLUMNS}
        labels = zip(_LABELS, labels_row(letter.labels), strict=True)
        tx.write(_PUT, {**values, **dict(labels), "event_id": None, "dropped": None})

    @reads("dead_letters")
    def read(self, tx: Transaction, *, limit: int, dropped: bool = False) -> Sequence[DeadLetter]:
        """Read the letters that are kept, or those that were dropped, the oldest first."""
        rows = tx.rows(_READ_DROPPED if dropped else _READ, {"limit": limit})
        names = (*_COLUMNS, "dropped")
        return [
            DeadLetter(**dict(zip(names, row, strict=False)), labels=labels_of(row[-3:]))
            for row in rows
        ]

    @reads("count_dead_letters")
    def count(self, tx: Transaction) -> int:
        """Count the letters that are kept."""
        return int(tx.rows(_COUNT, {})[0][0])

    @writes("drop_dead_letters", key="dead_letters")
    def drop(self, tx: Transaction, letter_ids: Sequence[str], reason: str) -> Sequence[str]:
        """Drop letters that are kept; returns the ids of those that were."""
        return [
            letter_id
            for letter_id in letter_ids
            if tx.changed(_DROP, {"of_letter_id": letter_id, "to_dropped": reason})
        ]

    @writes("settle_dead_letter", key="dead_letters")
    def settle(self, tx: Transaction, letter_id: str, event_id: str) -> None:
        """Record as which event a letter was emitted again."""
        tx.write(_SETTLE, {"of_letter_id": letter_id, "to_event_id": event_id})
