"""The journey: old provider → dual run → new provider → a kill in mid-step → rollback by the flag.

The journey talks HTTP to the example service; at its end it reads the run store for the ledger and
the artifacts for the parity report.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from turnout_dev.supervisor import Supervisor
from turnout_parity.check import check
from turnout_parity.report import ParityReport
from turnout_parity.rules import Bounds, Rules

from turnout.errors import Unavailable
from turnout.model.ids import shadow_id
from turnout.model.routing import DUAL
from turnout.model.runs import RunFilter
from turnout.model.status import AttemptState
from turnout.model.time import Millis
from turnout.stores.artifacts import open_store
from turnout.stores.sql import open_run_store
from turnout_demo.client import ServiceClient
from turnout_demo.ledger import Ledger, ledger
from turnout_demo.plant import NOISE, plant
from turnout_demo.stage import DemoStage
from turnout_demo.tasks import AgentRequest, Mode

Result = TypeVar("Result")

MODES: Sequence[Mode] = ("plain", "sleep", "parallel", "child", "approval")
ENDED = frozenset({"completed", "failed", "cancelled", "timed_out"})
PATIENCE = 150.0
"""Seconds until a phase must have ended: vendors take 60 to see that a process was killed."""

MADE_UP = 30.0
"""Seconds that a slot which nobody has fired is waited for at the end."""

EDGE = 6
"""Runs before the dual run, after the flip, and after the rollback, each."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class JourneyOutcome:
    """What the journey found."""

    report: ParityReport
    ledger: Ledger
    phases: dict[str, float]
    """Seconds of each phase."""
    servers: dict[str, str]
    """What each provider's server was."""
    planted: str | None = None


