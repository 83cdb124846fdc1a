"""Schedules, kept by the API or declared by a worker."""

from typing import Any

import orjson
from starlette.responses import JSONResponse, Response

from turnout_triggerdev_double.server import scheduler
from turnout_triggerdev_double.server.cron import check, described, zones
from turnout_triggerdev_double.server.errors import ApiRefusal, body_issues, missing, refused
from turnout_triggerdev_double.server.ids import bare, new_id
from turnout_triggerdev_double.server.records import ScheduleRecord
from turnout_triggerdev_double.server.rest.listing import pages
from turnout_triggerdev_double.server.rest.validation import kind_of
from turnout_triggerdev_double.server.times import duration, iso
from turnout_triggerdev_double.server.wiring import ApiCall, answer

_LONGEST_WINDOW = 86_400_000
_WHOLE = 100.0


def create(call: ApiCall) -> Response:
    """`POST /api/v1/schedules`: makes one, or changes the one of this `deduplicationKey`."""
    fields = _body(call, "task", "cron", "deduplicationKey")
    key = fields["deduplicationKey"]
    schedule = next(
        (
            schedule
            for schedule in call.world.schedules.values()
            if schedule.project == call.env.project and schedule.deduplication_key == key
        ),
        None,
    )
    _check(call, fields)
    return _save(call, schedule or _new(call, key), fields)


def update(call: ApiCall) -> Response:
    """`PUT /api/v1/schedules/{schedule}`; one that is not there is made, as on the real server."""
    fields = _body(call, "task", "cron")
    schedule = call.world.schedules.get(str(call.params["schedule"]))
    if schedule is not None and schedule.type == "DECLARATIVE":
        raise refused(422, "Cannot update a declarative schedule")
    _check(call, fields)
    if schedule is None or schedule.env != call.env.id:
        schedule = _new(call, None)
    return _save(call, schedule, fields)


def _body(call: ApiCall, *required: str) -> dict[str, Any]:
    try:
        body = orjson.loads(call.body)
    except orjson.JSONDecodeError as error:
        raise ApiRefusal(500, "Unexpected Server Error") from error
    if not isinstance(body, dict):
        raise body_issues({"code": "invalid_type", "path": [], "message": "Expected object"})
    issues = [missing(name) for name in required if name not in body]
    issues += [
        {
            "code": "invalid_type",
            "expected": "string",
            "received": kind_of(body[name]),
            "path": [name],
            "message": f"Expected string, received {kind_of(body[name])}",
        }
        for name in (*required, "timezone", "externalId", "window")
        if body.get(name) is not None and not isinstance(body[name], str)
    ]
    if issues:
        raise body_issues(*issues)
    return body


def _check(call: ApiCall, fields: dict[str, Any]) -> None:
    check(fields["cron"], fields.get("timezone") or "UTC", call.origin)
    task, worker = fields["task"], call.world.current.get(call.env.id)
    if worker is None or task not in worker.tasks:
        raise refused(422, f"Task with identifier {task} not found in project.")
    if worker.tasks[task].get("triggerSource") != "schedule":
        raise refused(422, f"Task with identifier {task} is not a scheduled task.")
    window = fields.get("window")
    if window is not None and not _is_window(window):
        raise refused(422, f"Invalid schedule window: '{window}'")


def _is_window(window: str) -> bool:
    if window.endswith("%"):
        share = window[:-1]
        return share.replace(".", "", 1).isdigit() and float(share) <= _WHOLE
    length = duration(window)
    return length is not None and length <= _LONGEST_WINDOW


def _new(call: ApiCall, key: str | None) -> ScheduleRecord:
    schedule = ScheduleRecord(
        id=new_id("sched", call.world.now()),
        project=call.env.project,
        env=call.env.id,
        type="IMPERATIVE",
        task="",
        cron="",
        timezone="UTC",
        created_at=call.world.now(),
        deduplication_key=key,
        spread=scheduler.new_spread(),
    )
    call.world.add(schedule)
    return schedule


def _save(call: ApiCall, schedule: ScheduleRecord, fields: dict[str, Any]) -> Response:
    schedule.task, schedule.cron = fields["task"], fields["cron"]
    schedule.timezone = fields.get("timezone") or "UTC"
    schedule.external_id = fields.get("externalId")
    schedule.window = fields.get("window")
    schedule.env = call.env.id
    schedule.last_tick = None
    scheduler.arm(call.world, schedule)
    environment = {
        "id": bare(call.env.id),
        "shortcode": f"{call.world.project.name}-{call.env.slug}",
        "type": call.env.type,
        "userName": call.world.project.user,
    }
    return answer(_view(schedule, environment))


def _view(schedule: ScheduleRecord, environment: dict[str, Any]) -> dict[str, Any]:
    view: dict[str, Any] = {
        "id": schedule.id,
        "type": schedule.type,
        "task": schedule.task,
        "active": schedule.active,
        "generator": described(schedule.cron),
        "timezone": schedule.timezone,
        "nextRun": None,
        "nextRunEffectiveAt": None,
        "environments": [environment],
    }
    if schedule.next_tick is not None:
        view["nextRun"] = iso(schedule.next_tick)
        view["nextRunEffectiveAt"] = iso(scheduler.effective(schedule))
    optional = {
        "externalId": schedule.external_id,
        "deduplicationKey": schedule.deduplication_key,
        "window": schedule.window,
    }
    return view | {name: value for name, value in optional.items() if value is not None}


def _plain_environment(call: ApiCall) -> dict[str, Any]:
    return {"id": bare(call.env.id), "type": call.env.type}


def _schedule(call: ApiCall) -> ScheduleRecord:
    schedule = call.world.schedules.get(str(call.params["schedule"]))
    if schedule is None or schedule.env != call.env.id:
        raise refused(404, "Schedule not found")
    return schedule


def retrieve(call: ApiCall) -> Response:
    """`GET /api/v1/schedules/{schedule}`."""
    return answer(_view(_schedule(call), _plain_environment(call)))


def delete(call: ApiCall) -> Response:
    """`DELETE /api/v1/schedules/{schedule}`; runs that it has already made stay."""
    schedule = _schedule(call)
    del call.world.schedules[schedule.id]
    call.world.store.drop(schedule)
    return answer({"id": schedule.id})


def activate(call: ApiCall) -> Response:
    """`POST /api/v1/schedules/{schedule}/activate`."""
    return _switch(call, active=True)


def deactivate(call: ApiCall) -> Response:
    """`POST /api/v1/schedules/{schedule}/deactivate`."""
    return _switch(call, active=False)


def _switch(call: ApiCall, *, active: bool) -> Response:
    schedule = _schedule(call)
    schedule.active = active
    scheduler.arm(call.world, schedule)
    return answer(_view(schedule, _plain_environment(call)))


def list_schedules(call: ApiCall) -> Response:
    """`GET /api/v1/schedules`, newest first."""
    schedules = [
        schedule for schedule in call.world.schedules.values() if schedule.env == call.env.id
    ]
    schedules.sort(key=lambda schedule: (schedule.created_at, schedule.id), reverse=True)
    page, about = pages(call.query, schedules)
    environment = {
        **_plain_environment(call),
        "slug": call.env.slug,
        "userName": call.world.project.user,
    }
    view = [{"externalId": None, **_view(schedule, environment)} for schedule in page]
    return answer({"data": view, "pagination": about})


def timezones(call: ApiCall) -> Response:
    """`GET /api/v1/timezones`, open to anyone."""
    names = sorted(zones())
    if call.query.get("excludeUtc") == "true":
        names = [name for name in names if name != "UTC"]
    return JSONResponse({"timezones": names})
