"""Searching runs: as by a plain filter over a list, in pages that inserts do not disturb."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from turnout_testing.conformance.run_store_values import T0, emission, new_run

from tests.postgres import PostgresServer
from turnout.model.labels import Labels
from turnout.model.policies import Timeouts
from turnout.model.runs import Failure, Run, RunFilter
from turnout.model.status import RunStatus
from turnout.model.transitions import begin, end
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store

TASKS, USERS, TAGS, PROVIDERS = "ab", ("u1", "u2"), ("red", "green", "é"), ("x", "y")
ERRORS = (None, Failure(name="ValueError", message="no such order"), Failure(name="E", message=""))
NUMBERS = count(1)
"""Of the runs of all examples."""
DONE: dict[RunStatus, dict[str, Any]] = {
    RunStatus.COMPLETED: {"result": b"null"},
    RunStatus.CANCELLED: {},
}

_RUNS = st.fixed_dictionaries(
    {
        "task": st.sampled_from(TASKS),
        "provider": st.sampled_from(PROVIDERS),
        "emitted_at": st.integers(T0, T0 + 3),
        "user_id": st.sampled_from((None, *USERS)),
        "tags": st.lists(st.sampled_from(TAGS), unique=True).map(tuple),
        "state": st.sampled_from(RunStatus),
        "error": st.sampled_from(ERRORS[1:]),
        "shadow": st.sampled_from((None, "z")),
    }
)
_FILTERS = st.builds(
    RunFilter,
    task=st.none() | st.sampled_from(TASKS),
    states=st.frozensets(st.sampled_from(RunStatus), max_size=3),
    provider=st.none() | st.sampled_from(PROVIDERS),
    shadowed=st.booleans(),
    tags=st.lists(st.sampled_from(TAGS), unique=True, max_size=2).map(tuple),
    user_id=st.none() | st.sampled_from(USERS),
    since=st.none() | st.integers(T0, T0 + 4),
    until=st.none() | st.integers(T0, T0 + 4),
    error=st.none() | st.sampled_from(("", "order", "E: ", "Value", "%")),
)


def wanted(run: Run, run_filter: RunFilter) -> bool:
    """Whether a run meets every condition: the filter, said plainly."""
    error = "" if run.error is None else f"{run.error.name}: {run.error.message}"
    return (
        run_filter.task in {None, run.task}
        and (not run_filter.states or run.state in run_filter.states)
        and run_filter.provider in {None, run.provider}
        and (run.shadow is not None or not run_filter.shadowed)
        and set(run_filter.tags) <= set(run.labels.tags)
        and run_filter.user_id in {None, run.labels.user_id}
        and (run_filter.since is None or run.emitted_at >= run_filter.since)
        and (run_filter.until is None or run.emitted_at < run_filter.until)
        and (
            run_filter.error is None
            or (run.state in {RunStatus.FAILED, RunStatus.TIMED_OUT} and run_filter.error in error)
        )
    )


async def insert(store: RunStore, values: dict[str, Any]) -> None:
    """Emit a run, and bring it to its state."""
    state, error, run_id = values["state"], values["error"], f"r{next(NUMBERS)}"
    fields = {key: values[key] for key in ("task", "provider", "emitted_at", "shadow")}
    labels = Labels(tags=values["tags"], user_id=values["user_id"])
    run = new_run(run_id, labels=labels, **fields)
    await store.events.emit([emission(run)])
    if state is RunStatus.QUEUED:
        return
    if state is RunStatus.RUNNING:
        change = begin(await store.journals.load(run_id), Timeouts(), T0)
    else:
        change = end(run, state, T0, **DONE.get(state, {"error": error}))
    assert change is not None
    assert await store.journals.apply(change)


async def all_pages(store: RunStore, run_filter: RunFilter) -> list[Run]:
    """Read every page, newest first; one is inserted after the first."""
    page = await store.runs.find(run_filter)
    runs: list[Run] = []
    while page:
        assert len(page) <= run_filter.limit
        runs += page
        if len(runs) == len(page):
            await store.events.emit([emission(new_run(f"r{next(NUMBERS)}", "a"))])
        page = await store.runs.find(replace(run_filter, before=page[-1].emit_seq))
    return runs


async def all_in_order(store: RunStore, run_filter: RunFilter) -> list[Run]:
    """Read every page in order of emit."""
    page = await store.runs.find(replace(run_filter, after=0))
    runs: list[Run] = []
    while page:
        runs += page
        page = await store.runs.find(replace(run_filter, after=page[-1].emit_seq))
    return runs


@pytest.fixture(scope="module", params=["file", "server"])
def stored(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, tmp_path_factory: Any
) -> Iterator[tuple[asyncio.Runner, RunStore]]:
    """A store that fills up, and the loop that uses it."""
    if request.param == "file":
        url = f"sqlite:///{tmp_path_factory.mktemp('search')}/runs.db"
    else:
        url = postgres_server.kept_database()
    with asyncio.Runner() as runner:
        store = open_run_store(url)
        yield runner, store
        runner.run(store.close())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    runs=st.lists(_RUNS, min_size=1, max_size=8),
    filters=st.lists(_FILTERS, min_size=1, max_size=6),
    limit=st.integers(3, 20),
)
def test_a_search_is_a_filter_over_a_list(
    stored: tuple[asyncio.Runner, RunStore],
    runs: Sequence[dict[str, Any]],
    filters: Sequence[RunFilter],
    limit: int,
) -> None:
    """Whatever the conditions, whichever index serves, and however many runs come meanwhile."""
    runner, store = stored
    runner.run(_compare(store, runs, [replace(each, limit=limit) for each in filters]))


async def _compare(
    store: RunStore, runs: Sequence[dict[str, Any]], filters: Sequence[RunFilter]
) -> None:
    for values in runs:
        await insert(store, values)
    for run_filter in filters:
        stored_runs = await store.runs.find(RunFilter(after=0, limit=100_000))
        expected = [run for run in stored_runs if wanted(run, run_filter)]
        assert await all_in_order(store, run_filter) == expected
        assert await all_pages(store, run_filter) == expected[::-1]
