"""The life of a process: what a start that fails has opened is closed again."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from turnout import Turnout, app, open_turnout, task

LATER = 3.0
"""Seconds after which a task that still runs was left behind."""

STAGES = {
    "routes": ("routes", "read"),
    "checks": ("orchestrator", "define"),
    "callers": ("last_caller", "start"),
    "primary's pump": ("primary.pump", "run"),
    "shadow's pump": ("shadow.pump", "run"),
    "feeder": ("feeder", "start"),
    "registration": ("registrar", "register_all"),
    "heartbeat": ("heartbeat", "run"),
}
"""Each stage of a start, in order, and the call in which it fails."""


class StageFailed(Exception):
    """What a test raises in a stage."""


@task("hello", on="hello/asked")
async def hello(_ctx: Any, _payload: dict[str, Any]) -> None:
    """Do nothing."""


@pytest.fixture
def live(tmp_path: Path, made_up_adapters: None) -> Turnout:
    """Everything that a process can hold: a dual run, with artifacts, whose vendors are away."""
    vendors = {"ACME_URL": "http://127.0.0.1:9", "BOLT_URL": "http://127.0.0.1:9"}
    return open_turnout(
        app("life", hello),
        {
            **vendors,
            **dict.fromkeys(("ACME_KEY", "BOLT_KEY"), "right"),
            "TURNOUT_SERVICE_URL": "http://127.0.0.1:1",
            "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/t.db",
            "TURNOUT_ARTIFACTS": f"{tmp_path}/artifacts",
            "ORCHESTRATOR_PROVIDER": "dual",
            "ORCHESTRATOR_PRIMARY": "acme",
            "ORCHESTRATOR_SHADOW": "bolt",
        },
    )


@pytest.fixture
def closed(live: Turnout, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is closed, and close it."""
    counts: Counter[str] = Counter()

    def count(owner: Any, name: str, title: str) -> None:
        original = getattr(owner, name)

        async def close() -> None:
            counts[title] += 1
            await original()

        monkeypatch.setattr(owner, name, close)

    assert live.shadow is not None
    for title, side in (("primary", live.primary), ("shadow", live.shadow)):
        count(side.store, "close", f"{title}'s store")
        count(side.artifacts, "aclose", f"{title}'s artifacts")
    return counts


@pytest.mark.parametrize("stage", STAGES)
async def test_a_start_that_fails_closes_what_it_opened(
    stage: str, live: Turnout, closed: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever stage fails, no task is left running, and each store is closed once."""

    def fail(*_arguments: Any) -> None:
        raise StageFailed

    path, name = STAGES[stage]
    owner: Any = live
    for part in path.split("."):
        owner = [*live.callers.values()][-1] if part == "last_caller" else getattr(owner, part)
    monkeypatch.setattr(owner, name, fail)
    before = asyncio.all_tasks()
    with pytest.raises(StageFailed):
        await live.start()
    async with asyncio.timeout(LATER):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)
    stores = [
        f"{side}'s {kind}" for side in ("primary", "shadow") for kind in ("store", "artifacts")
    ]
    assert closed == dict.fromkeys(stores, 1)
    await live.close()
    assert closed == dict.fromkeys(stores, 1)


async def test_what_is_opened_and_never_started_is_closed(
    live: Turnout, closed: Counter[str]
) -> None:
    """A command that only asks closes the stores that it opened."""
    await live.close()
    assert set(closed.values()) == {1}
    assert len(closed) == 4


async def test_a_process_that_ends_leaves_no_task_behind(live: Turnout) -> None:
    """After the whole life, nothing goes on in the background."""
    before = asyncio.all_tasks()
    async with live:
        assert len(asyncio.all_tasks()) > len(before)
    async with asyncio.timeout(LATER):
        while asyncio.all_tasks() - before:
            await asyncio.sleep(0.01)


async def test_a_beat_that_fails_does_not_stop_the_next(
    live: Turnout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller that cannot say how its connection stands costs a replica no more than a beat."""
    asked = 0

    def link() -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise StageFailed

    monkeypatch.setattr("turnout.service.heartbeat.INTERVAL", 0.01)
    monkeypatch.setattr([*live.callers.values()][-1], "link", link, raising=False)
    async with live, asyncio.timeout(LATER):
        while not await live.store.replicas.read(since=0):
            await asyncio.sleep(0.01)
    assert asked > 1
