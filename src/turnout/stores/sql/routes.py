"""Routes of tasks."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import select

from turnout.model.routing import Route, Stage
from turnout.model.time import Millis
from turnout.stores.sql.expressions import put_into
from turnout.stores.sql.operations import StorePart, reads, writes
from turnout.stores.sql.schema import routes
from turnout.stores.sql.statements import Transaction

_ROUTES: Final = select(
    routes.c.task, routes.c.stage, routes.c.old, routes.c.new, routes.c.percentage
).order_by(routes.c.task)
_PUT: Final = put_into(routes)


class SqlRouteStore(StorePart):
    """Routes of tasks."""

    @reads("routes")
    def read(self, tx: Transaction) -> Mapping[str, Route]:
        """Read the routes, by task id."""
        return {
            task: Route(stage=Stage(stage), old=old, new=new, percentage=percentage)
            for task, stage, old, new, percentage in tx.rows(_ROUTES, {})
        }

    @writes("put_route")
    def put(self, tx: Transaction, task: str, route: Route, now: Millis) -> None:
        """Set a task's route."""
        values = {"task": task, "stage": route.stage.value, "old": route.old, "new": route.new}
        tx.write(_PUT, {**values, "percentage": route.percentage, "at": now})
