"""What a client does with the app, over and over until all of it is done: it may die anywhere.

Whoever plays it again retries with the same keys, as a client does that got no answer.
"""

import asyncio
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg
from turnout_testing.failpoints import EMIT_IN_TRANSACTION, Failpoints

from tests.acceptance.faults_rows import rows
from turnout import Event, Turnout
from turnout.errors import RunEnded, Superseded
from turnout.model.protocol import Advance, Park, Tick
from turnout.model.runs import Run, RunFilter
from turnout.model.status import RunStatus, StepState

LONGEST = 30.0
"""Seconds in which a played script must be through."""

EXPECTED = {
    "journey": 1,
    "beside": 2,
    "child": 1,
    "told": 1,
    "limited": 3,
    "stepwise": 2,
    "sleeper": 1,
    "failing": 1,
    "failing.on-failure": 1,
    "ordered": 1,
}
"""Runs by task, when all is done."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One playing: against which store, with which slot of the schedule, how slow a step."""

    url: str
    slot: int
    slow: float = 0.0
    failpoints: Failpoints = field(default_factory=Failpoints)
    """Where the process dies."""


async def play(live: Turnout, part: Part) -> None:
    """Emit all there is, answer what waits, and return when everything has ended."""
    await _emit(live, part)
    await _order(live, part)
    await live.worker.answer(
        Tick(schedule="yearly", slot=part.slot, provider="local", provider_run_id="yearly")
    )
    end = time.monotonic() + LONGEST
    while not await _turn(live):
        if time.monotonic() > end:
            raise TimeoutError(f"not done: {await _states(live)}")
        await asyncio.sleep(0.15)


async def _emit(live: Turnout, part: Part) -> None:
    emit = live.orchestrator.emit
    await emit(
        Event(name="faults/go", payload={"slow": part.slow}, key="go"),
        Event(name="faults/sleep", payload={}, key="sleep"),
        Event(name="faults/fail", payload={}, key="fail"),
    )
    lanes = [
        Event(name="faults/limited", payload={"lane": "x"}, key=f"limited-{at}") for at in range(3)
    ]
    await emit(*lanes)
    await emit(
        *(
            Event(name="faults/stepwise", payload={"lane": "y"}, key=f"steps-{at}")
            for at in range(2)
        )
    )


async def _order(live: Turnout, part: Part) -> None:
    """Write a row and emit, in one transaction of the client's own."""
    url = part.url
    if rows(url, "SELECT id FROM orders"):
        return
    event = Event(name="faults/ordered", payload={}, key="order")
    insert = "INSERT INTO orders (id) VALUES ('order')"
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=20)) as connection:
            connection.execute(insert)
            await live.orchestrator.emit(event, connection=connection)
            part.failpoints.reach(EMIT_IN_TRANSACTION)
            connection.commit()
        return
    connecting = await psycopg.AsyncConnection.connect(url)
    async with connecting as connection_:
        await connection_.execute(insert)
        await live.orchestrator.emit(event, connection=connection_)
        part.failpoints.reach(EMIT_IN_TRANSACTION)


async def _turn(live: Turnout) -> bool:
    """Answer what waits; whether all is done."""
    runs = await live.store.runs.find(RunFilter(limit=200))
    for run in runs:
        if run.task == "journey" and not run.state.terminal:
            await _sign(live, run)
        if run.task == "sleeper" and "sleep" in run.parked_for and not run.state.terminal:
            await _move_and_cancel(live, run)
    ended = [each.task for each in runs if each.state.terminal]
    counted = {name: ended.count(name) for name in EXPECTED}
    return counted == EXPECTED and await _projected(live, runs)


async def _sign(live: Turnout, run: Run) -> None:
    step = (await live.store.journals.load(run.run_id)).steps.get("sign")
    if step is not None and step.state is StepState.OPEN:
        await live.orchestrator.emit(Event(name="faults/sign", payload={"of": run.run_id}))


async def _move_and_cancel(live: Turnout, run: Run) -> None:
    """Hand the sleeping run over again; park its new vendor run; then cancel it."""
    deliveries = await live.store.deliveries.read(run.run_id)
    now = live.clock.now()
    if len(deliveries) == 1:
        await live.store.deliveries.redeliver(run.run_id, 1, "local", now)
        return
    if deliveries[-1].claimed_at is None:
        return
    try:
        await live.worker.answer(Advance(**_calling(run, 1)))
    except Superseded:
        pass
    else:
        raise AssertionError("an old delivery was answered")
    try:
        await live.worker.answer(Park(**_calling(run, 2), seq=run.seq, token="token"))
    except RunEnded:
        return
    await live.store.deliveries.postpone(run.run_id, 2, now + 60_000)
    await live.orchestrator.cancel(run.run_id)


def _calling(run: Run, number: int) -> dict[str, Any]:
    called = f"{run.run_id}.{number}"
    return {
        "task": run.task,
        "run_id": run.run_id,
        "delivery": number,
        "provider_run_id": called,
    }


async def _projected(live: Turnout, runs: Any) -> bool:
    artifacts = live.primary.artifacts
    assert artifacts is not None
    url = live.settings.database_url.get_secret_value()
    behind = await asyncio.to_thread(
        rows, url, "SELECT run_id FROM {runs} WHERE projection_at IS NOT NULL"
    )
    stopping = await asyncio.to_thread(
        rows, url, "SELECT run_id FROM {deliveries} WHERE stopping = 1"
    )
    return not behind and not stopping


async def _states(live: Turnout) -> list[tuple[str, str, RunStatus]]:
    runs = await live.store.runs.find(RunFilter(limit=200))
    return [(each.task, each.run_id, each.state) for each in runs]
