"""Schedules at the vendor: an object for each, which calls itself at the next nominal time.

The server keeps the delayed call, and the state of the object says which call that is. Every
change of a schedule has a new digest; a call of an older one ends the chain that it belongs to.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeAlias

import orjson
import restate
from restate.exceptions import RetryableError

from turnout.errors import Refused, Unavailable, WrongUse
from turnout.model.protocol import Tick
from turnout.model.schedules import ArmedSchedule, Schedule
from turnout.model.tasks import App
from turnout.model.time import Millis
from turnout.ports.caller import Surroundings
from turnout_restate.api import RestateApi, Row, literal, text_in

log = logging.getLogger(__name__)

READ_AGAIN: Final = (0.05, 0.2, 0.5)
"""Seconds after each reading in which a schedule had no pending call."""
STATE_KEY: Final = "schedule"
"""The key of an object's state: what is armed, and the call that fires it."""
_FIELDS: Final = frozenset({"task", "cron", "zone", "digest", "call", "at"})
"""What the state says."""

Invoke: TypeAlias = Callable[[str, Any], Awaitable[Any]]
"""Calls a handler at a path of the ingress."""


def object_name(app: App) -> str:
    """The vendor's name of the object whose keys are an app's schedules."""
    return f"turnout.{app.name}.schedules"


class ScheduleObject:
    """The handlers of the object: `arm`, `disarm`, and `tick`, which is called at the slots."""

    def __init__(self, surroundings: Surroundings, retries: restate.InvocationRetryPolicy) -> None:
        self._worker = surroundings.worker
        self._clock = surroundings.clock
        self.definition = restate.VirtualObject(
            object_name(surroundings.app), invocation_retry_policy=retries
        )
        """What the SDK serves."""
        self.definition.handler("arm")(self._arm)
        self.definition.handler("disarm")(self._disarm)
        self._handler = self.definition.handler("tick")(self._tick)

    async def _arm(self, ctx: restate.ObjectContext, state: dict[str, Any]) -> None:
        await _stop_firing(ctx)
        await self._fire_next(ctx, state, 0)

    async def _disarm(self, ctx: restate.ObjectContext, _: dict[str, Any]) -> None:
        await _stop_firing(ctx)
        ctx.clear(STATE_KEY)

    async def _tick(self, ctx: restate.ObjectContext, slot: dict[str, Any]) -> None:
        state = await ctx.get(STATE_KEY, type_hint=dict)
        if not state or state["digest"] != slot["digest"]:
            return
        message = Tick(
            schedule=ctx.key(),
            slot=slot["at"],
            provider="restate",
            provider_run_id=ctx.request().id,
        )
        await ctx.run_typed("tick", self._claim, restate.RunOptions(), message)
        await self._fire_next(ctx, state, slot["at"])

    async def _claim(self, message: Tick) -> None:
        """Start the slot's run, or leave a slot that cannot be started to the service's catch-up.

        Repeated without end, the call would keep every other call of its schedule waiting.
        """
        try:
            await self._worker.answer(message)
        except (Refused, WrongUse) as error:
            log.warning(
                "a slot of a schedule was not started",
                extra={"action": "tick", "schedule": message.schedule, "error": str(error)},
            )
        except Unavailable as error:
            raise RetryableError(str(error), retry_after=error.retry_after) from None

    async def _fire_next(
        self, ctx: restate.ObjectContext, state: dict[str, Any], after: Millis
    ) -> None:
        """Send `tick` a delayed call for the first slot that is later than `after` and than now."""

        async def choose() -> dict[str, Millis | None]:
            """Read the clock, and the slot that comes next by it."""
            now = self._clock.now()
            schedule = _schedule(ctx.key(), state)
            return {"now": now, "at": next(schedule.slots(max(after, now)), None)}

        next_slot = await ctx.run_typed("next slot", choose)
        now, at = next_slot["now"], next_slot["at"]
        call = None
        if now is not None and at is not None:
            slot = {"digest": state["digest"], "at": at}
            delay = timedelta(milliseconds=at - now)
            handle = ctx.object_send(self._handler, ctx.key(), slot, send_delay=delay)
            call = await handle.invocation_id()
        ctx.set(STATE_KEY, {**state, "call": call, "at": at})


