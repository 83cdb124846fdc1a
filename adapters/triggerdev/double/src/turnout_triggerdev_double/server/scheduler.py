"""Starts scheduled runs at their ticks, while a worker that knows the task is connected."""

from typing import Any

import orjson

from turnout_triggerdev_double.server.cron import next_ticks
from turnout_triggerdev_double.server.ids import hex_id
from turnout_triggerdev_double.server.records import ScheduleRecord
from turnout_triggerdev_double.server.superjson import SUPERJSON, encoded_dates
from turnout_triggerdev_double.server.times import duration, iso
from turnout_triggerdev_double.server.triggering import Origin, trigger
from turnout_triggerdev_double.server.world import OfflineWorld

EARLY = 30_000
"""How many milliseconds before its tick a scheduled run is created, queued until then."""
DEFAULT_WINDOW = "60m"
UPCOMING = 10


def arm(world: OfflineWorld, schedule: ScheduleRecord) -> None:
    """Set the schedule's next tick and wait for it; missed ticks are not caught up."""
    schedule.next_tick = None
    if schedule.active:
        after = max(world.now(), schedule.last_tick or 0)
        upcoming = next_ticks(schedule.cron, schedule.timezone, after, 1)
        schedule.next_tick = upcoming[0] if upcoming else None
    world.store.put(schedule)
    if schedule.next_tick is not None:
        tick = schedule.next_tick
        world.alarms.at(effective(schedule) - EARLY, lambda: _due(world, schedule, tick))


def effective(schedule: ScheduleRecord) -> int:
    """When the next tick starts a run: the tick plus the schedule's offset in its window."""
    assert schedule.next_tick is not None
    return schedule.next_tick + int(_window(schedule) * schedule.spread)


def _window(schedule: ScheduleRecord) -> int:
    assert schedule.next_tick is not None
    following = next_ticks(schedule.cron, schedule.timezone, schedule.next_tick, 1)
    gap = following[0] - schedule.next_tick if following else 0
    window = schedule.window or DEFAULT_WINDOW
    if window.endswith("%"):
        return int(gap * float(window[:-1]) / 100)
    return min(gap, duration(window) or 0)


def new_spread() -> float:
    """A schedule's offset in its window, chosen once."""
    return int(hex_id(4), 16) / 2**32


def _due(world: OfflineWorld, schedule: ScheduleRecord, tick: int) -> None:
    if world.schedules.get(schedule.id) is not schedule or schedule.next_tick != tick:
        return
    if effective(schedule) - EARLY > world.now():
        return
    if _may_start(world, schedule):
        _start(world, schedule, tick)
    schedule.last_tick = tick
    arm(world, schedule)


def _may_start(world: OfflineWorld, schedule: ScheduleRecord) -> bool:
    worker = world.current.get(schedule.env)
    connected = world.connected.get(schedule.env, 0) > 0
    return connected and worker is not None and schedule.task in worker.tasks


def _start(world: OfflineWorld, schedule: ScheduleRecord, tick: int) -> None:
    at = max(effective(schedule), world.now())
    body = {
        "payload": _payload(schedule, tick),
        "options": {"payloadType": SUPERJSON},
    }
    origin = Origin(schedule=schedule.id, created_at=at)
    trigger(world, world.environment(schedule.env), schedule.task, body, origin)


def _payload(schedule: ScheduleRecord, tick: int) -> str:
    upcoming = next_ticks(schedule.cron, schedule.timezone, tick, UPCOMING)
    payload: dict[str, Any] = {
        "scheduleId": schedule.id,
        "type": schedule.type,
        "timestamp": iso(tick),
        "externalId": schedule.external_id,
        "timezone": schedule.timezone,
        "upcoming": [iso(moment) for moment in upcoming],
    }
    dates = ["timestamp", *(f"upcoming.{index}" for index in range(len(upcoming)))]
    if schedule.last_tick is not None:
        payload["lastTimestamp"] = iso(schedule.last_tick)
        dates.append("lastTimestamp")
    return encoded_dates(payload, dates)


def payload_of(run_payload: str) -> dict[str, Any]:
    """The schedule's payload of a run, dates as text."""
    return dict(orjson.loads(run_payload)["json"])
