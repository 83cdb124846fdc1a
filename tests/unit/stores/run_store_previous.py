"""A process of the version before: makes a run store, fills it, and goes on when it is told to.

python run_store_previous.py URL    # a line on stdin for each round; prints a line after each

It must use only what that version offers.
"""

import asyncio
import sys
from typing import Any

from turnout.model.events import StoredEvent
from turnout.model.runs import Emission, NewRun, Run
from turnout.ports.run_store import Handed  # type: ignore[attr-defined]
from turnout.stores.sql import open_run_store

NOW = 1_700_000_000_000


def emission(run_id: str) -> Emission:
    """An event that starts one run."""
    event = StoredEvent(event_id=f"e-{run_id}", name="go", payload=b"{}", emitted_at=NOW)
    run = Run(
        run_id=run_id,
        task="t",
        provider="acme",
        payload=b"{}",
        event=event.name,
        event_id=event.event_id,
        emitted_at=NOW,
        due_at=NOW,
    )
    return Emission(event=event, runs=(NewRun(run=run),))


async def fill(store: Any, name: str) -> None:
    """Leave runs that are pending, sent, claimed, delivered again, and ended at their provider."""
    names = [f"{name}-{state}" for state in ("pending", "sent", "claimed", "again", "stopped")]
    await store.emit([emission(each) for each in names])
    _, sent, claimed, again, stopped = names
    for each in (sent, again, stopped):
        handed = Handed(
            run_id=each, number=1, due_at=NOW + 9, sent_at=NOW, provider_run_id=f"v-{each}"
        )
        await store.delivered([handed])
    await store.claim_delivery(claimed, 1, f"v-{claimed}", NOW)
    assert await store.redeliver(again, 1, "acme", NOW + 1)
    assert await store.redeliver(again, 2, "other", NOW + 2)
    await store.stopped(stopped, 1)


async def main(url: str) -> None:
    """Fill it once more for each line."""
    store = open_run_store(url)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        await fill(store, line.strip())
        print("filled", flush=True)  # noqa: T201 - the test waits for it
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