async def _stop_firing(ctx: restate.ObjectContext) -> None:
    state = await ctx.get(STATE_KEY, type_hint=dict)
    if state and state.get("call"):
        ctx.cancel_invocation(state["call"])


class Schedules:
    """Arms an app's schedules at the server, and reads them back."""

    def __init__(self, api: RestateApi, invoke: Invoke, app: App) -> None:
        self._api = api
        self._invoke = invoke
        self._name = object_name(app)

    async def arm(self, schedules: Sequence[Schedule]) -> None:
        """Make these the armed ones, and leave alone those that are already.

        An error of one is raised once all have been tried.
        """
        expected = {item.id: _expected_state(item) for item in schedules if not item.paused}
        states, pending = await self._read()
        calls = [self._call(key, "disarm", {}) for key in states.keys() - expected.keys()]
        for key, state in expected.items():
            current = states.get(key, {})
            if current.get("digest") != state["digest"] or not _is_live(current, pending):
                calls.append(self._call(key, "arm", state))
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            if outcome is not None:
                raise outcome

    async def armed(self) -> Sequence[ArmedSchedule]:
        """Read which schedules the server will fire, and when."""
        states, pending = await self._read()
        return [
            ArmedSchedule(
                id=key,
                task=str(state["task"]),
                cron=str(state["cron"]),
                zone=str(state["zone"]),
                active=True,
                next_at=state["at"],
                provider_id=str(state["call"]),
            )
            for key, state in states.items()
            if state.get("call") in pending
        ]

    async def stuck(self) -> Sequence[str]:
        """Name the schedules whose due call the server repeats after failures, or has paused."""
        rows = await self._ticks("target_service_key", "status IN ('backing-off', 'paused')")
        return sorted({text_in(row, "target_service_key") for row in rows})

    async def _call(self, key: str, handler: str, arg: Any) -> None:
        await self._invoke(f"/{self._name}/{key}/{handler}", arg)

    async def _read(self) -> tuple[Mapping[str, Mapping[str, Any]], frozenset[str]]:
        """Read the state of each schedule's object, and which calls are pending at the server.

        The two tables are read one after the other. A schedule that fires in between seems to have
        no pending call, so both are read again.
        """
        for pause in READ_AGAIN:
            states, pending = await self._armed_states(), await self._pending()
            if all(_is_live(state, pending) for state in states.values()):
                break
            await asyncio.sleep(pause)
        return states, pending

    async def _armed_states(self) -> Mapping[str, Mapping[str, Any]]:
        rows = await self._api.query(
            "SELECT service_key, value_utf8 FROM state"  # noqa: S608 - literals are quoted
            f" WHERE service_name = {literal(self._name)} AND key = {literal(STATE_KEY)}"
        )
        return {text_in(row, "service_key"): _state_in(row) for row in rows}

    async def _pending(self) -> frozenset[str]:
        rows = await self._ticks("id", "status != 'completed'")
        return frozenset(text_in(row, "id") for row in rows)

    async def _ticks(self, column: str, condition: str) -> Sequence[Row]:
        return await self._api.query(
            f"SELECT {column} FROM sys_invocation"  # noqa: S608 - literals are quoted
            f" WHERE target_service_name = {literal(self._name)}"
            f" AND target_handler_name = 'tick' AND {condition}"
        )


def _expected_state(schedule: Schedule) -> dict[str, Any]:
    fields = {"task": schedule.task, "cron": schedule.five_fields, "zone": schedule.zone}
    digest = hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return {**fields, "digest": digest}


def _state_in(row: Row) -> Mapping[str, Any]:
    """Read the state of an object; empty where it is not what we have written."""
    try:
        state = orjson.loads(text_in(row, "value_utf8"))
    except orjson.JSONDecodeError:
        return {}
    return state if isinstance(state, dict) and state.keys() >= _FIELDS else {}


def _is_live(state: Mapping[str, Any], pending: frozenset[str]) -> bool:
    """Whether the call that fires a schedule is pending, or it has no slot any more."""
    return bool(state) and (state["at"] is None or state["call"] in pending)


def _schedule(key: str, state: Mapping[str, Any]) -> Schedule:
    return Schedule(id=key, task=state["task"], cron=state["cron"], zone=state["zone"])
