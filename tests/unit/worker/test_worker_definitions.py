"""A caller of another version of the app is served task by task while versions overlap."""

from typing import Any

import pytest
from turnout_testing.clock import TurnableClock

from turnout import Context, Retries, app, task
from turnout.errors import DefinitionMismatch, TurnoutError, Unavailable
from turnout.model.protocol import Advance, Probe
from turnout.model.replicas import ALIVE, Replica
from turnout.model.tasks import App
from turnout.stores.sql import open_run_store
from turnout.worker.definitions import READ_EVERY, Definitions


@task("same", on="same/go", on_failure=None)
async def same(_ctx: Context, _payload: dict[str, Any]) -> None:
    """Be in both versions."""


@task("moved", on="moved/go")
async def moved(_ctx: Context, _payload: dict[str, Any]) -> None:
    """Have other policies in the next version."""


@task("moved", on="moved/go", retries=Retries(max_attempts=9))
async def moved_on(_ctx: Context, _payload: dict[str, Any]) -> None:
    """Be the next version of `moved`."""


@task("added", on="added/go")
async def added(_ctx: Context, _payload: dict[str, Any]) -> None:
    """Be in the next version only."""


OLD, NEW = app("a", same, moved), app("a", same, moved_on, added)


def replica(known: App, seen_at: int, *, tells_tasks: bool = True) -> Replica:
    """A process that runs a version."""
    return Replica(
        replica_id="r",
        provider="local",
        definition=known.definition,
        version="1",
        seen_at=seen_at,
        tasks=known.task_definitions if tells_tasks else {},
    )


def advance(task_id: str, definition: str) -> Advance:
    """The first call of a vendor run."""
    return Advance(task=task_id, definition=definition, run_id="r", delivery=1, provider_run_id="v")


@pytest.mark.parametrize("version", [(OLD, NEW), (NEW, OLD)], ids=["old replica", "new replica"])
@pytest.mark.parametrize(
    ("task_id", "alive", "tells_tasks", "error"),
    [
        ("same", True, True, None),
        ("same", False, True, None),
        ("moved", True, True, Unavailable),
        ("moved", False, True, DefinitionMismatch),
        ("added", True, True, Unavailable),
        ("added", False, True, DefinitionMismatch),
        ("same", True, False, Unavailable),
        ("same", False, False, DefinitionMismatch),
    ],
)
async def test_a_task_that_is_the_same_is_served(
    version: tuple[App, App],
    task_id: str,
    error: type[TurnoutError] | None,
    *,
    alive: bool,
    tells_tasks: bool,
) -> None:
    """Another one is to be tried again while a living replica serves it, else it is refused."""
    ours, theirs = version
    clock, store = TurnableClock(), open_run_store("sqlite://")
    seen_at = clock.now() - (0 if alive else ALIVE)
    await store.replicas.beat(replica(theirs, seen_at, tells_tasks=tells_tasks))
    definitions = Definitions(ours, store.replicas, clock, frozenset())
    call = advance(task_id, theirs.definition)
    if error is None:
        await definitions.check(call)
    else:
        with pytest.raises(error):
            await definitions.check(call)
    await definitions.check(advance(task_id, ours.definition))
    await store.close()


async def test_a_definition_that_nobody_published_is_refused() -> None:
    """Until a replica does, which is noticed within a second; a probe names no task."""
    clock, store = TurnableClock(), open_run_store("sqlite://")
    definitions = Definitions(OLD, store.replicas, clock, frozenset({"accepted"}))
    probe = Probe(definition=NEW.definition)
    for call in (advance("same", NEW.definition), probe):
        with pytest.raises(DefinitionMismatch, match="deploy both from the same tasks"):
            await definitions.check(call)
    await store.replicas.beat(replica(NEW, clock.now()))
    await clock.turn_to(clock.now() + READ_EVERY)
    await definitions.check(advance("same", NEW.definition))
    with pytest.raises(Unavailable, match="send the call again"):
        await definitions.check(probe)
    await definitions.check(advance("gone", "accepted"))
    await store.close()
