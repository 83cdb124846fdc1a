"""One of several processes on one run store: `python run_store_contender.py URL NUMBER`."""

import asyncio
import json
import sys

from turnout_testing.conformance.run_store import T0, emission, new_run

from turnout.model.runs import Change
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store


async def keys(store: RunStore, me: str) -> list[str]:
    """Emit with keys that the others use too; which run has each key."""
    calls = [
        store.events.emit([emission(new_run(f"{me}-{at}", "keyed", key=f"k{at}"))])
        for at in range(20)
    ]
    return [told.runs[0].run_id for (told,) in await asyncio.gather(*calls)]


async def wins(store: RunStore) -> int:
    """Add to a counter that the others add to."""
    won = 0
    while won < 15:
        run = (await store.journals.load("counter")).run
        count = json.loads(run.progress or b"0") + 1
        won += await store.journals.apply(
            Change(before=run, after=run._replace(progress=b"%d" % count))
        )
    return won


async def slots(store: RunStore) -> list[str]:
    """Ask for slots of one limit, as the others do."""
    names = [f"slot{at}" for at in range(9)]
    asked = await asyncio.gather(*(store.limits.take_slot(name, "s", 2, T0) for name in names))
    return [name for name, held in zip(names, asked, strict=True) if held]


async def taken(store: RunStore) -> list[str]:
    """Take what is due, as the others do."""
    names: list[str] = []
    while few := await store.due.take_deliveries(T0 + 50, limit=4, hold=10**6):
        names += [each.run_id for each in few if each.run_id.startswith("due")]
    return names


async def main(url: str, me: str) -> None:
    """Do all of it at once; say what was seen."""
    store = open_run_store(url)
    found = await asyncio.gather(keys(store, me), wins(store), slots(store), taken(store))
    await store.close()
    told = dict(zip(("keys", "wins", "held", "taken"), found, strict=True))
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
