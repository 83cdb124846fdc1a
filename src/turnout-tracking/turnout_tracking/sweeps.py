"""Sweeps and findings in the run store, written by the leader alone."""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from sqlalchemy import bindparam, func, select

from turnout.model.canonical import canonical_bytes
from turnout.model.time import Millis
from turnout.ports.run_store import RunStore
from turnout.stores.sql.expressions import insert_into, put_into
from turnout.stores.sql.operations import StorePart, committer_of, reads, writes
from turnout.stores.sql.schema import findings, sweeps
from turnout.stores.sql.statements import Row, Transaction
from turnout_tracking.leaders import Lease, check_lease
from turnout_tracking.model import Finding, FindingKind, Resolution, Sweep, SweepKind

_READ_SWEEPS: Final = select(*sweeps.c).order_by(sweeps.c.provider, sweeps.c.kind)
_PUT_SWEEP: Final = put_into(sweeps)
_INSERT_FINDING: Final = insert_into(findings)
_PUT_FINDING: Final = _INSERT_FINDING.on_conflict_do_update(
    index_elements=list(findings.primary_key.columns),
    set_={
        name: _INSERT_FINDING.excluded[name]
        for name in ("run_id", "provider_run_id", "resolution", "evidence", "seen_at")
    },
)
_READ_FINDINGS: Final = (
    select(*findings.c)
    .where(findings.c.seen_at >= bindparam("since"))
    .order_by(findings.c.found_at.desc(), findings.c.subject)
    .limit(bindparam("count"))
)
_COUNT_FINDINGS: Final = (
    select(findings.c.provider, findings.c.kind, findings.c.resolution, func.count())
    .where(findings.c.seen_at >= bindparam("since"))
    .group_by(findings.c.provider, findings.c.kind, findings.c.resolution)
    .order_by(findings.c.provider, findings.c.kind, findings.c.resolution)
)


class SweepStore(StorePart):
    """How far the sweeps are, and what they found."""

    @reads("sweeps")
    def sweeps(self, tx: Transaction) -> Sequence[Sweep]:
        """Read the sweeps, in order of provider and kind."""
        return [_sweep(row) for row in tx.rows(_READ_SWEEPS, {})]

    @writes("sweep", key="sweep")
    def save(self, tx: Transaction, lease: Lease, sweep: Sweep) -> None:
        """Record how far a sweep is; LeaseLost where another replica leads."""
        check_lease(tx, lease)
        put_sweep(tx, sweep)

    @reads("findings")
    def findings(self, tx: Transaction, *, since: Millis, limit: int) -> Sequence[Finding]:
        """Read findings that were last seen since then, the newest first."""
        rows = tx.rows(_READ_FINDINGS, {"since": since, "count": limit})
        return [_finding(row) for row in rows]

    @reads("finding_counts")
    def counts(
        self, tx: Transaction, *, since: Millis
    ) -> Sequence[tuple[str, FindingKind, Resolution, int]]:
        """Count the findings by provider, kind and resolution."""
        return [
            (provider, FindingKind(kind), Resolution(resolution), count)
            for provider, kind, resolution, count in tx.rows(_COUNT_FINDINGS, {"since": since})
        ]


def open_sweeps(store: RunStore) -> SweepStore:
    """Open the sweeps of a run store."""
    return SweepStore(committer_of(store))


def put_sweep(tx: Transaction, sweep: Sweep) -> None:
    """Record a sweep."""
    values: dict[str, Any] = {"provider": sweep.provider, "kind": sweep.kind.value}
    values |= {"mark": sweep.mark, "started_at": sweep.started_at, "cursor": sweep.cursor}
    counts = canonical_bytes(dict(sweep.counts))
    tx.write(_PUT_SWEEP, {**values, "counts": counts, "error": sweep.error})


def put_finding(tx: Transaction, finding: Finding) -> None:
    """Record a finding, or what became of one that is recorded."""
    tx.write(
        _PUT_FINDING,
        {
            "provider": finding.provider,
            "kind": finding.kind.value,
            "subject": finding.subject,
            "run_id": finding.run_id,
            "provider_run_id": finding.provider_run_id,
            "resolution": finding.resolution.value,
            "evidence": canonical_bytes(dict(finding.evidence)),
            "found_at": finding.found_at,
            "seen_at": finding.seen_at,
        },
    )


def _sweep(row: Row) -> Sweep:
    provider, kind, mark, started_at, cursor, counts, error = row
    return Sweep(
        provider=provider,
        kind=SweepKind(kind),
        mark=mark,
        started_at=started_at,
        cursor=cursor,
        counts=orjson.loads(counts),
        error=error,
    )


def _finding(row: Row) -> Finding:
    provider, kind, subject, run_id, provider_run_id, resolution, evidence, *times = row
    return Finding(
        provider=provider,
        kind=FindingKind(kind),
        subject=subject,
        run_id=run_id,
        provider_run_id=provider_run_id,
        resolution=Resolution(resolution),
        evidence=orjson.loads(evidence),
        found_at=times[0],
        seen_at=times[1],
    )
