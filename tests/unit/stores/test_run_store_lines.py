"""Runs that ask for slots together get what they would get one after the other."""

import asyncio
from collections.abc import Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from turnout_testing.conformance.run_store_values import T0, emission, ended, new_run

from turnout.stores.sql import open_run_store
from turnout.stores.sql.limits import Asking, take_slots
from turnout.stores.sql.schema import line
from turnout.stores.sql.store import SqlRunStore

RUNS = [f"r{number}" for number in range(6)]
_PLACES = select(line.c.run_id, line.c.state).order_by(line.c.run_id)

asks = st.tuples(
    st.lists(st.sampled_from(RUNS), min_size=1, unique=True), st.integers(min_value=1, max_value=3)
)
ends = st.sampled_from(RUNS)


@asynccontextmanager
async def filled() -> Any:
    """A store in memory with runs of two lines, which have not asked yet."""
    store = cast("SqlRunStore", open_run_store("sqlite://"))
    runs = [new_run(name, limit_key=f'"{at % 2}"') for at, name in enumerate(RUNS)]
    await store.events.emit([emission(run, slotted=True) for run in runs])
    try:
        yield store
    finally:
        await store.close()


async def asked_together(store: SqlRunStore, names: Sequence[str], limit: int) -> list[bool]:
    """Ask for all in one group, as the committer does for those that wait."""
    askings = [Asking(name, "", limit, T0, 0) for name in names]
    return list(await store._committer.write("ask", lambda tx: take_slots(tx, askings), ""))


async def asked_one_by_one(store: SqlRunStore, names: Sequence[str], limit: int) -> list[bool]:
    """Ask in order of emit, and return the answers in the order of the names."""
    answers = {name: await store.limits.take_slot(name, None, limit, T0) for name in sorted(names)}
    return [answers[name] for name in names]


@given(st.lists(st.one_of(asks, ends), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_group_gets_the_slots_that_its_runs_would_get_alone(
    actions: list[tuple[list[str], int] | str],
) -> None:
    """Whatever places they have, and whatever limit they ask with."""

    async def compare() -> None:
        async with filled() as grouped, filled() as single:
            for action in actions:
                if isinstance(action, str):
                    for store in (grouped, single):
                        if not (await store.journals.load(action)).run.state.terminal:
                            await ended(store, action)
                else:
                    answers = await asked_together(grouped, *action)
                    assert answers == await asked_one_by_one(single, *action)
                assert await places(grouped) == await places(single)

    asyncio.run(compare())


async def places(store: SqlRunStore) -> Sequence[Any]:
    """Read every place and its state."""
    return await store._committer.read("places", lambda tx: tx.rows(_PLACES, {}))


async def test_a_run_that_asks_twice_in_a_group_has_one_slot() -> None:
    """The second answer is the first's, and the other slot is for the next."""
    async with filled() as store:
        assert await asked_together(store, ["r0", "r0", "r2", "r4"], 2) == [True, True, True, False]


async def test_an_unknown_run_in_a_group_fails_only_itself() -> None:
    """The others of its group are asked for alone, and get their slots."""
    async with filled() as store:
        answers = await asyncio.gather(
            *(store.limits.take_slot(name, None, 2, T0) for name in ("r0", "nope", "r2")),
            return_exceptions=True,
        )
        assert [answers[0], answers[2]] == [True, True]
        assert "no run 'nope' is known" in str(answers[1])
