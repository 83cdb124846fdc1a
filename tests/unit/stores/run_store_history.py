"""A history that passes every commit point of the run store, run once for each, killed there.

`python run_store_history.py FOLDER` prints what was in the tables: for the undisturbed history
before and after each operation, for the others after the kill.
"""

import asyncio
import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from turnout_testing.conformance.run_store import (
    T0,
    emission,
    event,
    new_attempt,
    new_run,
    new_step,
)
from turnout_testing.failpoints import POINTS, Failpoints

from turnout.model.policies import Timeouts
from turnout.model.runs import Emission, SendResult, Wait
from turnout.model.schedules import Schedule
from turnout.model.transitions import begin
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store

Operation = Callable[[RunStore], Awaitable[object]]


async def emit(store: RunStore) -> object:
    """An event that starts a run, and one that starts none."""
    wait = Wait(run_id="r1", step=None, event="stop")
    first = emission(new_run(limit_key="null", key="k"), slotted=True, cancel_on=(wait,))
    second = Emission(event=event("e2", "other"))
    return await store.events.emit([first, second])


async def apply(store: RunStore) -> object:
    """Begin the run, claim an attempt, owe a wake, emit."""
    change = begin(await store.journals.load("r1"), Timeouts(), T0)
    assert change is not None
    more = replace(change, steps=(new_step(),), attempts=(new_attempt(),), wake_at=T0)
    return await store.journals.apply(replace(more, emissions=(emission(new_run("r2")),)))


async def delivered(store: RunStore) -> object:
    """Record a sending."""
    handed = SendResult(run_id="r2", number=1, due_at=T0 + 9, sent_at=T0, provider_run_id="v2")
    return await store.deliveries.record([handed])


async def stopped(store: RunStore) -> object:
    """Confirm that the old vendor run is gone."""
    return await store.deliveries.mark_stopped("r1", 1)


async def park_on(store: RunStore) -> object:
    """Register a token."""
    run = (await store.journals.load("r1")).run
    return await store.deliveries.park("r1", 1, run.seq, "token")


async def tick(store: RunStore) -> object:
    """Claim a schedule's slot."""
    return await store.schedules.tick("s", T0, "local", emission(new_run("r3")), T0)


HISTORY: dict[str, Operation] = {
    "emit": emit,
    "due_deliveries": lambda store: store.due.take_deliveries(T0, limit=9, hold=5),
    "claim_delivery": lambda store: store.deliveries.claim("r1", 1, "v1", T0),
    "take_slot": lambda store: store.limits.take_slot("r1", None, 1, T0),
    "apply": apply,
    "delivered": delivered,
    "postpone": lambda store: store.deliveries.postpone("r2", 1, T0 + 50),
    "park_on": park_on,
    "due_wakes": lambda store: store.due.take_wakes(T0, limit=9, resend=5),
    "renew": lambda store: store.leases.renew([("r1", "s", 1)], T0 + 99_000),
    "unprojected": lambda store: store.projections.take(limit=9, now=T0, hold=5),
    "projected": lambda store: store.projections.record("r1", 1),
    "redeliver": lambda store: store.deliveries.redeliver("r1", 1, "other", T0),
    "stopped": stopped,
    "tick": tick,
}


def tables(path: Path) -> str:
    """A digest of all that is in a file."""
    connection = sqlite3.connect(path)
    listing = "SELECT name FROM sqlite_master WHERE name LIKE 'turnout%' AND type = 'table'"
    names = sorted(name for (name,) in connection.execute(listing))
    found = {name: sorted(map(repr, connection.execute(f"SELECT * FROM {name}"))) for name in names}
    connection.close()
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


async def play(path: Path, failpoints: Failpoints, *, seen: dict[str, str] | None = None) -> None:
    """Run the history; note what was in the tables around each operation."""
    store = open_run_store(f"sqlite:///{path}", around=failpoints.around)
    await store.schedules.put(Schedule(id="s", task="t", cron="* * * * *"), "local", T0)
    for name, operation in HISTORY.items():
        if seen is not None:
            seen[f"before {name}"] = tables(path)
        await operation(store)
        if seen is not None:
            seen[f"after {name}"] = tables(path)
    await store.close()


def killed(path: Path, place: str) -> dict[str, object]:
    """Play the history in a process of its own that dies at a place."""
    child = os.fork()
    if child == 0:
        asyncio.run(play(path, Failpoints(place)))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    signal = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return {"signal": signal, "tables": tables(path), "path": str(path)}


def main(folder: Path) -> None:
    """Play it for every place, then undisturbed: forks come before threads."""
    told: dict[str, object] = {}
    for place in sorted(POINTS):
        path = Path(shutil.copy(folder / "template.db", folder / f"{place}.db"))
        told[place] = killed(path, place)
    seen: dict[str, str] = {}
    path = Path(shutil.copy(folder / "template.db", folder / "undisturbed.db"))
    asyncio.run(play(path, Failpoints(), seen=seen))
    told["undisturbed"] = seen
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
