"""Retries of ended runs: what the new run begins with, and what becomes of the old one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from turnout_operator.retries import retries_of, retry

from turnout import Context, Event, Retries, Turnout, app, open_turnout, task
from turnout.errors import WrongUse
from turnout.model.runs import Run
from turnout.model.status import RunOrigin, RunStatus

DONE: list[str] = []
"""The bodies that ran, in order."""
BROKEN: list[bool] = []
"""Holds something while the second step fails."""


async def fetch() -> str:
    """Succeed."""
    DONE.append("fetch")
    return "fetched"


async def store_it(value: str) -> str:
    """Fail while something is broken."""
    DONE.append("store")
    if BROKEN:
        raise ValueError(value)
    return value


@task("load", on="do/load", retries=Retries(max_attempts=1))
async def load(ctx: Context, _payload: Any) -> str:
    """Fetch, then store."""
    value = await ctx.step("fetch", fetch)
    return await ctx.step("store", store_it, value)


APP = app("retries", load)


@pytest.fixture
async def live() -> AsyncIterator[Turnout]:
    """Serve the app."""
    DONE.clear()
    BROKEN[:] = [True]
    async with open_turnout(APP, {"ORCHESTRATOR_PROVIDER": "memory"}) as opened:
        yield opened


async def ended(live: Turnout, run_id: str) -> Run:
    """Wait for a run's end."""
    while not (run := (await live.store.journals.load(run_id)).run).state.terminal:
        await live.clock.sleep(10)
    return run


async def failed(live: Turnout) -> str:
    """Leave a run that failed at its second step."""
    (emitted,) = await live.orchestrator.emit(Event(name="do/load", key="k", user_id="u1"))
    run_id = emitted.runs[0].run_id
    assert (await ended(live, run_id)).state is RunStatus.FAILED
    return run_id


@pytest.mark.parametrize(
    ("from_start", "copied", "bodies"),
    [(False, 1, ["store"]), (True, 0, ["fetch", "store"])],
)
async def test_a_retry_is_a_new_run_that_goes_on_or_begins_again(
    live: Turnout, *, from_start: bool, copied: int, bodies: list[str]
) -> None:
    """Completed steps are not done again, unless from the start; the old run stays failed."""
    old_id = await failed(live)
    old = await live.store.journals.load(old_id)
    DONE.clear()
    BROKEN.clear()
    new_id, steps = await retry(live, old_id, from_start=from_start, by="olha")
    new = await ended(live, new_id)
    assert (new.state, new.result, steps) == (RunStatus.COMPLETED, b'"fetched"', copied)
    assert bodies == DONE
    assert (new.retry_of, new.origin, new.labels) == (old_id, RunOrigin.RETRY, old.run.labels)
    assert (new.event, new.event_id, new.payload, new.key) == (
        *("do/load", old.run.event_id, old.run.payload),
        None,
    )
    assert await live.store.journals.load(old_id) == old
    assert await retries_of(live.store, old_id) == [new_id]


async def test_what_has_not_failed_is_not_retried(live: Turnout) -> None:
    """Nor what is retried already; a retry that failed can be retried itself."""
    old_id = await failed(live)
    again, _ = await retry(live, old_id, from_start=False, by="olha")
    assert (await ended(live, again)).state is RunStatus.FAILED
    BROKEN.clear()
    third, _ = await retry(live, again, from_start=False, by="olha")
    await ended(live, third)
    with pytest.raises(WrongUse, match="is completed; nothing is to be retried"):
        await retry(live, third, from_start=False, by="olha")


async def test_a_run_has_one_retry_at_a_time(tmp_path: Path) -> None:
    """Two people who ask one after the other start one; nobody serves it meanwhile."""
    BROKEN[:] = [True]
    settings = {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/runs.db",
        "TURNOUT_ARTIFACTS": "none",
    }
    async with open_turnout(APP, settings) as live:
        old_id = await failed(live)
    async with open_turnout(APP, settings, serve=False) as live:
        first, _ = await retry(live, old_id, from_start=False, by="olha")
        journal = await live.store.journals.load(first)
        assert (journal.run.state, list(journal.steps)) == (RunStatus.QUEUED, ["fetch"])
        with pytest.raises(WrongUse, match=f"retried already, by the run {first}"):
            await retry(live, old_id, from_start=False, by="jun")
        with pytest.raises(WrongUse, match="is queued; nothing is to be retried"):
            await retry(live, first, from_start=False, by="jun")
