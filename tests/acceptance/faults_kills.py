"""Plays the script in processes that are killed at given places, then in ones that are not.

`python -m tests.acceptance.faults_kills < CASES`: a JSON list of cases on standard input, the
results on standard output. Everything is imported once; each playing is a fork of its own, that
opens its own stores, and several go on side by side.
"""

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turnout_testing.failpoints import Failpoints

from tests.acceptance.faults_app import faults, schedule_of
from tests.acceptance.faults_ledger import torn
from tests.acceptance.faults_script import Part, play
from turnout import open_turnout
from turnout.bootstrap.adapters import installed, load
from turnout.stores.sql import open_run_store

AT_ONCE = 16
"""Processes side by side: they mostly wait for what the dead one held."""

AHEAD = 170
"""Seconds from a case's begin to the minute of its schedule's slot."""

LONGEST = 60
"""Seconds after which a process is ended by its own alarm."""


@dataclass(kw_only=True)
class Case:
    """A place to die at, and the stores to die over."""

    name: str
    url: str
    folder: str
    place: str | None
    """The failpoint with the number of the pass; None: nobody dies, the passes are counted."""
    slot: int = 0
    """The schedule's one slot: soon enough to be ticked ahead, too late for the service's tick."""
    slow: float = 0.0
    killed: bool = False
    torn: list[str] = field(default_factory=list)
    """What was there in part after the kill."""
    error: str = ""
    """Why the one after it did not finish."""

    @property
    def log(self) -> Path:
        """Where its processes write."""
        return Path(self.folder, "log")


def main(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Play all cases; a case's killed process is followed by its heir."""
    for name in installed():
        load(name)
    gc.freeze()
    waiting = [Case(**each) for each in cases]
    done: list[Case] = []
    at_work: dict[int, tuple[Case, bool]] = {}
    while waiting or at_work:
        while waiting and len(at_work) < AT_ONCE:
            case = waiting.pop(0)
            case.slot = int(time.time() + AHEAD) // 60 * 60_000
            at_work[fork(lambda case=case: run(case, doomed=True), case)] = (case, True)  # type: ignore[misc]
        child, status = os.wait()
        case, doomed = at_work.pop(child)
        if doomed and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            case.killed = True
            case.torn = torn(case.url)
            heir = fork(lambda case=case: run(case, doomed=False), case)  # type: ignore[misc]
            at_work[heir] = (case, False)
            continue
        if status != 0:
            case.error = f"status {status}: {case.log.read_text()[-4000:]}"
        done.append(case)
    return [vars(case) for case in done]


def fork(work: Callable[[], None], case: Case) -> int:
    """Start a process that does the work and ends, with its words in the case's log."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        signal.alarm(LONGEST)
        log = os.open(case.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - the edge of a process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def run(case: Case, *, doomed: bool) -> None:
    """Be a service and its client, until all is done."""
    failpoints = Failpoints(case.place if doomed else None)
    os.environ["FAULTS_EFFECTS"] = str(Path(case.folder, "effects"))
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve(case, failpoints))
    if case.place is None:
        Path(case.folder, "passes").write_text(json.dumps(failpoints.passes))


async def serve(case: Case, failpoints: Failpoints) -> None:
    """Open the service, and play the client's part beside it."""
    store = open_run_store(case.url, around=failpoints.around)
    app = replace(faults, schedules=(schedule_of(case.slot),))
    async with open_turnout(app, environ(case.url, Path(case.folder)), store=store) as live:
        await play(live, Part(url=case.url, slot=case.slot, slow=case.slow, failpoints=failpoints))


def environ(url: str, folder: Path) -> Mapping[str, str]:
    """The settings of a service over these stores."""
    return {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": url,
        "TURNOUT_ARTIFACTS": str(folder / "artifacts"),
        "TURNOUT_LEASE": "2s",
    }


if __name__ == "__main__":
    json.dump(main(json.load(sys.stdin)), sys.stdout)
