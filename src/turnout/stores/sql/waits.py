"""Open waits for events: opened, closed, and found by an event that meets them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import LargeBinary, and_, bindparam, cast, delete, exists, func, or_, select

from turnout.model.canonical import canonical_bytes, parse
from turnout.model.events import StoredEvent
from turnout.model.policies import at_path
from turnout.model.runs import Run, Wait
from turnout.model.transitions import matches
from turnout.stores.sql.expressions import contains_bytes, equals, for_rows, insert_into
from turnout.stores.sql.rows import event_of, wait_of, wait_values
from turnout.stores.sql.schema import events, met_events, waits
from turnout.stores.sql.statements import Transaction

_OPEN: Final = insert_into(waits)
_NEXT_PLACE: Final = select(func.coalesce(func.max(waits.c.place) + 1, 0)).where(
    equals(waits.c.run_id), equals(waits.c.step)
)
_CLOSE: Final = delete(waits).where(equals(waits.c.run_id), equals(waits.c.step))
_CLOSE_ALL: Final = for_rows(
    waits,
    ["run_id"],
    lambda ended: delete(waits).where(waits.c.run_id.in_(select(ended.c.run_id))),
)
_PATHS: Final = select(waits.c.path).where(equals(waits.c.event)).distinct()
_MEETING: Final = (
    select(*(waits.c[name] for name in ("run_id", "step", "event", "path", "value", "more")))
    .where(
        equals(waits.c.event),
        waits.c.path == bindparam("path"),
        waits.c.value == bindparam("value"),
    )
    .order_by(waits.c.run_id, waits.c.step, waits.c.place)
)

PAGE: Final = 100
"""Events that are read at once, looking for the one that meets a wait."""

_RECORD_MET: Final = insert_into(met_events).on_conflict_do_nothing(
    index_elements=[met_events.c.run_id, met_events.c.event_id]
)
_HAS_MET: Final = select(met_events.c.event_id).where(
    equals(met_events.c.run_id), equals(met_events.c.event_id)
)
_EARLIER: Final = (
    select(
        events.c.event_id,
        events.c.name,
        events.c.payload,
        events.c.emitted_at,
        events.c.key,
        events.c.caused_by,
    )
    .where(
        equals(events.c.name),
        # Not by time: two replicas may have emitted the run and the event, by clocks that differ.
        or_(
            events.c.run_seq >= bindparam("emit_seq"),
            and_(events.c.run_seq.is_(None), events.c.emitted_at > bindparam("since")),
        ),
        or_(
            events.c.emitted_at > bindparam("after"),
            and_(
                events.c.emitted_at == bindparam("after"),
                events.c.event_id > bindparam("after_id"),
            ),
        ),
        events.c.event_id != bindparam("own"),
        contains_bytes(events.c.payload, cast(bindparam("part"), LargeBinary)) > 0,
        ~exists().where(equals(met_events.c.run_id), met_events.c.event_id == events.c.event_id),
    )
    .order_by(events.c.emitted_at, events.c.event_id)
    .limit(PAGE)
)


def open_waits(tx: Transaction, opened: Sequence[Wait]) -> None:
    """Open waits; an event that is committed from now on meets them."""
    # An emit holds a shared lock on the names of its events until it has committed. So each event
    # is committed before the wait opens, or meets the wait.
    for name in sorted({wait.event for wait in opened}):
        tx.lock(_event(name))
    for wait in opened:
        at = {"of_run_id": wait.run_id, "of_step": wait.step or ""}
        place = tx.rows(_NEXT_PLACE, at)[0][0]
        tx.write(_OPEN, wait_values(wait, place))


def earlier_event(tx: Transaction, run: Run, wait: Wait) -> StoredEvent | None:
    """Find the oldest event that meets a wait, since its run was emitted, and has met no other.

    The name of the event is locked, as by `open_waits`.
    """
    after, after_id = 0, ""
    since = {"emit_seq": run.emit_seq, "since": run.emitted_at, "own": run.event_id}
    while True:
        params = {"of_name": wait.event, "of_run_id": run.run_id, **since}
        cursor = {"after": after, "after_id": after_id, "part": _part(wait)}
        page = [event_of(row) for row in tx.rows(_EARLIER, {**params, **cursor})]
        for event in page:
            if matches(wait, event.name, parse(event.payload)):
                return event
        if len(page) < PAGE:
            return None
        after, after_id = page[-1].emitted_at, page[-1].event_id


def mark_met(tx: Transaction, run_id: str, event: StoredEvent) -> None:
    """Record that an event has met a wait of a run."""
    tx.write(_RECORD_MET, {"run_id": run_id, "event_id": event.event_id})


def has_met(tx: Transaction, run_id: str, event: StoredEvent) -> bool:
    """Whether an event has met a wait of a run."""
    return bool(tx.rows(_HAS_MET, {"of_run_id": run_id, "of_event_id": event.event_id}))


def close_waits(tx: Transaction, run_id: str, step: str) -> None:
    """Close the waits of a step."""
    tx.write(_CLOSE, {"of_run_id": run_id, "of_step": step})


def close_all_waits(tx: Transaction, run_ids: Sequence[str]) -> None:
    """Close all waits of these runs."""
    tx.write_rows(_CLOSE_ALL, [(run_id,) for run_id in run_ids])


def lock_event_names(tx: Transaction, names: Sequence[str]) -> None:
    """Lock the names of events, so that no wait for them opens until this transaction ends."""
    for name in sorted(set(names)):
        tx.lock(_event(name), shared=True)


def paths_of(tx: Transaction, names: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Find the paths that open waits for these events compare; most events have no waits."""
    paths = {name: tx.rows(_PATHS, {"of_event": name}) for name in set(names)}
    return {name: [path for (path,) in rows] for name, rows in paths.items() if rows}


def met_by(tx: Transaction, event: StoredEvent, paths: Sequence[str]) -> Sequence[Wait]:
    """Find the open waits that an event meets, in order of their runs' ids."""
    payload = parse(event.payload)
    candidates: list[Wait] = []
    for path in paths:
        value = canonical_bytes(at_path(path, payload)) if path else b""
        rows = tx.rows(_MEETING, {"of_event": event.name, "path": path, "value": value})
        candidates.extend(map(wait_of, rows))
    meeting = [wait for wait in candidates if matches(wait, event.name, payload)]
    return sorted(meeting, key=lambda wait: (wait.run_id, wait.step or ""))


def _part(wait: Wait) -> bytes:
    """Return bytes that the payload of every event that meets a wait contains."""
    values = [value for _, value in wait.match if value != b"null"]  # absent is null
    return max(values, key=len, default=b"")


def _event(name: str) -> str:
    return f"event:{name}"
