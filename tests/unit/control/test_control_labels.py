"""Labels of events: their runs carry them, and hand them down to the runs that they start."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from turnout_testing.clock import TurnableClock

from turnout import Context, Event, Retries, Turnout, app, open_turnout, task
from turnout.errors import TooLarge, WrongUse
from turnout.model.events import RunRef
from turnout.model.labels import NO_LABELS, Labels
from turnout.model.runs import Run, RunFilter
from turnout.model.status import RunOrigin
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store

LABELED = {"tags": ["vip", "eu"], "user_id": 42, "metadata": {"order": 7}}
LABELS = Labels(tags=("vip", "eu"), user_id="42", metadata=b'{"order":7}')


@task("child")
async def child(_ctx: Context, payload: Any) -> Any:
    """Return what it gets."""
    return payload


@task("heir", on="order/shipped")
async def heir(_ctx: Context, payload: Any) -> Any:
    """Return what it gets."""
    return payload


async def regret(_ctx: Context, _payload: Any) -> None:
    """Do nothing."""


async def tried(number: int) -> None:
    """Fail, whatever it gets."""
    raise ValueError(number)


@task("order", on="order/placed", on_failure=regret)
async def order(ctx: Context, payload: dict[str, Any]) -> None:
    """Start a child, emit an event, then fail."""
    await ctx.invoke(child, payload)
    await ctx.emit("order/shipped", payload)
    await ctx.step("try", tried, 1)


APP = app("labels", order, child, heir)


@pytest.fixture
async def store() -> AsyncIterator[RunStore]:
    """Give a run store that outlives what is opened on it."""
    opened = open_run_store("sqlite://")
    yield opened
    await opened.close()


def opened(store: RunStore, *, serve: bool = False) -> Turnout:
    """Open the app on the store."""
    settings = {"ORCHESTRATOR_PROVIDER": "memory"}
    return open_turnout(APP, settings, clock=TurnableClock(), store=store, serve=serve)


async def test_a_run_hands_its_labels_down(store: RunStore) -> None:
    """To the child that it invokes, to what its event starts, and to its failure hook."""
    async with open_turnout(APP, {"ORCHESTRATOR_PROVIDER": "memory"}, store=store) as live:
        event = Event(name="order/placed", payload={}, retries=Retries(max_attempts=1), **LABELED)
        (emitted,) = await live.orchestrator.emit(event)
        (ref,) = emitted.runs
        runs: dict[str, Run] = {}
        while "order.on-failure" not in runs:
            await live.clock.sleep(10)
            runs = {run.task: run for run in await store.runs.find(RunFilter())}
        assert runs.keys() == {"order", "child", "heir", "order.on-failure"}
        assert {run.labels for run in runs.values()} == {LABELS}
        assert [run.retries for run in runs.values() if run.run_id != ref.run_id] == [None] * 3
        journal = await store.journals.load(ref.run_id)
        assert len(journal.attempts["try"]) == 1, "its own policy holds, not the three of its task"


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ({"tags": ["x" * 10_000]}, WrongUse, "event 'order/placed': tags: .*10,000 characters"),
        ({"metadata": {"a": "x" * 10**7}}, TooLarge, "event 'order/placed': metadata"),
    ],
)
async def test_labels_out_of_bounds_are_refused_and_the_letter_goes_without(
    store: RunStore, labels: dict[str, Any], error: type[WrongUse], message: str
) -> None:
    """Nothing is recorded; a door keeps the event, which can be emitted without them."""
    door = opened(store)
    event = Event(name="order/placed", payload={"n": 1}, **labels)
    with pytest.raises(error, match=message):
        await door.orchestrator.emit(event)
    assert await store.runs.find(RunFilter()) == []
    with pytest.raises(error):
        await door.dead_letters.receive([event])
    (letter,) = await store.dead_letters.read(limit=9)
    assert letter.labels == NO_LABELS
    await door.dead_letters.emit(letter)
    (run,) = await store.runs.find(RunFilter())
    assert (run.payload, run.labels) == (b'{"n":1}', NO_LABELS)
    await door.close()


async def test_a_dead_letter_keeps_its_labels(store: RunStore) -> None:
    """The run that it starts at last has them, and says that it was emitted again."""
    door = opened(store)
    with pytest.raises(WrongUse):
        await door.dead_letters.receive([Event(name="order/placed", run_id="a/b", **LABELED)])
    (letter,) = await store.dead_letters.read(limit=9)
    assert letter.labels == LABELS
    await door.dead_letters.emit(letter)
    (run,) = await store.runs.find(RunFilter())
    assert (run.labels, run.origin) == (LABELS, RunOrigin.REDELIVERY)
    await door.close()


async def test_a_repetition_keeps_the_first_labels(store: RunStore) -> None:
    """The key's first run stays as it is."""
    door = opened(store)
    for user in ("first", "second"):
        emitted = await door.orchestrator.emit(
            Event(name="order/placed", key="k", user_id=user, tags=[user])
        )
    (run,) = await store.runs.find(RunFilter())
    assert run.labels == Labels(tags=("first",), user_id="first")
    assert emitted[0].runs == (RunRef(run_id=run.run_id, task="order", duplicate=True),)
    await door.close()
