"""Schedules as the vendor's cron triggers: `TZ=Zone m h d m w`."""

import re
from collections.abc import Mapping
from typing import Any

from turnout.errors import PolicyRefused
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.time import Millis
from turnout_inngest.json_fields import objects_in, text_in, time_in, unexpected_shape

FUNCTION = "_schedule."
"""What the id of a schedule's function starts with; no task's id can."""

_ZONED = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)")
_FOREIGN = re.compile(r"[LW#?]")
_NAMED = re.compile(r"[A-Za-z]{3}")


def check_schedule(schedule: Schedule) -> None:
    """Refuse, by name, an expression that the vendor does not take or reads otherwise."""
    fields = schedule.five_fields.split()
    days, weekdays = fields[2], fields[4]
    if any(_FOREIGN.search(_NAMED.sub("", cron_field)) for cron_field in fields):
        reason = "Inngest has no L, W, # or ?"
    elif re.search(r"(?<![/\d])0*7(?!\d)", weekdays):
        reason = "Inngest does not take 7 for Sunday; write 0"
    elif days != "*" != weekdays and (days[0] == "*" or weekdays[0] == "*"):
        # A day must fit both fields for us, and either of them for the vendor.
        reason = "Inngest reads */n beside the other field of days as another set of days"
    else:
        return
    raise PolicyRefused(f"schedule {schedule.id!r}: {schedule.cron!r}: {reason}")


def trigger_of(schedule: Schedule) -> str:
    """Write the trigger."""
    return f"TZ={schedule.zone} {schedule.five_fields}"


def armed_of(functions: list[Mapping[str, Any]]) -> list[ArmedSchedule]:
    """Read the schedules among the functions that the server lists."""
    armed = []
    for function in functions:
        function_id = text_in(function, "id")
        trigger = cron_of(function)
        if not function_id.startswith(FUNCTION) or trigger is None:
            continue
        zoned = _ZONED.fullmatch(trigger)
        armed.append(
            ArmedSchedule(
                id=function_id.removeprefix(FUNCTION),
                task=None,
                cron=zoned[2] if zoned else trigger,
                zone=zoned[1] if zoned else "UTC",
                active=True,
                provider_id=function_id,
            )
        )
    return armed


def cron_of(function: Mapping[str, Any]) -> str | None:
    """Read a listed function's cron trigger."""
    for trigger in objects_in(function, "triggers"):
        if trigger.get("type") == "CRON":
            return text_in(trigger, "value")
    return None


def slot_of(payload: Mapping[str, Any]) -> Millis:
    """Read the nominal time of a tick; ProviderUnavailable where there is none."""
    slot = time_in(payload, "scheduledAt")
    if slot is None:
        raise unexpected_shape("scheduledAt", None, "the nominal time of a tick")
    return slot
