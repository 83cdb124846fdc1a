"""The runs that have not ended, counted by task and provider."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, case, func, select

from turnout.model.time import Millis, iso
from turnout.ports.run_store import RunStore
from turnout.stores.sql.operations import StorePart, reads
from turnout.stores.sql.schema import deliveries, runs
from turnout.stores.sql.statements import Transaction

_OPEN: Final = (
    select(
        runs.c.task,
        runs.c.provider,
        func.count(),
        func.sum(case((runs.c.started_at.is_(None), 1), else_=0)),
        func.sum(runs.c.parked),
        func.min(runs.c.emitted_at),
        func.max(runs.c.deadline_at),
        func.sum(case((runs.c.deadline_at.is_(None) | runs.c.started_at.is_(None), 1), else_=0)),
    )
    .where(runs.c.ended_at.is_(None))
    .group_by(runs.c.task, runs.c.provider)
    .order_by(runs.c.task, runs.c.provider)
)


_VENDOR_RUNS: Final = (
    select(deliveries.c.provider_run_id, runs.c.run_id, deliveries.c.claimed_at)
    .join(
        runs,
        (runs.c.run_id == deliveries.c.run_id) & (runs.c.delivery == deliveries.c.number),
    )
    .where(
        runs.c.ended_at.is_(None),
        deliveries.c.provider == bindparam("provider"),
        deliveries.c.provider_run_id.is_not(None),
    )
)


@dataclass(frozen=True, kw_only=True)
class OpenRuns:
    """The open runs of a task at a provider."""

    task: str
    provider: str
    count: int
    queued: int
    parked: int
    oldest: Millis
    """When the oldest was emitted."""
    latest_end: Millis | None
    """When the last of them ends at the latest; None: at least one has no such time."""

    def text(self) -> str:
        """Write them in one line."""
        end = (
            "no latest end" if self.latest_end is None else f"at most until {iso(self.latest_end)}"
        )
        return f"{self.task}: {self.count} run(s) at {self.provider}, {end}"

    def document(self) -> dict[str, Any]:
        """Write them as JSON."""
        return {
            "task": self.task,
            "provider": self.provider,
            "open": self.count,
            "queued": self.queued,
            "parked": self.parked,
            "oldest": iso(self.oldest),
            "latest_end": None if self.latest_end is None else iso(self.latest_end),
        }


@dataclass(frozen=True, kw_only=True)
class VendorRun:
    """A vendor run that calls, or is to call, for an open run."""

    provider_run_id: str
    run_id: str
    claimed_at: Millis | None
    """When it first called; None: it has not."""


async def read_vendor_runs(store: RunStore, provider: str) -> Sequence[VendorRun]:
    """Read the vendor runs of the live deliveries at a provider."""
    return await _counts(store).vendor_runs(provider)


async def read_open_runs(store: RunStore) -> Sequence[OpenRuns]:
    """Count the runs that have not ended, by task and provider."""
    return await _counts(store).read()


class OpenRunCounts(StorePart):
    """Counts runs that have not ended, and names their vendor runs."""

    @reads("vendor_runs")
    def vendor_runs(self, tx: Transaction, provider: str) -> Sequence[VendorRun]:
        """Read the vendor runs of the live deliveries at a provider."""
        return [
            VendorRun(provider_run_id=key, run_id=run_id, claimed_at=claimed_at)
            for key, run_id, claimed_at in tx.rows(_VENDOR_RUNS, {"provider": provider})
        ]

    @reads("open_runs")
    def read(self, tx: Transaction) -> Sequence[OpenRuns]:
        """Count them, by task and provider."""
        return [
            OpenRuns(
                task=task,
                provider=provider,
                count=int(count),
                queued=int(queued),
                parked=int(parked),
                oldest=oldest,
                latest_end=None if unbounded else latest_end,
            )
            for task, provider, count, queued, parked, oldest, latest_end, unbounded in tx.rows(
                _OPEN, {}
            )
        ]


def _counts(store: RunStore) -> OpenRunCounts:
    part = store.routes
    assert isinstance(part, StorePart)
    return OpenRunCounts(part.committer)
