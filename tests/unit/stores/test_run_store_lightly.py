"""What waits for the disk: all but groups of nothing but claims."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from turnout_testing.conformance.run_store import T0, emission, new_run

from turnout.model.events import StoredEvent
from turnout.model.runs import (
    Attempt,
    Calling,
    Change,
    Emission,
    Run,
    Step,
    Transition,
    Wait,
)
from turnout.model.status import AttemptState, RunStatus, StepKind
from turnout.stores.sql import open_run_store
from turnout.stores.sql.sqlite import SqliteConnection


def claim(run: Run, **more: Any) -> Change:
    """A change that claims an attempt."""
    attempt = Attempt(
        step="s",
        number=1,
        state=AttemptState.CLAIMED,
        fence=0,
        worker="w",
        claimed_at=T0,
        lease_until=T0 + 1,
    )
    return Change(before=run, after=run, **{"attempts": (attempt,), **more})


RUN = new_run("r1")
EVENT = StoredEvent(event_id="e", name="e", payload=b"{}", emitted_at=T0)
DONE = tuple(each._replace(state=AttemptState.COMPLETED) for each in claim(RUN).attempts)


@pytest.mark.parametrize(
    "more",
    [
        {"attempts": ()},
        {"attempts": DONE},
        {"attempts": (*claim(RUN).attempts, *DONE)},
        {"steps": (Step(step="s", kind=StepKind.STEP, position="0000", asked_at=T0),)},
        {"transitions": (Transition(state=RunStatus.RUNNING, at=T0),)},
        {"waits": (Wait(run_id="r1", step="s", event="e"),)},
        {"emissions": (Emission(event=EVENT),)},
        {"calling": Calling(number=1, provider_run_id="v", at=T0)},
    ],
    ids=lambda more: next(iter(more)),
)
def test_whatever_is_more_than_a_claim_is_durable(more: dict[str, Any]) -> None:
    """A change is light only if it says of nothing that it is done, asked for or begun but that."""
    assert claim(RUN).only_claims
    assert not claim(RUN, **more).only_claims


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The level of `synchronous` at each commit: 2 waits for the disk, 1 does not."""
    levels: list[int] = []
    own: Callable[[SqliteConnection], None] = SqliteConnection.commit

    def commit(opened: SqliteConnection) -> None:
        connection: sqlite3.Connection = opened._connection
        before = connection.total_changes
        ((level,),) = connection.execute("PRAGMA synchronous").fetchall()
        if before != getattr(opened, "seen", 0):
            levels.append(level)
        opened.seen = before  # type: ignore[attr-defined]
        own(opened)

    monkeypatch.setattr(SqliteConnection, "commit", commit)
    return levels


async def test_claims_alone_do_not_wait_for_the_disk(tmp_path: Path, commits: list[int]) -> None:
    """What is committed beside one, before or after it, does."""
    store = open_run_store(f"sqlite:///{tmp_path}/runs.db")
    await store.events.emit([emission(new_run("r1")), emission(new_run("r2"))])
    first, second = (await store.journals.load("r1")).run, (await store.journals.load("r2")).run
    assert commits == [2]
    assert await store.journals.apply(claim(first))
    assert commits == [2, 1]
    both = (store.journals.apply(claim(second)), store.events.emit([emission(new_run("r3"))]))
    await asyncio.gather(*both)
    assert set(commits[2:]) <= {1, 2}
    assert 2 in commits[2:]
    await store.events.emit([emission(new_run("r4"))])
    assert commits[-1] == 2
    await store.close()
