"""Schedules, who owns them, and their slots: each claimed at most once, for ever."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, delete, select, update

from turnout.errors import InvalidDefinition
from turnout.model.canonical import canonical_bytes, parse
from turnout.model.protocol import Ticked
from turnout.model.runs import Emission
from turnout.model.schedules import OwnedSchedule, Schedule, UnreadableSchedule
from turnout.model.time import Millis
from turnout.stores.sql.commits import emit
from turnout.stores.sql.expressions import equals, insert_into, put_into
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.schema import schedules, slots, ticks
from turnout.stores.sql.statements import Row, Transaction

_SCHEDULE: Final = equals(schedules.c.schedule_id)
_READ_ALL: Final = select(*schedules.c).order_by(schedules.c.schedule_id)
_READ_ONE: Final = select(*schedules.c).where(_SCHEDULE).with_for_update()
_PUT: Final = put_into(schedules)
_REMOVE: Final = delete(schedules).where(_SCHEDULE)
_CHANGE_OWNER: Final = update(schedules).where(_SCHEDULE).values(provider=bindparam("to_provider"))
_CLAIM: Final = insert_into(slots).on_conflict_do_nothing(
    index_elements=[slots.c.schedule_id, slots.c.slot]
)
_CLAIMED_BY: Final = select(slots.c.run_id).where(equals(slots.c.schedule_id), equals(slots.c.slot))
_CLAIMED: Final = select(slots.c.slot).where(
    equals(slots.c.schedule_id), slots.c.slot > bindparam("after")
)
_STARTED: Final = (
    update(slots)
    .where(equals(slots.c.schedule_id), equals(slots.c.slot))
    .values(run_id=bindparam("to_run_id"))
)
_LAST: Final = (
    update(schedules)
    .where(
        _SCHEDULE,
        (schedules.c.last_slot.is_(None)) | (schedules.c.last_slot < bindparam("to_last_slot")),
    )
    .values(last_slot=bindparam("to_last_slot"))
)
_SKIP: Final = insert_into(ticks).on_conflict_do_nothing(
    index_elements=[ticks.c.schedule_id, ticks.c.slot, ticks.c.provider]
)


class SqlScheduleStore(StorePart):
    """Schedules and their slots."""

    @writes("put_schedule", key="schedules")
    def put(self, tx: Transaction, schedule: Schedule, provider: str, now: Millis) -> None:
        """Add a schedule or replace the one of its id; one that stays as it is keeps `since`."""
        before = _find(tx, schedule.id)
        same = before is not None and before.schedule == schedule
        values = {
            "schedule_id": schedule.id,
            "task": schedule.task,
            "cron": schedule.cron,
            "zone": schedule.zone,
            "payload": canonical_bytes(schedule.payload),
            "paused": int(schedule.paused),
            "provider": provider,
            "since": before.since if before and same else now,
            "last_slot": before.last_slot if before else None,
            "catch_up": schedule.catch_up,
        }
        tx.write(_PUT, values)

    @writes("own_schedule", key="schedules")
    def change_owner(self, tx: Transaction, schedule_id: str, provider: str) -> None:
        """Make a provider the owner of a schedule, if there is one of that id."""
        tx.write(_CHANGE_OWNER, {"of_schedule_id": schedule_id, "to_provider": provider})

    @writes("remove_schedule", key="schedules")
    def remove(self, tx: Transaction, schedule_id: str) -> bool:
        """Remove a schedule; its claimed slots stay."""
        return bool(tx.changed(_REMOVE, {"of_schedule_id": schedule_id}))

    @reads("schedules")
    def read(self, tx: Transaction) -> Sequence[OwnedSchedule]:
        """Read all schedules, in order of id."""
        return [_owned(row) for row in tx.rows(_READ_ALL, {})]

    @reads("claimed_slots")
    def claimed(self, tx: Transaction, schedule_id: str, after: Millis) -> frozenset[Millis]:
        """Read the slots after a moment that were claimed."""
        rows = tx.rows(_CLAIMED, {"of_schedule_id": schedule_id, "after": after})
        return frozenset(slot for (slot,) in rows)

    @writes("tick")
    def tick(
        self,
        tx: Transaction,
        schedule_id: str,
        slot: Millis,
        provider: str,
        emission: Emission,
        now: Millis,
    ) -> Ticked:
        """Claim a slot and record its emission, or record why not."""
        at = {"schedule_id": schedule_id, "slot": slot, "provider": provider, "at": now}
        owned = _find(tx, schedule_id)
        if owned is None:
            return _skip(tx, at, "removed")
        if owned.schedule.paused:
            return _skip(tx, at, "paused")
        key = {"of_schedule_id": schedule_id, "of_slot": slot}
        if not tx.changed(_CLAIM, {**at, "run_id": ""}):
            first = tx.rows(_CLAIMED_BY, key)[0][0]
            return Ticked(run_id=first or None, reason="claimed")
        (emitted,) = emit(tx, [emission])
        run_id = emitted.runs[0].run_id if emitted.runs else ""
        tx.write(_STARTED, {**key, "to_run_id": run_id})
        tx.write(_LAST, {"of_schedule_id": schedule_id, "to_last_slot": slot})
        return Ticked(run_id=run_id or None, reason="started")


def _skip(tx: Transaction, at: dict[str, object], reason: str) -> Ticked:
    tx.write(_SKIP, {**at, "reason": reason})
    return Ticked.model_validate({"run_id": None, "reason": reason})


def _find(tx: Transaction, schedule_id: str) -> OwnedSchedule | None:
    rows = tx.rows(_READ_ONE, {"of_schedule_id": schedule_id})
    return _owned(rows[0]) if rows else None


def _owned(row: Row) -> OwnedSchedule:
    schedule_id, task, cron, zone, payload, paused, provider, since, last_slot, catch_up = row
    values = {
        "id": schedule_id,
        "task": task,
        "cron": cron,
        "zone": zone,
        "payload": parse(payload),
        "paused": bool(paused),
        "catch_up": catch_up,
    }
    try:
        schedule = Schedule(**values)
    except InvalidDefinition:
        # The others must be read: one machine may lack a zone that another one has.
        schedule = UnreadableSchedule(**values)
    return OwnedSchedule(schedule=schedule, provider=provider, since=since, last_slot=last_slot)