@dataclass(kw_only=True)
class Journey:
    """One journey over a stage; `go` makes it once."""

    stage: DemoStage
    runs: int
    say: Say
    planted: str | None = None
    started: list[str] = field(default_factory=list)
    phases: dict[str, float] = field(default_factory=dict)

    async def go(self) -> JourneyOutcome:
        """Go all the way, and leave no process behind."""
        async with AsyncExitStack() as stack:
            processes = await stack.enter_async_context(Supervisor(self.stage.out / "logs"))
            client = ServiceClient(self.stage.service_url)
            stack.push_async_callback(client.close)
            kept_since = await self._phase("start", self._start(processes))
            await self._phase("old", self._old(client))
            await self._phase("dual", self._dual(processes, client))
            report = await self._phase("parity", self._compare())
            await self._phase("flip", self._flip(processes, client))
            await self._phase("kill", self._kill(processes, client))
            await self._phase("rollback", self._roll_back(processes, client))
            until = _now()
            balance = await self._balance(kept_since, until)
        return JourneyOutcome(
            report=report,
            ledger=balance,
            phases=self.phases,
            servers={server.name: server.label for server in (self.stage.old, self.stage.new)},
            planted=self.planted,
        )

    async def _phase(self, name: str, work: Awaitable[Result]) -> Result:
        began = time.monotonic()
        try:
            return await work
        finally:
            self.phases[name] = round(time.monotonic() - began, 2)

    async def _start(self, processes: Supervisor) -> Millis:
        """Start everything; from when on the service keeps its schedule."""
        stage = self.stage
        self.say(
            f"starting two offline servers, a language service, the service on {stage.old.name}"
        )
        await asyncio.gather(*(processes.start(process) for process in stage.servers()))
        await processes.start(stage.service(stage.old.name))
        store = open_run_store(stage.database_url)
        try:
            (owned,) = await store.schedules.read()
            return owned.since
        finally:
            await store.close()

    async def _old(self, client: ServiceClient) -> None:
        self.say(f"{self.stage.old.name}: {EDGE} runs")
        await self._finish(client, await self._emit(client, "old", EDGE))

    async def _dual(self, processes: Supervisor, client: ServiceClient) -> None:
        old, new = self.stage.old.name, self.stage.new.name
        self.say(f"dual: {self.runs} runs on {old}, each followed by its shadow on {new}")
        await processes.start(self.stage.service(DUAL))
        run_ids = await self._emit(client, "dual", self.runs)
        if self.planted == NOISE:
            run_ids += await client.emit("stamp/requested", {})
        await self._finish(client, run_ids)
        self.say(f"dual: waiting for the shadows on {new}")
        await self._shadowed()

    async def _compare(self) -> ParityReport:
        if self.planted not in {None, NOISE}:
            assert self.planted is not None
            self.say(f"planting a fault of the kind {self.planted!r} in one shadow")
            plant(self.planted, self.stage.artifacts)
        self.say("comparing")
        store = open_store(str(self.stage.artifacts))
        try:
            rules = Rules(bounds=Bounds(slow_ms=self.stage.slow_ms), patience=None)
            return await check(store, name=str(self.stage.artifacts), rules=rules)
        finally:
            await store.aclose()

    async def _flip(self, processes: Supervisor, client: ServiceClient) -> None:
        new = self.stage.new.name
        self.say(f"flip: ORCHESTRATOR_PROVIDER={new}, {EDGE} runs")
        await processes.start(self.stage.service(new))
        await self._finish(client, await self._emit(client, "new", EDGE))

    async def _kill(self, processes: Supervisor, client: ServiceClient) -> None:
        new = self.stage.new.name
        self.say(
            f"kill: SIGKILL of the service and of {new}'s server while a step runs; the run goes on"
            " from its journal"
        )
        await processes.start(self.stage.service(new, store_seconds=1.5))
        (run_id,) = await self._emit(client, "kill", 1)
        await self._at_work(run_id, "store")
        await asyncio.gather(processes.kill("service"), processes.kill(new))
        await self._finish(client, [run_id])

    async def _roll_back(self, processes: Supervisor, client: ServiceClient) -> None:
        old = self.stage.old.name
        self.say(f"rollback: ORCHESTRATOR_PROVIDER={old}, {EDGE} runs")
        await processes.start(self.stage.service(old))
        await self._finish(client, await self._emit(client, "rollback", EDGE))

    async def _emit(self, client: ServiceClient, phase: str, count: int) -> list[str]:
        requests = [self._request(phase, number) for number in range(count)]
        keys = [f"{self.stage.seed}-{phase}-{number}" for number in range(count)]
        starts = zip(requests, keys, strict=True)
        run_ids = await asyncio.gather(*(client.start(request, key) for request, key in starts))
        self.started.extend(run_ids)
        return list(run_ids)

    def _request(self, phase: str, number: int) -> AgentRequest:
        generator = random.Random(f"{self.stage.seed}/{phase}/{number}")  # noqa: S311 - reproducible
        return AgentRequest(
            agent_id=f"{phase}-{number * 2 // 3}",
            notebook=generator.choice(("field-notes", "rail-history", "repository")),
            mode=MODES[number % len(MODES)] if phase == "dual" else "plain",
        )

    async def _finish(self, client: ServiceClient, run_ids: Sequence[str]) -> None:
        """Wait for the end of runs; those that wait for an approval get it."""
        open_ = dict.fromkeys(run_ids)
        until = time.monotonic() + PATIENCE
        while open_:
            for run_id in list(open_):
                run = await client.show(run_id)
                if run["state"] in ENDED:
                    del open_[run_id]
                elif run["waits_for"] == "agent/approved":
                    await client.emit("agent/approved", {"agent_id": run["agent_id"]})
            if time.monotonic() > until:
                raise Unavailable(f"{len(open_)} run(s) did not end in time: {list(open_)[:3]}")
            await asyncio.sleep(0.1)

    async def _shadowed(self) -> None:
        """Wait until every run of the dual run, children included, has left both its folders."""
        until = time.monotonic() + PATIENCE
        missing = ["?"]
        while missing:
            if time.monotonic() > until:
                raise Unavailable(f"no shadow of {len(missing)} run(s), like {missing[0]}")
            await asyncio.sleep(0.2)
            missing = [
                run_id for run_id in await self._dual_runs() if not self._has_artifacts(run_id)
            ]

    async def _dual_runs(self) -> list[str]:
        store = open_run_store(self.stage.database_url)
        try:
            runs = await store.runs.find(RunFilter(shadowed=True, limit=100 * (self.runs + 1)))
        finally:
            await store.close()
        return [run.run_id for run in runs]

    def _has_artifacts(self, run_id: str) -> bool:
        folder = self.stage.artifacts / "runs"
        names = (run_id, shadow_id(run_id))
        return all((folder / name / "manifest.json").exists() for name in names)

    async def _at_work(self, run_id: str, step: str) -> None:
        """Wait until an attempt of a step is under way."""
        store = open_run_store(self.stage.database_url)
        try:
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until:
                attempts = (await store.journals.load(run_id)).attempts.get(step, ())
                if attempts and attempts[-1].state is AttemptState.CLAIMED:
                    return
                await asyncio.sleep(0.02)
        finally:
            await store.close()
        raise Unavailable(f"step {step!r} of run {run_id} did not begin in time")

    async def _balance(self, since: Millis, until: Millis) -> Ledger:
        """Balance, once slots that fell as the service was started anew are made up."""
        store = open_run_store(self.stage.database_url)
        try:
            (schedule,) = [owned.schedule for owned in await store.schedules.read()]
            latest = time.monotonic() + MADE_UP
            while True:
                balance = await ledger(store, self.started, schedule, since, until)
                if not balance.slots.missed or time.monotonic() > latest:
                    return balance
                await asyncio.sleep(0.5)
        finally:
            await store.close()


def _now() -> Millis:
    return time.time_ns() // 1_000_000
