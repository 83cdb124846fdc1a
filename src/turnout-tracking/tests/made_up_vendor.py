"""A made-up provider with its own truth, whose list lags and may misbehave, and a stage for it."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from turnout_testing.clock import TurnableClock
from turnout_testing.conformance.run_store_values import emission, new_run
from turnout_tracking.leaders import Lease, open_leaders
from turnout_tracking.matches import open_matches
from turnout_tracking.model import Finding, FindingKind, Resolution
from turnout_tracking.reconcile import Outcome, Reconciler
from turnout_tracking.stamps import Stamper
from turnout_tracking.sweeps import open_sweeps

from turnout.errors import ProviderUnavailable
from turnout.model.providers import Delivered, Sighting
from turnout.model.runs import Delivery, SendResult
from turnout.model.status import RunStatus
from turnout.ports.run_store import RunStore

LAG = 5_000
KEY = "whsec_" + "a" * 43 + "="
SILENCE = 600_000
HOUR = 3_600_000


class KilledProcess(BaseException):
    """The process was killed: nothing of it runs any more."""


@dataclass(kw_only=True)
class VendorRun:
    """A run as the provider has it."""

    run_id: str
    key: str
    created_at: int
    payload: Mapping[str, Any]
    state: RunStatus = RunStatus.RUNNING


@dataclass(kw_only=True)
class Vendor:
    """The provider: a `DurableCaller` as far as reconciliation asks, `Lists` and `ReadsStamps`."""

    clock: TurnableClock
    name: str = "acme"
    page: int = 10
    shows_keys: bool = True
    runs: dict[str, VendorRun] = field(default_factory=dict)
    faults: deque[Exception] = field(default_factory=deque)
    """What the next pages answer instead."""
    skipped: frozenset[str] = frozenset()
    """Vendor runs that the list leaves out."""
    doubled: bool = False
    """Whether each page ends with the first run of the next one."""
    cycle: int = 0
    """After so many pages the list begins again; 0: never."""
    numbers: Iterator[int] = field(default_factory=count)
    calls: int = 0
    killed_at: int | None = None
    """At this call the process that makes it is killed."""
    stopped: list[str] = field(default_factory=list)
    list_lag: int = LAG

    def start(self, key: str, **payload: Any) -> str:
        """Start a run, whoever asks."""
        run_id = f"v{next(self.numbers):07}"
        now = self.clock.now()
        self.runs[run_id] = VendorRun(run_id=run_id, key=key, created_at=now, payload=payload)
        return run_id

    async def deliver(self, deliveries: Sequence[Delivery], **stamp: Any) -> Sequence[Delivered]:
        """Start a run for each."""
        ids = [
            self.start(
                delivery.key,
                run_id=delivery.run_id,
                delivery=delivery.number,
                task=delivery.task,
                **stamp,
            )
            for delivery in deliveries
        ]
        return [
            Delivered(key=delivery.key, provider_run_id=run_id)
            for delivery, run_id in zip(deliveries, ids, strict=True)
        ]

    async def look(self, delivery: Delivery) -> Sighting:
        """Say what became of one run."""
        self._called()
        run = self.runs.get(delivery.provider_run_id or "") or next(
            (run for run in self.runs.values() if run.key == delivery.key), None
        )
        return self._sighting(run)

    async def stop(self, delivery: Delivery) -> bool:
        """Cancel one run."""
        self._called()
        run = self.runs.get(delivery.provider_run_id or "")
        if run is not None and not run.state.terminal:
            self.stopped.append(run.run_id)
            run.state = RunStatus.CANCELLED
        return True

    async def stamp(self, provider_run_id: str, sighting: Sighting) -> Mapping[str, Any]:
        """Read the payload of one run."""
        del sighting
        self._called()
        return self.runs[provider_run_id].payload

    async def list_runs(
        self, *, since: int | None = None, cursor: str = ""
    ) -> tuple[Mapping[str, Sighting], str]:
        """List runs in order of their ids."""
        self._called()
        if self.faults:
            raise self.faults.popleft()
        visible = self.clock.now() - LAG
        last_id, _, number = cursor.partition(" ")
        pages = int(number or 0) + 1
        if self.cycle and pages > self.cycle:
            last_id, pages = "", 1
        rows = [
            run
            for run in self.runs.values()
            if run.run_id not in self.skipped
            and run.run_id > last_id
            and run.created_at <= visible
            and (not run.state.terminal if since is None else run.created_at >= since)
        ]
        page, rest = rows[: self.page], rows[self.page :]
        shown = page + rest[:1] if self.doubled else page
        following = f"{page[-1].run_id} {pages}" if rest else ""
        return {run.run_id: self._sighting(run, listed=True) for run in shown}, following

    def _called(self) -> None:
        self.calls += 1
        if self.killed_at is not None and self.calls >= self.killed_at:
            self.killed_at = None
            raise KilledProcess

    def _sighting(self, run: VendorRun | None, *, listed: bool = False) -> Sighting:
        now = self.clock.now()
        if run is None:
            return Sighting(state=None, word="not found", seen_at=now)
        sighting = Sighting(state=run.state, word=run.state.value, seen_at=now)
        return replace(sighting, key=run.key) if listed and self.shows_keys else sighting


class Stage:
    """A run store, a provider, and a leader that reconciles them."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self.clock = TurnableClock()
        self.vendor = Vendor(clock=self.clock)
        self.stamper = Stamper([KEY])
        self.matches, self.sweeps = open_matches(store), open_sweeps(store)
        self.lease: Lease | None = None
        self.store_id = ""
        self._reconciler: Reconciler | None = None

    async def lead(self, holder: str = "one") -> Lease:
        """Take the lease."""
        self.lease = await open_leaders(self.store).take("reconcile", holder, HOUR)
        assert self.lease is not None
        self.store_id = (await self.store.identity.read()).store_id
        return self.lease

    def change_vendor(self, name: str) -> None:
        """Go on with another provider, which has nothing."""
        self.vendor = Vendor(clock=self.clock, name=name, page=3)
        self._reconciler = None

    def reconciler(self, *, dry_run: bool = False) -> Reconciler:
        """Make what compares; it remembers nothing of the one before."""
        caller: Any = self.vendor
        return Reconciler(
            caller=caller,
            matches=self.matches,
            journals=self.store.journals,
            stamper=self.stamper,
            store_id=self.store_id,
            clock=self.clock,
            silence=SILENCE,
            dry_run=dry_run,
        )

    async def reconcile(self, *, dry_run: bool = False) -> Sequence[Outcome]:
        """Compare once."""
        lease = self.lease or await self.lead()
        sweeps = await self.sweeps.sweeps()
        known = {sweep.kind: sweep for sweep in sweeps if sweep.provider == self.vendor.name}
        if self._reconciler is None or dry_run:
            self._reconciler = self.reconciler(dry_run=dry_run)
        return await self._reconciler.run(lease, known)

    async def reconcile_in_time(self) -> Sequence[Outcome]:
        """Compare once, and turn the clock when it waits to ask again."""
        task = asyncio.ensure_future(self.reconcile())
        while not task.done():
            # The store's threads answer in real time.
            await asyncio.sleep(0.001)
            await self.clock.skip()
        return task.result()

    async def emit(self, *run_ids: str) -> None:
        """Emit runs, which are not sent yet."""
        if not self.store_id:
            await self.lead()
        now = self.clock.now()
        for run_id in run_ids:
            run = new_run(run_id, provider=self.vendor.name, emitted_at=now, due_at=now)
            await self.store.events.emit([emission(run)])

    async def send(self, *run_ids: str, claim: bool = True) -> list[str]:
        """Send the live deliveries of runs; gives the vendor runs' ids."""
        return [await self._send(run_id, claim=claim) for run_id in run_ids]

    async def _send(self, run_id: str, *, claim: bool) -> str:
        delivery = (await self.store.deliveries.read(run_id))[-1]
        stamp = self.stamper.stamp(run_id, delivery.number, delivery.task, self.store_id)
        (delivered,) = await self.vendor.deliver([delivery], **stamp)
        now = self.clock.now()
        result = SendResult(
            run_id=run_id,
            number=delivery.number,
            due_at=now + HOUR,
            sent_at=now,
            provider_run_id=delivered.provider_run_id,
        )
        await self.store.deliveries.record([result])
        vendor_id = delivered.provider_run_id or ""
        if claim:
            await self.store.deliveries.claim(run_id, delivery.number, vendor_id, now)
        return vendor_id

    async def run(self, *run_ids: str) -> list[str]:
        """Emit runs, and have their vendor runs call."""
        await self.emit(*run_ids)
        return await self.send(*run_ids)

    async def findings(self) -> list[Finding]:
        """Read all findings."""
        return list(await self.sweeps.findings(since=0, limit=10_000))

    async def found(self) -> list[tuple[FindingKind, Resolution]]:
        """Read what kinds there are, and what was done."""
        return sorted((finding.kind, finding.resolution) for finding in await self.findings())


UNAVAILABLE = ProviderUnavailable("acme answered 500")
