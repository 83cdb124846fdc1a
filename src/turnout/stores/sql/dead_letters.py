"""Dead letters, as rows."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, func, select, update

from turnout.model.events import DeadLetter
from turnout.stores.sql.expressions import equals, insert_into
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.rows import labels_of, labels_row
from turnout.stores.sql.schema import dead_letters
from turnout.stores.sql.statements import Transaction

_COLUMNS: Final = ("letter_id", "name", "payload", "key", "due_at", "error", "refused_at")
_LABELS: Final = ("user_id", "tags", "metadata")
_IS_KEPT: Final = dead_letters.c.event_id.is_(None)
_PUT: Final = insert_into(dead_letters).on_conflict_do_nothing(
    index_elements=[dead_letters.c.letter_id]
)
_READ: Final = (
    select(*(dead_letters.c[name] for name in (*_COLUMNS, *_LABELS)))
    .where(_IS_KEPT)
    .order_by(dead_letters.c.refused_at, dead_letters.c.letter_id)
    .limit(bindparam("limit"))
)
_COUNT: Final = select(func.count()).select_from(dead_letters).where(_IS_KEPT)
_SETTLE: Final = (
    update(dead_letters)
    .where(equals(dead_letters.c.letter_id))
    .values(event_id=bindparam("to_event_id"))
)


class SqlDeadLetterStore(StorePart):
    """Events that were refused at a door."""

    @writes("put_dead_letter", key="dead_letters")
    def put(self, tx: Transaction, letter: DeadLetter) -> None:
        """Keep a letter, unless it was kept before."""
        values = {name: getattr(letter, name) for name in _COLUMNS}
        labels = zip(_LABELS, labels_row(letter.labels), strict=True)
        tx.write(_PUT, {**values, **dict(labels), "event_id": None})

    @reads("dead_letters")
    def read(self, tx: Transaction, *, limit: int) -> Sequence[DeadLetter]:
        """Read the letters that were not emitted again, the oldest first."""
        rows = tx.rows(_READ, {"limit": limit})
        return [
            DeadLetter(**dict(zip(_COLUMNS, row, strict=False)), labels=labels_of(row[-3:]))
            for row in rows
        ]

    @reads("count_dead_letters")
    def count(self, tx: Transaction) -> int:
        """Count the letters that were not emitted again."""
        return int(tx.rows(_COUNT, {})[0][0])

    @writes("settle_dead_letter", key="dead_letters")
    def settle(self, tx: Transaction, letter_id: str, event_id: str) -> None:
        """Record as which event a letter was emitted again."""
        tx.write(_SETTLE, {"of_letter_id": letter_id, "to_event_id": event_id})
