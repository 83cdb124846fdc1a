"""Plants orphans of each kind among healthy runs of a provider, and says which are found.

    python -m scripts.planted_orphans PROVIDER [--each 100] [--healthy 10000]

The provider is its offline server, a process of its own. The service is one that never answers:
what is at the provider stays as it was planted, and only reconciliation acts. Exit code 1 where one
is not found within two periods, is not resolved by its rule, or a healthy run is taken for one.
"""

import argparse
import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from turnout_dev.installed import devserver
from turnout_dev.supervisor import Supervisor, free_port
from turnout_testing.backends import dev_setup, processes_of, settings_of_service
from turnout_tracking.model import Finding, FindingKind, Resolution
from turnout_tracking.service import tracking

from turnout import Event, Turnout, app, open_turnout, read_settings, task
from turnout.errors import TurnoutError
from turnout.model.runs import Delivery, SendResult
from turnout.model.status import RunStatus
from turnout.model.transitions import end
from turnout.ports.caller import DurableCaller
from turnout.ports.listing import Lists, ReadsStamps

LONG_AGO = 300_000
"""Milliseconds: the rows say that all was sent then, so that no list may lack it."""
AT_ONCE = 200
PATIENCE = 400.0
"""Seconds until the provider knows the task, and lists what it was given."""

Found = dict[tuple[FindingKind, Resolution], set[str | None]]
EXPECTED = {
    "stopped at the provider": (FindingKind.MISSING, Resolution.REDELIVERED),
    "never at the provider": (FindingKind.MISSING, Resolution.REDELIVERED),
    "superseded": (FindingKind.SUPERSEDED, Resolution.STOPPED),
    "ended": (FindingKind.SUPERSEDED, Resolution.STOPPED),
    "forgotten": (FindingKind.FORGOTTEN, Resolution.REPORTED),
}
"""What is found, and done, for each kind that is planted."""


@task("planted", on="planted/go")
async def planted(ctx: Any, payload: Any) -> None:
    """Be never called: no service runs."""
    del ctx, payload


APP = app("planted", planted)


@asynccontextmanager
async def opened(provider: str, folder: Path) -> AsyncIterator[tuple[Turnout, Turnout]]:
    """Start the provider's offline server; open two run stores of the app that share it."""
    server = devserver(provider)
    assert server is not None, f"{provider} has no offline server"
    port = free_port()
    service_settings = settings_of_service(provider, folder, port, {})
    setup = dev_setup(server, APP, folder, service_settings, {})
    async with AsyncExitStack() as stack:
        # Calls are held: a provider gives up a service that refuses them.
        await stack.enter_async_context(await asyncio.start_server(_hold, "127.0.0.1", port))
        processes = await stack.enter_async_context(Supervisor(folder / "logs"))
        for process in itertools.chain(*processes_of(server, setup, None)):
            await processes.start(process)
        environ = {**os.environ, **service_settings, **server.environ(setup)}
        other = {**environ, "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/other.db"}
        sides = [
            open_turnout(APP, settings=read_settings(each), serve=False)
            for each in (environ, other)
        ]
        for side in sides:
            await stack.enter_async_context(side)
        await _registered(sides[0].callers[provider])
        yield sides[0], sides[1]


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65_536):
        pass
    writer.close()


async def _registered(caller: DurableCaller) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            await caller.define(APP)
        except TurnoutError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.2)
        else:
            return


class Planter:
    """Makes runs of one store, and sends what it is told to."""

    def __init__(self, live: Turnout, provider: str) -> None:
        self._live = live
        self.caller = live.callers[provider]
        self.provider = provider

    async def emit(self, name: str, count: int) -> list[str]:
        """Emit runs, which nobody sends."""
        run_ids = [f"{name}-{number}" for number in range(count)]
        for start in range(0, count, AT_ONCE):
            events = [
                Event(name="planted/go", run_id=run_id)
                for run_id in run_ids[start : start + AT_ONCE]
            ]
            await self._live.orchestrator.emit(*events)
        return run_ids

    async def send(self, run_ids: Sequence[str], *, really: bool = True) -> list[Delivery]:
        """Send live deliveries; the rows say that it was long ago. really: else only the rows."""
        store, sent = self._live.store, []
        for start in range(0, len(run_ids), AT_ONCE):
            part = run_ids[start : start + AT_ONCE]
            deliveries = [(await store.deliveries.read(run_id))[-1] for run_id in part]
            answers = await self.caller.deliver(deliveries) if really else []
            ids = {answer.key: answer.provider_run_id for answer in answers}
            assert not [answer.error for answer in answers if answer.error]
            now = self._live.clock.now()
            results = [
                SendResult(
                    run_id=delivery.run_id,
                    number=delivery.number,
                    due_at=now + LONG_AGO,
                    sent_at=now - LONG_AGO,
                    provider_run_id=ids.get(delivery.key),
                )
                for delivery in deliveries
            ]
            await store.deliveries.record(results)
            sent += [(await store.deliveries.read(run_id))[-1] for run_id in part]
        return sent

    async def stop(self, deliveries: Sequence[Delivery]) -> None:
        """Stop vendor runs behind the store's back, each once the provider has it."""
        for delivery in deliveries:
            while (await self.caller.look(delivery)).state is not RunStatus.CANCELLED:
                await self.caller.stop(delivery)
                await asyncio.sleep(0.05)

    async def supersede(self, run_ids: Sequence[str]) -> None:
        """Deliver runs again; nobody stops the vendor runs that they had."""
        for run_id in run_ids:
            now = self._live.clock.now() - LONG_AGO
            await self._live.store.deliveries.redeliver(run_id, 1, self.provider, now)
        await self.send(run_ids)

    async def end(self, run_ids: Sequence[str]) -> None:
        """End runs, of which their vendor runs are not told."""
        for run_id in run_ids:
            run = (await self._live.store.journals.load(run_id)).run
            change = end(run, RunStatus.COMPLETED, self._live.clock.now() - LONG_AGO)
            assert change is not None
            await self._live.store.journals.apply(change)

    async def deliver_unknown(self, name: str, count: int) -> set[str | None]:
        """Start vendor runs with this store's stamps, of runs that it does not have."""
        deliveries = [
            Delivery(run_id=f"{name}-{number}", number=1, provider=self.provider, task="planted")
            for number in range(count)
        ]
        for start in range(0, count, AT_ONCE):
            await self.caller.deliver(deliveries[start : start + AT_ONCE])
        return {delivery.run_id for delivery in deliveries}


