"""Bulk actions: many runs cancelled or replayed by one request.

Source: a self-hosted 4.5.12 server, which answers 202 at once and is done a second later.
"""

from typing import Any

from starlette.datastructures import QueryParams
from starlette.responses import Response

from turnout_triggerdev_double.server import engine
from turnout_triggerdev_double.server.errors import ApiRefusal, refused
from turnout_triggerdev_double.server.ids import new_id
from turnout_triggerdev_double.server.records import BulkAction
from turnout_triggerdev_double.server.rest.listing import page_size, run_predicate
from turnout_triggerdev_double.server.times import iso
from turnout_triggerdev_double.server.triggering import replay
from turnout_triggerdev_double.server.wiring import ApiCall, answer
from turnout_triggerdev_double.server.world import OfflineWorld

DONE_AFTER = 1_000
MAX_RUN_IDS = 500
KINDS = {"cancel": "CANCEL", "replay": "REPLAY"}


def create(call: ApiCall) -> Response:
    """`POST /api/v1/bulk-actions {action, name?, runIds | filter}`."""
    body = call.fields()
    kind = KINDS.get(str(body.get("action")))
    if kind is None:
        raise refused(
            400,
            "Validation error: Invalid discriminator value. Expected 'cancel' | 'replay'"
            ' at "action"',
        )
    action = BulkAction(
        id=new_id("bulk", call.world.now()),
        env=call.env.id,
        type=kind,
        name=body.get("name"),
        created_at=call.world.now(),
        runs=_chosen(call, body),
    )
    call.world.add(action)
    call.world.store.put(action)
    resume(call.world, action)
    return answer({"id": action.id}, 202)


def _chosen(call: ApiCall, body: dict[str, Any]) -> list[str]:
    run_ids, run_filter = body.get("runIds"), body.get("filter")
    if (run_ids is None) == (run_filter is None):
        raise refused(400, "Validation error: Exactly one of filter or runIds must be provided")
    if isinstance(run_ids, list):
        if len(run_ids) > MAX_RUN_IDS:
            raise refused(
                400,
                f"Too many runIds ({len(run_ids)}). Maximum is {MAX_RUN_IDS}."
                " Use a filter to select more runs.",
            )
        return [str(run_id) for run_id in run_ids]
    if not isinstance(run_filter, dict):
        raise refused(400, 'Validation error: Expected object at "filter"')
    chosen = run_predicate(_query_of(run_filter), call.api_version, call.world)
    places = call.world.timeline[call.env.id]
    return [run_id for _, run_id in places if chosen(call.world.runs[run_id])]


def _query_of(run_filter: dict[str, Any]) -> QueryParams:
    """The filter as a query of the list of runs."""
    dated = {"from", "to", "period"}
    pairs = []
    for name, value in run_filter.items():
        field = f"filter[createdAt][{name}]" if name in dated else f"filter[{name}]"
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        pairs.append((field, text.lower() if isinstance(value, bool) else text))
    return QueryParams(pairs)


def resume(world: OfflineWorld, action: BulkAction) -> None:
    """Schedule the action that is not done yet."""
    if action.status == "PENDING":
        world.alarms.at(action.created_at + DONE_AFTER, lambda: _do(world, action))


def _do(world: OfflineWorld, action: BulkAction) -> None:
    if action.status != "PENDING":
        return
    for run_id in list(action.runs):
        run = world.runs.get(run_id)
        if run is None or run.env != action.env:
            action.failure += 1
        elif action.type == "REPLAY":
            action.runs.append(replay(world, run, {}).id)
            action.success += 1
        else:
            reason = f"Bulk action {action.id} cancelled run"
            cancelled = engine.cancel(world, run, {"type": "STRING_ERROR", "raw": reason})
            action.success += cancelled
            action.failure += not cancelled
    action.status, action.completed_at = "COMPLETED", world.now()
    world.store.put(action)


def retrieve(call: ApiCall) -> Response:
    """`GET /api/v1/bulk-actions/{bulk}`."""
    return answer(_view(_action(call)))


def abort(call: ApiCall) -> Response:
    """`POST /api/v1/bulk-actions/{bulk}/abort`."""
    action = _action(call)
    if action.status != "PENDING":
        word = action.status.lower()
        raise refused(409, f"Bulk action group already {word}: {action.id}")
    action.status = "ABORTED"
    call.world.store.put(action)
    return answer({"id": action.id})


def list_actions(call: ApiCall) -> Response:
    """`GET /api/v1/bulk-actions`, newest first."""
    size = page_size(call.query)
    actions = [action for action in call.world.bulk_actions.values() if action.env == call.env.id]
    actions.sort(key=lambda action: (action.created_at, action.id), reverse=True)
    after = call.query.get("page[after]")
    if after:
        actions = [action for action in actions if action.id < after]
    links = {"next": actions[size - 1].id} if len(actions) > size else {}
    return answer({"data": [_view(action) for action in actions[:size]], "pagination": links})


def _action(call: ApiCall) -> BulkAction:
    action = call.world.bulk_actions.get(str(call.params["bulk"]))
    if action is None or action.env != call.env.id:
        raise ApiRefusal(404, {"error": "Not found"}, headers={"x-should-retry": "false"})
    return action


def _view(action: BulkAction) -> dict[str, Any]:
    view: dict[str, Any] = {"id": action.id}
    if action.name is not None:
        view["name"] = action.name
    total = action.success + action.failure if action.completed_at else len(action.runs)
    view |= {
        "type": action.type,
        "status": action.status,
        "counts": {"total": total, "success": action.success, "failure": action.failure},
        "createdAt": iso(action.created_at),
    }
    return view | ({"completedAt": iso(action.completed_at)} if action.completed_at else {})
