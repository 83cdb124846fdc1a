"""Several processes on one database: keys, commits, slots, deliveries."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from turnout_testing.conformance.run_store import T0, emission, new_run

from turnout.model.runs import RunFilter
from turnout.ports.run_store import RunStore
from turnout.stores.sql import open_run_store, upgrade

SCRIPT = Path(__file__).with_name("run_store_contender.py")
PROCESSES = 3


@pytest.fixture(params=["file", "server"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that several processes can be on."""
    if request.param == "server":
        return str(request.getfixturevalue("clean_postgres_url"))
    upgrade(f"sqlite:///{tmp_path}/runs.db")
    return f"sqlite:///{tmp_path}/runs.db"


async def contend(url: str) -> list[dict[str, Any]]:
    """Run the contenders side by side; gives what each was told."""
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, str(SCRIPT), url, str(at), stdout=subprocess.PIPE
        )
        for at in range(PROCESSES)
    ]
    answers = await asyncio.gather(*(each.communicate() for each in running))
    assert [each.returncode for each in running] == [0] * PROCESSES
    return [json.loads(out) for out, _ in answers]


async def test_processes_on_one_database_agree(url: str) -> None:
    """One run per key, no commit lost, no slot too many, no delivery taken twice."""
    store: RunStore = open_run_store(url)
    await store.events.emit([emission(new_run("counter"))])
    limited = [new_run(f"slot{at}", limit_key="null") for at in range(9)]
    await store.events.emit([emission(run) for run in limited])
    await store.events.emit([emission(new_run(f"due{at}", due_at=T0 + 50)) for at in range(30)])
    told = await contend(url)
    firsts = {json.dumps(each["keys"]) for each in told}
    assert len(firsts) == 1
    assert len(await store.runs.find(RunFilter(task="keyed", limit=999))) == len(told[0]["keys"])
    counted = (await store.journals.load("counter")).run
    wins = sum(each["wins"] for each in told)
    assert (counted.seq, json.loads(counted.progress or b"0")) == (wins, wins)
    assert wins == PROCESSES * 15
    held = Counter(name for each in told for name in each["held"])
    assert len(held) <= 2
    taken = Counter(name for each in told for name in each["taken"])
    assert sorted(taken) == sorted(f"due{at}" for at in range(30))
    assert set(taken.values()) == {1}
    await store.close()
