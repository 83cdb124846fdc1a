"""Checks of the providers: reachable, tasks registered, schedules armed, the vendor's notices."""

import asyncio
from collections.abc import Sequence

from turnout.errors import TurnoutError, UnknownRun
from turnout.ports.caller import DurableCaller, Notices, Probes
from turnout.service.process import Turnout
from turnout_operator.doctor.check import CHECK_TIME, Check, Health

PROBE_TIME = 45.0
"""Seconds for a vendor's worker to start and to look: a cold start is part of it."""


async def check_provider(live: Turnout, name: str, caller: DurableCaller, start: str) -> Check:
    """Whether a provider knows the tasks and will fire the schedules; start: what to run if not."""
    title, selected = f"provider {name}", name in live.selection.names
    defined = set(await caller.defined())
    missing = [task.id for task in live.app.tasks if task.id not in defined]
    armed = {schedule.id for schedule in await caller.armed()}
    to_arm = {schedule.id for schedule in await live.slots.to_arm(name)}
    if missing and selected:
        text = f"reachable; not registered: {', '.join(missing)}"
        return Check(name=title, health=Health.FAIL, text=text, fix=start)
    unarmed = sorted(to_arm - armed) if selected else []
    if unarmed:
        text = f"reachable; schedules not armed: {', '.join(unarmed)}"
        return Check(name=title, health=Health.WARN, text=text, fix=start)
    text = f"reachable; {len(defined)} task(s) registered, {len(armed)} schedule(s) armed"
    return Check(name=title, health=Health.OK, text=text)


async def notices(live: Turnout, name: str, caller: Notices) -> list[Check]:
    """Return what the adapter noticed at its vendor; nothing where the vendor does not answer."""

    async def has_run(run_id: str) -> bool:
        try:
            await live.store.journals.load(run_id)
        except UnknownRun:
            return False
        return True

    try:
        entries = await asyncio.wait_for(caller.notices(has_run), CHECK_TIME)
    except (TurnoutError, TimeoutError):
        return []
    return [
        Check(name=f"at {name}", health=Health.WARN, text=notice.text, fix=notice.fix)
        for notice in entries
    ]


async def look_through_worker(live: Turnout) -> Sequence[Check]:
    """Return what each provider's own worker sees of this service."""
    return [
        check
        for name, caller in live.callers.items()
        for check in await _through(live, name, caller)
    ]


async def _through(live: Turnout, name: str, caller: DurableCaller) -> Sequence[Check]:
    title = f"through {name}"
    if not isinstance(caller, Probes):
        if name not in live.selection.names:
            return []
        text = "nothing to look through: no remote worker of this provider calls the service"
        return [Check(name=title, health=Health.OK, text=text)]
    try:
        results = await asyncio.wait_for(caller.probe(PROBE_TIME), PROBE_TIME + CHECK_TIME)
    except (TurnoutError, TimeoutError) as error:
        text = str(error) or f"no answer in {PROBE_TIME:.0f} s"
        return [Check(name=title, health=Health.FAIL, text=text)]
    return [
        Check(
            name=f"{title}: {result.subject}",
            health=Health.OK if result.ok else Health.FAIL,
            text=result.text,
            fix=result.fix,
        )
        for result in results
    ]