async def plant(live: Turnout, other: Turnout, provider: str, each: int, healthy: int) -> Any:
    """Plant `each` orphans of each kind; gives the ids of their runs, by kind."""
    planter = Planter(live, provider)
    await planter.send(await planter.emit("healthy", healthy))
    runs: dict[str, set[str | None]] = {}
    stopped = await planter.emit("stopped", each)
    await planter.stop(await planter.send(stopped))
    never = await planter.emit("never", each)
    await planter.send(never, really=False)
    superseded = await planter.emit("superseded", each)
    await planter.send(superseded)
    await planter.supersede(superseded)
    ended = await planter.emit("ended", each)
    await planter.send(ended)
    await planter.end(ended)
    runs["stopped at the provider"], runs["never at the provider"] = {*stopped}, {*never}
    runs["superseded"], runs["ended"] = {*superseded}, {*ended}
    if isinstance(planter.caller, ReadsStamps):
        runs["forgotten"] = await planter.deliver_unknown("forgotten", each)
    await Planter(other, provider).deliver_unknown("other", each)
    await _listed(planter.caller, healthy + each * (5 if "forgotten" in runs else 4))
    return runs


async def _listed(caller: DurableCaller, count: int) -> None:
    """Wait until the provider lists so many open vendor runs."""
    assert isinstance(caller, Lists)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        names: set[str] = set()
        page, cursor = await caller.list_runs()
        names |= page.keys()
        while cursor:
            page, cursor = await caller.list_runs(cursor=cursor)
            names |= page.keys()
        if len(names) >= count:
            return
        await asyncio.sleep(0.5)
    raise TimeoutError(f"{caller.name} lists {len(names)} of {count} open vendor runs")


async def measure(provider: str, *, each: int, healthy: int) -> Mapping[str, Any]:
    """Plant, reconcile twice, and compare; `faults` is empty where all is as it must be."""
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        async with opened(provider, Path(name)) as (live, other):
            runs = await plant(live, other, provider, each, healthy)
            reconciliation = await tracking(live.settings, live.store).open(live, provider=provider)
            findings: list[Finding] = []
            periods = []
            for _ in range(2):
                began = time.monotonic()
                outcomes = await reconciliation.run_as("planter") or ()
                findings += [row for outcome in outcomes for row in outcome.findings]
                counts = {outcome.sweep.kind.value: outcome.sweep.counts for outcome in outcomes}
                periods.append({"seconds": round(time.monotonic() - began, 2), **counts})
                assert all(outcome.is_complete for outcome in outcomes), outcomes
    return {
        "provider": provider,
        "periods": periods,
        "findings": Counter(f"{row.kind}: {row.resolution}" for row in findings),
        "faults": _faults(runs, findings),
    }


def _faults(runs: Mapping[str, set[str | None]], findings: Sequence[Finding]) -> list[str]:
    found: Found = {}
    for row in findings:
        found.setdefault((row.kind, row.resolution), set()).add(row.run_id)
    faults = [
        f"{len(run_ids - found.get(EXPECTED[kind], set()))} {kind}: not resolved"
        for kind, run_ids in runs.items()
        if run_ids - found.get(EXPECTED[kind], set())
    ]
    planted_runs = set().union(*runs.values())
    wrong = {row.run_id for row in findings} - planted_runs
    without = [row.subject for row in findings if not row.evidence]
    faults += [f"{len(wrong)} healthy runs were found: {sorted(map(str, wrong))[:5]}"] * bool(wrong)
    return faults + [f"{len(without)} findings without evidence"] * bool(without)


def main() -> int:
    """Measure one provider, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("provider")
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--healthy", type=int, default=10_000)
    options = parser.parse_args()
    result = asyncio.run(measure(options.provider, each=options.each, healthy=options.healthy))
    print(json.dumps(result, indent=2, default=dict))
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
