"""A bounded soak: three worker processes, of which one after the other is killed or stopped.

Events of all kinds are emitted all the time, with keys, each again when it got no answer. When the
time is over nobody is killed any more, all runs must end, and the run store and what the steps
wrote down must agree. The seed decides who dies when and how; the clock is real.
"""

import argparse
import asyncio
import itertools
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.acceptance.faults_app import faults  # noqa: E402 - the tree is on the path only now
from tests.acceptance.faults_ledger import (  # noqa: E402
    doubled,
    effects_of,
    ended,
    overlapping,
    repeated,
    torn,
    unwritten,
)
from tests.acceptance.faults_rows import own_table, rows  # noqa: E402
from tests.postgres import PostgresServer  # noqa: E402
from turnout import Event, Turnout, open_turnout  # noqa: E402
from turnout.errors import StoreUnavailable  # noqa: E402
from turnout.model.runs import RunFilter  # noqa: E402
from turnout.model.status import RunStatus, StepState  # noqa: E402

WORKERS = 3
LIVE = frozenset(each for each in RunStatus if not each.terminal)
PATIENCE = 120
"""Seconds that runs have to end in, when nobody is killed any more."""


class Crew:
    """Worker processes, killed or told to stop at random, and started again at once."""

    def __init__(self, environ: dict[str, str], dice: random.Random) -> None:
        self._environ = {**os.environ, **environ}
        self._dice = dice
        self._living = [self._start() for _ in range(WORKERS)]
        self._leaving: list[subprocess.Popen[bytes]] = []
        self.told: Counter[str] = Counter()

    def strike(self) -> None:
        """Kill one, or tell it to stop; another one takes its place."""
        at = self._dice.randrange(WORKERS)
        sign = self._dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        self._living[at].send_signal(sign)
        self._leaving.append(self._living[at])
        self.told[sign.name] += 1
        self._living[at] = self._start()

    def end(self) -> None:
        """Kill all of them."""
        for each in (*self._living, *self._leaving):
            each.kill()
            each.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        program = str(Path(sys.executable).with_name("turnout"))
        command = [program, "work", "tests.acceptance.faults_app:faults"]
        return subprocess.Popen(
            command, cwd=ROOT, env=self._environ, stdout=subprocess.DEVNULL, stderr=sys.stderr
        )


async def client(environ: dict[str, str], seconds: float, dice: random.Random) -> int:
    """Emit until the time is over, answer what waits, and return when everything has ended."""
    began, emitted = time.monotonic(), 0
    async with open_turnout(faults, environ, serve=False) as live:
        for number in itertools.count():
            spent = time.monotonic() - began
            try:
                if spent < seconds:
                    await live.orchestrator.emit(*_events(number, dice))
                    emitted += 1
                if not await _sign(live) and spent > seconds:
                    return emitted
            except StoreUnavailable as error:
                logging.getLogger("soak").warning("again: %s", error)
            if spent > seconds + PATIENCE:
                return emitted
            await asyncio.sleep(dice.uniform(0.2, 0.8))
    raise AssertionError


def _events(number: int, dice: random.Random) -> list[Event]:
    lane = {"lane": str(dice.randrange(4))}
    return [
        Event(name="faults/go", payload={"slow": dice.choice([0, 0, 3])}, key=f"go-{number}"),
        Event(name="faults/limited", payload=lane, key=f"limited-{number}"),
        Event(name="faults/stepwise", payload=lane, key=f"steps-{number}"),
        Event(name="faults/fail", key=f"fail-{number}"),
    ]


async def _sign(live: Turnout) -> int:
    """Emit what journeys wait for; how many runs are still going on."""
    going = 0
    wanted = RunFilter(states=LIVE, limit=500)
    for run in await live.store.runs.find(wanted):
        going += 1
        if run.task != "journey":
            continue
        step = (await live.store.journals.load(run.run_id)).steps.get("sign")
        if step is not None and step.state is StepState.OPEN:
            await live.orchestrator.emit(Event(name="faults/sign", payload={"of": run.run_id}))
    return going


def strike_until(crew: Crew, stop: float, dice: random.Random) -> None:
    """Strike at random moments until a moment."""
    while (left := stop - time.monotonic()) > 0:
        time.sleep(min(left, dice.uniform(1.0, 6.0)))
        if time.monotonic() < stop:
            crew.strike()


async def soak(environ: dict[str, str], crew: Crew, seconds: float, seed: int) -> int:
    """Emit and strike side by side."""
    stop = time.monotonic() + seconds
    striking = asyncio.to_thread(strike_until, crew, stop, random.Random(seed))
    _, emitted = await asyncio.gather(striking, client(environ, seconds, random.Random(seed + 1)))
    return emitted


def faults_of(url: str, folder: Path) -> list[str]:
    """All that is wrong in the end."""
    effects = effects_of(folder / "effects")
    end = time.monotonic() + PATIENCE
    while rows(url, "SELECT run_id FROM {runs} WHERE projection_at IS NOT NULL"):
        if time.monotonic() > end:
            break
        time.sleep(0.5)
    return [
        *torn(url),
        *ended(url),
        *doubled(url),
        *repeated(url, effects),
        *overlapping(effects, {"run": 1, "step": 2}),
        *unwritten(url, folder / "artifacts"),
    ]


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'run-store.db'}"
        return
    server = PostgresServer(folder / "postgres")
    try:
        with server.database() as url:
            yield url
    finally:
        server.stop()


def main() -> int:
    """Soak, and tell what came of it as JSON; 1 when something was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    asked = parser.parse_args()
    # A short path: a PostgreSQL socket's is limited to about a hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="tsoak-"))
    with ExitStack() as stack:
        url = stack.enter_context(database(asked.database, folder))
        environ = {
            "ORCHESTRATOR_PROVIDER": "local",
            "TURNOUT_DATABASE_URL": url,
            "TURNOUT_ARTIFACTS": str(folder / "artifacts"),
            "TURNOUT_LEASE": "2s",
            "FAULTS_EFFECTS": str(folder / "effects"),
        }
        own_table(url)
        crew = Crew(environ, random.Random(asked.seed + 2))
        stack.callback(crew.end)
        emitted = asyncio.run(soak(environ, crew, asked.minutes * 60, asked.seed))
        wrong = faults_of(url, folder)
        states = Counter(row[0] for row in rows(url, "SELECT state FROM {attempts}"))
        told = {
            "minutes": asked.minutes,
            "seed": asked.seed,
            "database": asked.database,
            "struck": dict(crew.told),
            "emitted": emitted,
            "runs": rows(url, "SELECT COUNT(*) FROM {runs}")[0][0],
            "attempts": dict(states),
            "wrong": wrong[:50],
            "folder": str(folder) if wrong else None,
        }
    print(json.dumps(told, indent=2))
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
