"""What becomes of each option of a function, decided once for `adopt` and for its check."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import inngest

from turnout.errors import InvalidDefinition, TurnoutError
from turnout.model.adoption import AdoptionOutcome
from turnout.model.events import Only
from turnout.model.ids import check_event_name, check_task_id
from turnout.model.policies import CancelOn, Concurrency, Policies, Retries, Timeouts
from turnout.model.schedules import Schedule
from turnout_inngest.adoption.expressions import Path, equalities, literal, path_of
from turnout_inngest.adoption.sdk import Declared
from turnout_inngest.settings import STARTS

USUAL_RETRIES: Final = 4
MAX_RETRIES: Final = 20
"""What the vendor's server makes of more, without a word."""

_ZONED: Final = re.compile(r"(?:CRON_)?TZ=(\S+)\s+(.*)")
_NOT_OFFERED: Final = {
    "batch_events": "Turnout starts a run for each event",
    "debounce": "Turnout starts a run for each event",
    "idempotency": "Turnout's keys come with the event; send the event with an id",
    "priority": "runs start in the order of their events",
    "rate_limit": "Turnout drops no event",
    "singleton": "Turnout neither drops nor replaces a run; concurrency=1 queues it",
    "throttle": "Turnout has no limit per time; concurrency limits what goes on at once",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of one option."""

    option: str
    outcome: AdoptionOutcome
    reason: str
    index: int = 0
    """Which of several values of the option, from 0."""


@dataclass(kw_only=True)
class Reading:
    """A function's options as Turnout's, and a verdict for each."""

    task_id: str
    on: list[str] = field(default_factory=list)
    conditions: list[Only] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    concurrency: Concurrency | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    cancel_on: list[CancelOn] = field(default_factory=list)
    max_attempts: int = USUAL_RETRIES + 1
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def policies(self) -> Policies:
        """What the task asks for; each failure brings its own delay."""
        return Policies(
            retries=Retries(
                max_attempts=self.max_attempts, min_delay="15s", max_delay="2h", factor=2
            ),
            concurrency=self.concurrency,
            timeouts=self.timeouts,
            cancel_on=tuple(self.cancel_on),
        )

    def keep(self, option: str, reason: str, *, by_turnout: bool = False, index: int = 0) -> None:
        """Note that an option is kept; by_turnout: in a way of its own."""
        outcome = AdoptionOutcome.BY_TURNOUT if by_turnout else AdoptionOutcome.AS_IT_IS
        self.verdicts.append(Verdict(option=option, outcome=outcome, reason=reason, index=index))

    def refuse(self, option: str, reason: str, *, index: int = 0) -> None:
        """Note that an option cannot be kept."""
        self.verdicts.append(
            Verdict(option=option, outcome=AdoptionOutcome.REFUSED, reason=reason, index=index)
        )


def read_options(declared: Declared, task_id: str) -> Reading:
    """Read all options of a function."""
    reading = Reading(task_id=task_id)
    if task_id == declared.id:
        reading.keep("fn_id", f"the task {task_id!r}")
    else:
        reading.keep(
            "fn_id", f"the task {task_id!r}: other characters are not allowed", by_turnout=True
        )
    for index, trigger in enumerate(declared.triggers):
        if isinstance(trigger, inngest.TriggerEvent):
            _event(reading, trigger, index, always=_unconditional(declared, trigger.event))
        else:
            _cron(reading, trigger, index)
    for name, value in declared.options.items():
        if value is not None and not (name == "name" and value == declared.id):
            _option(reading, name, value)
    if declared.on_failure is not None:
        reading.keep("on_failure", "runs when a run has failed; tried once", by_turnout=True)
    if declared.middleware:
        reading.keep("middleware", "runs inside the SDK, around every request")
    return reading


def _unconditional(declared: Declared, event: str) -> bool:
    return any(
        isinstance(trigger, inngest.TriggerEvent)
        and trigger.event == event
        and not trigger.expression
        for trigger in declared.triggers
    )


def _event(reading: Reading, trigger: inngest.TriggerEvent, index: int, *, always: bool) -> None:
    name = trigger.event
    if name.startswith("inngest/"):
        reading.refuse("trigger", f"{name!r} is an event of the vendor's server", index=index)
        return
    if name.startswith(STARTS):
        reading.refuse("trigger", f"{name!r} is a name that Turnout starts tasks by", index=index)
        return
    try:
        check_event_name(name)
    except TurnoutError as error:
        reading.refuse("trigger", f"{error}; a pattern is not offered", index=index)
        return
    if not trigger.expression:
        reading.keep("trigger", f"starts on {name!r}", index=index)
    else:
        try:
            match = tuple(_event_literals(trigger.expression))
        except TurnoutError as error:
            reading.refuse("trigger", f"expression {error}", index=index)
            return
        reading.keep("trigger", f"{name!r} if {trigger.expression}", by_turnout=True, index=index)
        if not always:
            reading.conditions.append(Only(event=name, match=match))
    if name not in reading.on:
        reading.on.append(name)


def _event_literals(expression: str) -> Iterator[tuple[str, Any]]:
    for equal in equalities(expression):
        sides = equal.first, equal.second
        paths = [side for side in sides if isinstance(side, Path)]
        if len(paths) != 1 or paths[0].root != "event":
            raise InvalidDefinition(f"{expression!r} compares more than event.data.… with a value")
        value = sides[1] if sides[0] is paths[0] else sides[0]
        assert not isinstance(value, Path)
        yield paths[0].at, value.value


def _cron(reading: Reading, trigger: inngest.TriggerCron, index: int) -> None:
    if getattr(trigger, "jitter", None):
        reading.refuse("trigger", "jitter: Turnout's schedules are exact", index=index)
        return
    zoned = _ZONED.fullmatch(trigger.cron.strip())
    cron, zone = (zoned[2], zoned[1]) if zoned else (trigger.cron, "UTC")
    crons = len(reading.schedules)
    suffix = f".{crons + 1}" if crons else ""
    try:
        schedule = Schedule(
            id=check_task_id(reading.task_id[:80] + suffix),
            task=reading.task_id,
            cron=cron,
            zone=zone,
            payload={"cron": trigger.cron},
        )
    except TurnoutError as error:
        reading.refuse("trigger", str(error), index=index)
        return
    reading.schedules.append(schedule)
    reading.keep("trigger", f"the schedule {schedule.id!r}: {trigger.cron}", index=index)


def _option(reading: Reading, name: str, value: Any) -> None:
    if name in _NOT_OFFERED:
        reading.refuse(name, _NOT_OFFERED[name])
    elif name == "name":
        reading.keep(name, "a label; runs show the task's id", by_turnout=True)
    elif name == "retries":
        _retries(reading, value)
    elif name == "concurrency":
        _concurrency(reading, value)
    elif name == "timeouts":
        _timeouts(reading, value)
    elif name == "cancel":
        for index, rule in enumerate(value):
            _cancel(reading, rule, index)


def tries_of(declared: Declared) -> int:
    """Say how often a step is tried, the first included."""
    value = declared.options["retries"]
    return (USUAL_RETRIES if value is None else min(value, MAX_RETRIES)) + 1


def _retries(reading: Reading, value: int) -> None:
    reading.max_attempts = min(value, MAX_RETRIES) + 1
    reading.keep("retries", f"{reading.max_attempts} tries of a step, the first included")


def _concurrency(reading: Reading, limits: list[inngest.Concurrency]) -> None:
    if not limits:
        return
    if len(limits) > 1:
        reading.refuse("concurrency", "a task has one limit")
        return
    (limit,) = limits
    if limit.scope not in {None, "fn"}:
        reading.refuse("concurrency", f"scope {limit.scope!r}: a limit is of one task")
        return
    if limit.limit < 1:
        reading.keep("concurrency", "a limit of 0 is none", by_turnout=True)
        return
    try:
        key = None if limit.key is None or literal(limit.key) else path_of(limit.key)
    except TurnoutError as error:
        reading.refuse("concurrency", f"key {error}")
        return
    reading.concurrency = Concurrency(limit=limit.limit, key=key, counts="steps")
    reading.keep("concurrency", f"{limit.limit} executing steps at once, in order", by_turnout=True)


def _timeouts(reading: Reading, value: inngest.Timeouts) -> None:
    try:
        reading.timeouts = Timeouts(queue=_timedelta(value.start), run=_timedelta(value.finish))
    except TurnoutError as error:
        reading.refuse("timeouts", str(error))
        return
    reading.keep(
        "timeouts", "a run that is late ends as timed_out, not as cancelled", by_turnout=True
    )


def _cancel(reading: Reading, value: inngest.Cancel, index: int) -> None:
    if value.timeout is not None:
        reading.refuse("cancel", "timeout: Turnout listens until the run ends", index=index)
        return
    try:
        check_event_name(value.event)
        match = None if value.if_exp is None else _same_path(value.if_exp)
    except TurnoutError as error:
        reading.refuse("cancel", str(error), index=index)
        return
    reading.cancel_on.append(CancelOn(event=value.event, match=match))
    reading.keep("cancel", f"{value.event!r} cancels a run", by_turnout=True, index=index)


def _same_path(expression: str) -> str:
    equal_sides = equalities(expression)
    paths = [side for equal in equal_sides for side in (equal.first, equal.second)]
    if len(equal_sides) == 1 and all(isinstance(side, Path) for side in paths):
        roots = {side.root: side.at for side in paths if isinstance(side, Path)}
        if len(roots) == 2 and roots["event"] == roots["async"]:  # noqa: PLR2004 - both roots
            return roots["event"]
    raise InvalidDefinition(
        f"{expression!r} is not of the form event.data.id == async.data.id, one path on both sides"
    )


def _timedelta(duration: int | timedelta | None) -> timedelta | None:
    return timedelta(milliseconds=duration) if isinstance(duration, int) else duration
