"""Routes of tasks, and the values of the flag."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Final

from sqlalchemy import select

from turnout.model.routing import Flag, Route, Stage
from turnout.model.time import Millis
from turnout.stores.sql.expressions import insert_into, put_into
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.schema import flags, routes
from turnout.stores.sql.statements import Transaction

_COLUMNS: Final = ("stage", "old", "new", "percentage", "generation", "stay")
_ROUTES: Final = select(routes.c.task, *(routes.c[name] for name in _COLUMNS)).order_by(
    routes.c.task
)
_PUT: Final = put_into(routes)
_FLAG: Final = (
    select(flags.c.generation, flags.c.value).order_by(flags.c.generation.desc()).limit(1)
)
_RAISE: Final = insert_into(flags)


class SqlRouteStore(StorePart):
    """Routes of tasks."""

    @reads("routes")
    def read(self, tx: Transaction) -> Mapping[str, Route]:
        """Read the routes, by task id."""
        return read_routes(tx)

    @writes("put_route")
    def put(self, tx: Transaction, task: str, route: Route, now: Millis) -> None:
        """Set a task's route."""
        put_route(tx, task, route, now)


class SqlFlagStore(StorePart):
    """The values of the flag, in order."""

    @reads("flag")
    def read(self, tx: Transaction) -> Flag | None:
        """Read the latest value; None: no replica has started yet."""
        return _latest(tx)

    @writes("join_flag", key="flag")
    def join(self, tx: Transaction, value: str, now: Millis) -> Flag:
        """Return the flag's latest value, which is this one from now on."""
        tx.lock("flag")
        latest = _latest(tx)
        if latest is not None and latest.value == value:
            return latest
        raised = Flag(generation=latest.generation + 1 if latest else 1, value=value)
        tx.write(_RAISE, {"generation": raised.generation, "value": value, "at": now})
        return raised


def read_routes(tx: Transaction) -> Mapping[str, Route]:
    """Read the routes, by task id."""
    return {
        task: Route(
            stage=Stage(stage),
            old=old,
            new=new,
            percentage=part,
            generation=generation,
            stay=stay > 0,
        )
        for task, stage, old, new, part, generation, stay in tx.rows(_ROUTES, {})
    }


def put_route(tx: Transaction, task: str, route: Route, now: Millis) -> None:
    """Set a task's route."""
    tx.write(_PUT, {"task": task, **asdict(route), "stay": int(route.stay), "at": now})


def _latest(tx: Transaction) -> Flag | None:
    rows = tx.rows(_FLAG, {})
    return Flag(generation=rows[0][0], value=rows[0][1]) if rows else None
