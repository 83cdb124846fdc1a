"""`GET /api/v1/runs`: filters and cursors."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.responses import Response

from turnout_triggerdev_double.server.answers import run_item
from turnout_triggerdev_double.server.errors import ApiRefusal, query_error
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.statuses import API_STATUSES, api_status
from turnout_triggerdev_double.server.times import duration, from_iso
from turnout_triggerdev_double.server.wiring import ApiCall, answer
from turnout_triggerdev_double.server.world import OfflineWorld

MAX_PAGE = 100
DEFAULT_PAGE = 25
WINDOW = "7d"
"""How far back runs are listed where the query does not say."""

RunPredicate = Callable[[RunRecord], bool]


def list_runs(call: ApiCall) -> Response:
    """A page of the environment's runs, newest first."""
    size = page_size(call.query)
    matches = _filter(call)
    timeline = _timeline(call)
    after, before = _cursor(call.query.get("page[after]")), _cursor(call.query.get("page[before]"))
    if before is not None:
        upcoming = (place for place in timeline if place > before)
        page = _first(call.world, upcoming, matches, size + 1)
        has_next, page = len(page) > size, page[:size][::-1]
        links = _links(page, newer=has_next, older=True)
    else:
        behind = (place for place in reversed(timeline) if after is None or place < after)
        page = _first(call.world, behind, matches, size + 1)
        has_next, page = len(page) > size, page[:size]
        links = _links(page, newer=after is not None, older=has_next)
    view = [run_item(call.world, run, call.api_version) for run in page]
    return answer({"data": view, "pagination": links})


def _timeline(call: ApiCall) -> list[tuple[int, str]]:
    """The candidates as (created at, id), in order; for a filter by tag only those with the tag."""
    tags = (call.query.get("filter[tag]") or "").split(",")
    if not tags[0]:
        return call.world.timeline[call.env.id]
    places = {place for tag in tags for place in call.world.tagged.get((call.env.id, tag), ())}
    return sorted(places)


def page_size(query: QueryParams, default: int = DEFAULT_PAGE) -> int:
    """`page[size]`, at most 100."""
    text = query.get("page[size]")
    if text is None:
        return default
    if not text.lstrip("-").isdigit():
        raise query_error(
            code="invalid_type",
            expected="number",
            received="nan",
            path=["page[size]"],
            message="Expected number, received nan",
        )
    size = int(text)
    if size > MAX_PAGE:
        raise query_error(
            code="too_big",
            maximum=MAX_PAGE,
            type="number",
            inclusive=True,
            exact=False,
            message=f"Number must be less than or equal to {MAX_PAGE}",
            path=["page[size]"],
        )
    return max(1, size)


def _first(
    world: OfflineWorld, places: Iterator[tuple[int, str]], matches: RunPredicate, count: int
) -> list[RunRecord]:
    runs = []
    for _, run_id in places:
        run = world.runs[run_id]
        if matches(run):
            runs.append(run)
            if len(runs) == count:
                break
    return runs


def _links(page: list[RunRecord], *, newer: bool, older: bool) -> dict[str, str]:
    links = {}
    if page and older:
        links["next"] = _write_cursor(page[-1])
    if page and newer:
        links["previous"] = _write_cursor(page[0])
    return links


def _write_cursor(run: RunRecord) -> str:
    place = {"c": run.created_at, "r": bare(run.id)}
    return base64.b64encode(orjson.dumps(place)).decode()


def _cursor(text: str | None) -> tuple[int, str] | None:
    """The position of a cursor; None for garbage, as on the real server."""
    if not text:
        return None
    try:
        place = orjson.loads(base64.b64decode(text, validate=True))
        return int(place["c"]), f"run_{place['r']}"
    except (ValueError, KeyError, TypeError):
        return None


def _filter(call: ApiCall) -> RunPredicate:
    return run_predicate(_with_window(call.query), call.api_version, call.world)


