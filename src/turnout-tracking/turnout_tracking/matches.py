"""The deliveries beside a provider's list, and what the leader does with them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import and_, bindparam, func, or_, select, update

from turnout.model.providers import Sighting
from turnout.model.runs import Delivery, Failure, read_delivery_key
from turnout.model.status import DeliveryState, RunStatus, TransitionCause
from turnout.model.time import Millis
from turnout.model.transitions import end
from turnout.ports.run_store import RunStore
from turnout.stores.sql.commits import apply
from turnout.stores.sql.deliveries import redeliver
from turnout.stores.sql.expressions import among, equals, fixed, for_rows
from turnout.stores.sql.journals import read_journal, read_run
from turnout.stores.sql.operations import StorePart, committer_of, reads, writes
from turnout.stores.sql.rows import DELIVERY_COLUMNS, LIVE_RUN, delivery_of
from turnout.stores.sql.schema import deliveries, runs
from turnout.stores.sql.statements import BatchStatement, Row, Transaction
from turnout_tracking.leaders import Lease, check_lease
from turnout_tracking.model import Finding, Resolution, Sweep
from turnout_tracking.rules import MOST_LOST, Match, lost_too_often
from turnout_tracking.sweeps import put_finding, put_sweep

_COLUMNS: Final = (
    *DELIVERY_COLUMNS,
    runs.c.state,
    runs.c.delivery,
    runs.c.ended_at,
    runs.c.parked,
    runs.c.parked_until,
)
_WITH_RUN: Final = deliveries.join(runs, runs.c.run_id == deliveries.c.run_id)


def _matching(*names: str) -> BatchStatement:
    """Read deliveries by these columns."""
    return for_rows(
        deliveries,
        names,
        lambda rows: select(*_COLUMNS).select_from(
            _WITH_RUN.join(
                rows,
                and_(*(deliveries.c[name] == rows.c[name] for name in names)),
            )
        ),
    )


_BY_VENDOR_RUN: Final = _matching("provider", "provider_run_id")
_BY_NUMBER: Final = _matching("run_id", "number")
_IS_SENT: Final = among(deliveries.c.state, (DeliveryState.SENT.value, DeliveryState.CLAIMED.value))
_UNLISTED: Final = (
    select(*_COLUMNS)
    .select_from(_WITH_RUN)
    .where(
        equals(deliveries.c.provider),
        deliveries.c.watched == fixed(1),
        _IS_SENT,
        LIVE_RUN,
        deliveries.c.number == runs.c.delivery,
        func.coalesce(deliveries.c.sent_at, deliveries.c.claimed_at) < bindparam("sent_before"),
        or_(deliveries.c.listed_at.is_(None), deliveries.c.listed_at < bindparam("listed_before")),
    )
    .limit(bindparam("count"))
)
_LISTED: Final = for_rows(
    deliveries,
    ["run_id", "number", "listed_at"],
    lambda listed: (
        update(deliveries)
        .where(
            deliveries.c.run_id == listed.c.run_id,
            deliveries.c.number == listed.c.number,
        )
        .values(listed_at=listed.c.listed_at)
    ),
)
_HAS_RUN: Final = select(runs.c.run_id).where(equals(runs.c.run_id))


class MatchStore(StorePart):
    """Deliveries beside what a provider lists."""

    @reads("match")
    def match(
        self, tx: Transaction, provider: str, page: Mapping[str, Sighting]
    ) -> Mapping[str, Match]:
        """Find the delivery of each listed vendor run, by its ids, else by its key."""
        names = {
            name: vendor_id
            for vendor_id, sighting in page.items()
            for name in (*sighting.aliases, vendor_id)
        }
        matches: dict[str, Match] = {}
        for row in tx.returning(_BY_VENDOR_RUN, [(provider, name) for name in names]):
            match = _match(row)
            matches[names[match.delivery.provider_run_id or ""]] = match
        numbers = {
            number: vendor_id
            for vendor_id, sighting in page.items()
            if vendor_id not in matches and (number := _number(sighting.key)) is not None
        }
        for row in tx.returning(_BY_NUMBER, list(numbers)):
            match = _match(row)
            vendor_id = numbers[match.delivery.run_id, match.delivery.number]
            if match.delivery.provider == provider:
                matches[vendor_id] = match
        return matches

    @reads("has_run")
    def has_run(self, tx: Transaction, run_id: str) -> bool:
        """Whether there is a run of this id."""
        return bool(tx.rows(_HAS_RUN, {"of_run_id": run_id}))

    @reads("delivery")
    def delivery(self, tx: Transaction, run_id: str, number: int) -> Match | None:
        """Read one delivery with how its run stands."""
        rows = tx.returning(_BY_NUMBER, [(run_id, number)])
        return _match(rows[0]) if rows else None

    @reads("unlisted")
    def unlisted(
        self, tx: Transaction, provider: str, *, began_at: Millis, lag: Millis, limit: int
    ) -> Sequence[Match]:
        """Read live deliveries that were sent before a sweep could miss them, and not listed."""
        values = {"of_provider": provider, "listed_before": began_at, "count": limit}
        rows = tx.rows(_UNLISTED, {**values, "sent_before": began_at - lag})
        return [_match(row) for row in rows]

    @writes("listed", key="sweep")
    def record(
        self,
        tx: Transaction,
        lease: Lease,
        *,
        listed: Sequence[Delivery] = (),
        at: Millis = 0,
        sweep: Sweep | None = None,
        findings: Sequence[Finding] = (),
    ) -> None:
        """Record what a page brought: what is listed, what was found, and how far the sweep is."""
        check_lease(tx, lease)
        tx.write_rows(_LISTED, [(delivery.run_id, delivery.number, at) for delivery in listed])
        for finding in findings:
            put_finding(tx, finding)
        if sweep is not None:
            put_sweep(tx, sweep)

    @writes("deliver_missing", key="sweep")
    def replace(
        self, tx: Transaction, lease: Lease, match: Match, finding: Finding, *, stop: bool = False
    ) -> Finding | None:
        """Deliver a run again, or fail it if it was lost too often, and record why.

        None, and nothing, where anything has happened to the delivery meanwhile.
        """
        check_lease(tx, lease)
        delivery = match.delivery
        run = read_run(tx, delivery.run_id, locked=True)
        rows = tx.returning(_BY_NUMBER, [(delivery.run_id, delivery.number)])
        if not rows or _activity(_match(rows[0])) != _activity(match):
            return None
        past = [_match(row).delivery for row in _deliveries_of(tx, delivery.run_id, run.delivery)]
        resolution = Resolution.REDELIVERED
        if lost_too_often(read_journal(tx, run), past):
            message = f"{delivery.provider} lost its vendor run {MOST_LOST} times in a row"
            error = Failure(name="DeliveryLost", message=message)
            change = end(
                run,
                RunStatus.FAILED,
                finding.seen_at,
                error=error,
                by_us=True,
                cause=TransitionCause.RECONCILE,
                actor=finding.provider,
            )
            if change is None or not apply(tx, change):
                return None
            resolution = Resolution.FAILED
        elif not redeliver(
            tx, run.run_id, delivery.number, run.provider, finding.seen_at, stop=stop
        ):
            return None
        finding = replace(finding, resolution=resolution)
        put_finding(tx, finding)
        return finding


def open_matches(store: RunStore) -> MatchStore:
    """Open the deliveries of a run store."""
    return MatchStore(committer_of(store))


def _deliveries_of(tx: Transaction, run_id: str, count: int) -> Sequence[Row]:
    last = range(max(1, count - 2 * MOST_LOST), count + 1)
    return tx.returning(_BY_NUMBER, [(run_id, number) for number in last])


def _activity(match: Match) -> tuple[Any, ...]:
    delivery = match.delivery
    calls = (delivery.state, delivery.provider_run_id, delivery.called_at, delivery.sent_at)
    return (match.state.terminal, match.live_number, *calls)


def _number(key: str) -> tuple[str, int] | None:
    try:
        return read_delivery_key(key)
    except ValueError:
        return None


def _match(row: Row) -> Match:
    *delivery, state, live_number, ended_at, parked, parked_until = row
    return Match(
        delivery=delivery_of(tuple(delivery)),
        state=RunStatus(state),
        live_number=live_number,
        ended_at=ended_at,
        parked=bool(parked),
        parked_until=parked_until,
    )
