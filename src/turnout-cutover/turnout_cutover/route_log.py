"""Routes and their history in the run store: a change and its entry are one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
from sqlalchemy import bindparam, func, select

from turnout.model.canonical import canonical_bytes
from turnout.model.routing import Route
from turnout.model.time import Millis
from turnout.ports.run_store import RunStore
from turnout.stores.sql.expressions import insert_into
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.routes import put_route, read_routes
from turnout.stores.sql.schema import route_history
from turnout.stores.sql.statements import Row, Transaction
from turnout_cutover.changes import Action, Change, Entry, Signature, detail_of

_LOCK: Final = "routes"
_LAST: Final = select(func.coalesce(func.max(route_history.c.number), 0))
_INSERT: Final = insert_into(route_history)
_READ: Final = (
    select(*route_history.c).order_by(route_history.c.number.desc()).limit(bindparam("limit"))
)
_READ_TASK: Final = _READ.where(route_history.c.task == bindparam("task"))


def route_log(store: RunStore) -> "RouteLog":
    """Return the routes of a run store with their history."""
    part = store.routes
    assert isinstance(part, StorePart)
    return RouteLog(part.committer)


class RouteLog(StorePart):
    """Routes, which are changed over what they were, and the history, which only grows."""

    @reads("routes")
    def routes(self, tx: Transaction) -> Mapping[str, Route]:
        """Read the routes, by task id."""
        return read_routes(tx)

    @reads("route_history")
    def history(
        self, tx: Transaction, *, task: str | None = None, limit: int = 100
    ) -> Sequence[Entry]:
        """Read the newest entries, the newest first."""
        if task is None:
            return [_entry(row) for row in tx.rows(_READ, {"limit": limit})]
        return [_entry(row) for row in tx.rows(_READ_TASK, {"limit": limit, "task": task})]

    @writes("change_routes", key=_LOCK)
    def change(
        self,
        tx: Transaction,
        changes: Sequence[Change],
        signature: Signature,
        now: Millis,
    ) -> Sequence[str]:
        """Set routes, all or none; return the tasks whose routes are not what was decided on.

        Where any is returned, nothing was changed. Each change has a number of its own, higher than
        every one before.
        """
        tx.lock(_LOCK)
        routes, number = read_routes(tx), _last(tx)
        stale = [
            change.task
            for change in changes
            if _generation(routes, change.task) != change.before.generation
        ]
        if stale:
            return stale
        for number_, change in enumerate(changes, number + 1):
            after = replace(change.after, generation=number_)
            _append(tx, number_, replace(change, after=after), signature, now)
            put_route(tx, change.task, after, now)
        return ()

    @writes("note_routes", key=_LOCK)
    def note(
        self,
        tx: Transaction,
        details: Mapping[str, Mapping[str, Any]],
        signature: Signature,
        now: Millis,
    ) -> None:
        """Record what was verified, by task id, all or none; no route is changed."""
        tx.lock(_LOCK)
        for number, (task, detail) in enumerate(details.items(), _last(tx) + 1):
            row = {"number": number, "task": task, "action": Action.VERIFIED.value, "at": now}
            tx.write(_INSERT, {**row, **_signed(signature), "evidence": None, **_json(detail)})


def _last(tx: Transaction) -> int:
    return int(tx.rows(_LAST, {})[0][0])


def _generation(routes: Mapping[str, Route], task: str) -> int:
    return routes[task].generation if task in routes else 0


def _append(
    tx: Transaction, number: int, change: Change, signature: Signature, now: Millis
) -> None:
    row = {"number": number, "task": change.task, "action": change.action.value, "at": now}
    row |= {"evidence": change.evidence, **_signed(signature)}
    tx.write(_INSERT, {**row, **_json(detail_of(change))})


def _signed(signature: Signature) -> dict[str, Any]:
    return {"who": signature.operator, "reason": signature.reason, "ticket": signature.ticket}


def _json(detail: Mapping[str, Any]) -> dict[str, bytes]:
    return {"detail": canonical_bytes(dict(detail))}


def _entry(row: Row) -> Entry:
    number, task, action, at, operator, reason, ticket, evidence, detail = row
    return Entry(
        number=number,
        task=task,
        action=Action(action),
        at=at,
        signature=Signature(operator=operator, reason=reason, ticket=ticket),
        evidence=evidence,
        detail=orjson.loads(detail),
    )