def run_predicate(query: QueryParams, version: str | None, world: OfflineWorld) -> RunPredicate:
    """A predicate that says whether a run passes the filters of a query."""
    checks = [
        _statuses(query, version),
        _among(query, "filter[taskIdentifier]", lambda run: [run.task]),
        _among(query, "filter[version]", lambda run: [run.version or ""]),
        _among(query, "filter[tag]", lambda run: run.tags),
        _among(query, "filter[queue]", lambda run: [run.queue]),
        _among(query, "filter[machine]", lambda run: [run.machine]),
        _among(query, "filter[region]", lambda run: [bare(run.env)]),
        _among(query, "filter[schedule]", lambda run: [run.schedule or ""]),
        _among(query, "filter[batch]", lambda run: [run.batch or ""]),
        _flag(query, "filter[isTest]", lambda run: run.is_test),
        _root_only(query),
        _of_bulk_action(query, world),
    ]
    active = [check for check in checks if check is not None]
    created = created_within(query, world.now())
    return lambda run: created(run.created_at) and all(check(run) for check in active)


def _statuses(query: QueryParams, version: str | None) -> RunPredicate | None:
    text = query.get("filter[status]")
    if not text:
        return None
    words = set(text.split(","))
    unknown = sorted(words - API_STATUSES)
    if unknown:
        raise query_error(
            code="custom",
            message=f"Invalid status values: {', '.join(unknown)}",
            path=["filter[status]"],
        )
    return lambda run: api_status(run.status, version) in words


def _among(
    query: QueryParams, name: str, values: Callable[[RunRecord], list[str]]
) -> RunPredicate | None:
    text = query.get(name)
    if not text:
        return None
    accepted = set(text.split(","))
    return lambda run: bool(accepted.intersection(values(run)))


def _flag(query: QueryParams, name: str, value: Callable[[RunRecord], bool]) -> RunPredicate | None:
    text = query.get(name)
    return None if text is None else lambda run: value(run) == (text == "true")


def _of_bulk_action(query: QueryParams, world: OfflineWorld) -> RunPredicate | None:
    bulk = query.get("filter[bulkAction]")
    if not bulk:
        return None
    action = world.bulk_actions.get(bulk)
    chosen = frozenset(action.runs if action else ())
    return lambda run: run.id in chosen


def _root_only(query: QueryParams) -> RunPredicate | None:
    return (lambda run: run.parent is None) if query.get("filter[rootOnly]") == "true" else None


def created_within(query: QueryParams, now: int) -> Callable[[int], bool]:
    """A predicate that says whether a moment passes the filters for when something was made."""
    start = _moment(query.get("filter[createdAt][from]"))
    end = _moment(query.get("filter[createdAt][to]"))
    period = duration(query.get("filter[createdAt][period]") or "")
    earliest = max(start or 0, 0 if period is None else now - period)
    return lambda moment: earliest <= moment and (end is None or moment <= end)


def _with_window(query: QueryParams) -> QueryParams:
    """The query, over WINDOW where it does not say when runs were made, as on the real server."""
    names = [f"filter[createdAt][{name}]" for name in ("from", "to", "period")]
    window = [] if any(query.get(name) for name in names) else [(names[2], WINDOW)]
    return QueryParams([*query.multi_items(), *window])


def _moment(text: str | None) -> int | None:
    if not text:
        return None
    return int(text) if text.isdigit() else from_iso(text)


def pages(query: QueryParams, items: list[Any], max_size: int = MAX_PAGE) -> tuple[list[Any], Any]:
    """One page of a list paged by number (`page`, `perPage`), and its `pagination`."""
    number, size = _positive(query, "page", 1), min(_positive(query, "perPage", max_size), max_size)
    total = -(-len(items) // size)
    start = (number - 1) * size
    about = {"currentPage": number, "totalPages": total, "count": len(items)}
    return items[start : start + size], about


def _positive(query: QueryParams, name: str, default: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if text.isdigit() and int(text) > 0:
        return int(text)
    issue = {
        "code": "too_small",
        "minimum": 0,
        "type": "number",
        "inclusive": False,
        "exact": False,
        "message": "Number must be greater than 0",
        "path": [name],
    }
    raise ApiRefusal(400, {"error": "Invalid request parameters", "issues": [issue]})
