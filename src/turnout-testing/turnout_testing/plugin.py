"""The pytest plugin: fixtures for tests of tasks. Nothing heavy is imported until one is used."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from turnout import Turnout
    from turnout.model.tasks import App
    from turnout.ports.run_store import RunStore
    from turnout_testing.clock import TurnableClock
    from turnout_testing.task_run import TaskRun


@pytest.fixture
def run_task() -> "Callable[..., TaskRun]":
    """Run a task with its time skipped, from a test that is not async.

    The same as `turnout_testing.run_task`, which async tests await.
    """
    from turnout_testing.task_run import run_task as run

    def run_now(*args: Any, **options: Any) -> "TaskRun":
        task_run: TaskRun = _in_a_loop(lambda: run(*args, **options))
        return task_run

    return run_now


@pytest.fixture
def turnout_clock() -> "TurnableClock":
    """A clock that stands still until the test turns it."""
    from turnout_testing.clock import TurnableClock

    return TurnableClock()


@pytest.fixture
def turnout_store() -> "Iterator[RunStore]":
    """A run store in memory."""
    from turnout.stores.sql import open_run_store

    store = open_run_store("sqlite://")
    yield store
    _in_a_loop(store.close)


@pytest.fixture
def turnout_app() -> "App":
    """The app of `turnout_orchestrator`; override it with your own."""
    raise pytest.UsageError(
        "turnout_orchestrator needs your app: define a fixture turnout_app that returns it"
    )


@pytest.fixture
def turnout_orchestrator(turnout_app: "App", tmp_path: "Path") -> "Turnout":
    """Your app on the provider `memory`, ready to be started.

    Neither the environment nor `.env` nor `turnout.toml` is read: artifacts go to the test's own
    folder, `tmp_path / "artifacts"`.

    ::

        async with turnout_orchestrator as live:
            await live.orchestrator.emit(Event(name="go"))
    """
    from turnout import open_turnout
    from turnout.bootstrap.settings import read_settings

    environ = {
        "ORCHESTRATOR_PROVIDER": "memory",
        "TURNOUT_ARTIFACTS": str(tmp_path / "artifacts"),
    }
    # The folder of the settings' files is one that has none.
    return open_turnout(turnout_app, settings=read_settings(environ, folder=tmp_path / "none"))


def _in_a_loop(begin: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine to its end in a thread of its own: the test may have a loop running."""

    async def whole() -> Any:
        return await begin()

    with ThreadPoolExecutor(1, thread_name_prefix="turnout-testing") as pool:
        return pool.submit(lambda: asyncio.run(whole())).result()
