"""Reconciliation: reads what the providers have, in pages, and repairs what differs, by rule.

Two sweeps a provider: over all vendor runs that have not ended, and over all that were created
since the last such sweep began, less twice the list's lag. After the first, live deliveries that it
did not list are looked at one by one. How far a sweep is, is kept in the run store page by page, so
another leader goes on where this one was killed; a page that is compared twice changes nothing.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from turnout.errors import (
    ProviderRefused,
    Unavailable,
    UnknownRun,
    UnmappedStatus,
    foreign_errors_translated,
)
from turnout.model.providers import Sighting
from turnout.model.runs import Delivery
from turnout.model.status import RunStatus
from turnout.model.time import Millis
from turnout.ports.caller import DurableCaller
from turnout.ports.clock import Clock
from turnout.ports.listing import Lists, ReadsStamps
from turnout.ports.run_store import JournalStore
from turnout.pump.stalls import silence_is_expected
from turnout_tracking.leaders import Lease
from turnout_tracking.matches import MatchStore
from turnout_tracking.model import Finding, FindingKind, Resolution, Sweep, SweepKind
from turnout_tracking.rules import Match, Rule, may_be_missing, rule_of
from turnout_tracking.stamps import Stamper

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)

FIRST_REACH: Final[Millis] = 86_400_000
"""How far back the first sweep over created runs goes."""
PAGE_TRIES: Final = 5
PAGE_PAUSES: Final = (1_000, 30_000)
"""How often a page is asked for, and milliseconds between: the first, and the longest."""
UNLISTED_AT_ONCE: Final = 100
LOOKS_AT_ONCE: Final = 8
REMEMBERED: Final = 50_000
"""Vendor runs of others that are not read again."""


@dataclass(kw_only=True, eq=False)
class Budget:
    """What one provider's sweeps may do in a period, so that a recovery is no storm."""

    redeliveries: int = 200
    looks: int = 2_000
    stamps: int = 2_000

    def take(self, name: str) -> bool:
        """Take one, unless none is left."""
        rest: int = getattr(self, name)
        setattr(self, name, rest - 1)
        return rest > 0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one sweep."""

    sweep: Sweep
    findings: Sequence[Finding]

    @property
    def is_complete(self) -> bool:
        """Whether it has seen the whole list."""
        return self.sweep.started_at is None


class PagesMissing(ProviderRefused):
    """The provider's list cannot be read to its end."""

    code = "pages_missing"


@dataclass(kw_only=True, eq=False)
class Reconciler:
    """Compares one provider's list with the run store, under a leader's lease."""

    caller: DurableCaller
    matches: MatchStore
    journals: JournalStore
    stamper: Stamper
    store_id: str
    clock: Clock
    silence: Millis
    """How long a vendor run may be silent until it counts as stuck."""
    dry_run: bool = False
    """Whether what is found is only reported."""
    _foreign: dict[str, str] = field(default_factory=dict, init=False)
    """Vendor runs of others, and what they count as."""

    async def run(self, lease: Lease, sweeps: Mapping[SweepKind, Sweep]) -> Sequence[Outcome]:
        """Make both sweeps, or go on with them; LeaseLost where another replica leads."""
        budget = Budget()
        outcomes = []
        for kind in SweepKind:
            start = sweeps.get(kind) or Sweep(provider=self.caller.name, kind=kind)
            sweeping = _Sweeping(self, lease, budget, start)
            await sweeping.run()
            outcomes.append(Outcome(sweep=sweeping.sweep, findings=sweeping.findings))
        return outcomes

    def remember(self, provider_run_id: str, word: str) -> None:
        """Remember whose a vendor run is, so that it is not read again."""
        if len(self._foreign) >= REMEMBERED:
            del self._foreign[next(iter(self._foreign))]
        self._foreign[provider_run_id] = word

    def recall(self, provider_run_id: str) -> str | None:
        """Say what a vendor run of others counts as; None where that is not known."""
        return self._foreign.get(provider_run_id)


class _Sweeping:
    """One sweep over one provider's list."""

    def __init__(self, reconciler: Reconciler, lease: Lease, budget: Budget, sweep: Sweep) -> None:
        self._parts = reconciler
        self._caller = reconciler.caller
        self._lists = _listing(reconciler.caller)
        self._lease = lease
        self._budget = budget
        self.sweep = sweep
        self._counts = Counter(sweep.counts if sweep.started_at is not None else {})
        self.findings: list[Finding] = []

    @property
    def _now(self) -> Millis:
        return self._parts.clock.now()

    async def run(self) -> None:
        """Sweep to the end of the list, or until it cannot be read."""
        began_at = self.sweep.started_at or self._now
        self.sweep = replace(self.sweep, started_at=began_at, error=None)
        try:
            with foreign_errors_translated():
                await self._pages(began_at)
                if self.sweep.kind is SweepKind.OPEN:
                    await self._unlisted(began_at)
        except PagesMissing as error:
            # From the beginning the next time: what was read of this list cannot be relied on.
            await self._save(error=str(error), cursor="", started_at=None)
            self.sweep = replace(self.sweep, started_at=began_at)
        except Unavailable as error:
            await self._save(error=str(error))
        else:
            await self._save(mark=began_at, cursor="", started_at=None)

    async def _pages(self, began_at: Millis) -> None:
        since = None
        if self.sweep.kind is SweepKind.CREATED:
            mark = self.sweep.mark
            since = (began_at - FIRST_REACH) if mark is None else mark - 2 * self._lists.list_lag
        # A cursor that comes again would never end the list: one is kept, after 1, 2, 4, … pages.
        checkpoint, pages, power = self.sweep.cursor, 0, 1
        while True:
            page, cursor = await self._page(since)
            await self._compare(page, began_at)
            self._counts["pages"] += 1
            if not cursor:
                return
            if cursor == checkpoint:
                raise PagesMissing(f"{self._caller.name} gave a page of its list of runs twice")
            pages += 1
            if pages == power:
                checkpoint, pages, power = cursor, 0, 2 * power
            await self._save(cursor=cursor)

    async def _page(self, since: Millis | None) -> tuple[Mapping[str, Sighting], str]:
        pause, longest = PAGE_PAUSES
        for tries in range(1, PAGE_TRIES + 1):
            self._counts["calls"] += 1
            try:
                return await self._lists.list_runs(since=since, cursor=self.sweep.cursor)
            except (ProviderRefused, UnmappedStatus) as error:
                raise PagesMissing(f"pages are missing: {error}") from error
            except Unavailable as error:
                if tries == PAGE_TRIES:
                    raise
                delay = error.retry_after
                wait = pause if delay is None else round(delay.total_seconds() * 1_000)
                await self._parts.clock.sleep(min(wait, longest))
                pause = min(2 * pause, longest)
        raise AssertionError("unreachable")

    async def _compare(self, page: Mapping[str, Sighting], began_at: Millis) -> None:
        """Compare a page with the run store, and record which live deliveries it lists."""
        matches = await self._parts.matches.match(self._caller.name, page)
        self._counts["listed"] += len(page)
        listed: list[Delivery] = []
        for provider_run_id, sighting in page.items():
            match = matches.get(provider_run_id)
            rule = rule_of(
                match,
                provider_run_id,
                sighting,
                now=self._now,
                lag=self._lists.list_lag,
                silence=self._parts.silence,
            )
            if match is not None and rule in {Rule.HEALTHY, Rule.SILENT}:
                listed.append(match.delivery)
            await self._follow(rule, match, provider_run_id, sighting)
        if listed and self.sweep.kind is SweepKind.OPEN:
            await self._parts.matches.record(self._lease, listed=listed, at=began_at)

    async def _follow(
        self, rule: Rule, match: Match | None, provider_run_id: str, sighting: Sighting
    ) -> None:
        """Do what a rule calls for."""
        match rule, match:
            case (Rule.UNKNOWN, _):
                await self._identify(provider_run_id, sighting)
            case (Rule.MISSING, Match()):
                await self._missing(match)
            case (Rule.SUPERSEDED, Match()):
                await self._stop(match.delivery, provider_run_id)
            case (Rule.SILENT, Match()):
                await self._silent(match)
            case (Rule.DISAGREES, Match()):
                finding = self._finding(FindingKind.DISAGREES, match.delivery, sighting)
                evidence = {**finding.evidence, "run": match.state.value}
                await self._note(replace(finding, evidence=evidence), Resolution.RECORDED)

    async def _unlisted(self, began_at: Millis) -> None:
        """Look at live deliveries that the whole list lacks, as far as the period allows."""
        while True:
            unlisted = await self._parts.matches.unlisted(
                self._caller.name,
                began_at=began_at,
                lag=self._lists.list_lag,
                limit=UNLISTED_AT_ONCE,
            )
            looks = [match for match in unlisted if self._budget.take("looks")]
            self._counts["postponed"] += len(unlisted) - len(looks)
            if not looks:
                return
            results = await self._missing_among(looks)
            settled = [
                match.delivery for match, result in zip(looks, results, strict=True) if result
            ]
            await self._parts.matches.record(self._lease, listed=settled, at=began_at)
            if len(settled) < len(looks):
                return

    async def _missing_among(self, matches: Sequence[Match]) -> Sequence[bool]:
        """Look at deliveries, a few at a time; where one fails, no other goes on."""
        gate = asyncio.Semaphore(LOOKS_AT_ONCE)

        async def look(match: Match) -> bool:
            """Look at one in its turn."""
            async with gate:
                return await self._missing(match)

        tasks = [asyncio.ensure_future(look(match)) for match in matches]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _missing(self, match: Match) -> bool:
        """Look at a delivery that seems to have no vendor run; deliver again where it has none.

        False: it is not settled yet.
        """
        delivery = match.delivery
        if not may_be_missing(delivery, self._now, self._lists.list_lag):
            return True
        sighting = await self._look(delivery)
        if sighting is None or (sighting.state is not None and not sighting.state.terminal):
            return True
        finding = self._finding(FindingKind.MISSING, delivery, sighting)
        return await self._replace(match, finding)

    async def _silent(self, match: Match) -> None:
        """Replace a vendor run that goes on and is silent without a reason."""
        try:
            journal = await self._parts.journals.load(match.delivery.run_id)
        except UnknownRun:
            return
        if silence_is_expected(journal, self._now, late=self._parts.silence):
            return
        sighting = await self._look(match.delivery)
        # What is queued waits for its platform: another vendor run would wait behind it.
        if sighting is not None and sighting.state is RunStatus.RUNNING:
            finding = self._finding(FindingKind.STUCK, match.delivery, sighting)
            await self._replace(match, finding, stop=True)

    async def _replace(self, match: Match, finding: Finding, *, stop: bool = False) -> bool:
        if self._parts.dry_run:
            await self._note(finding, Resolution.REPORTED)
            return True
        if not self._budget.take("redeliveries"):
            self._counts["postponed"] += 1
            return False
        resolved = await self._parts.matches.replace(self._lease, match, finding, stop=stop)
        if resolved is not None:
            self._remember(resolved)
        return True

    async def _stop(self, delivery: Delivery, provider_run_id: str) -> None:
        """Stop a vendor run that has no right to go on, if it still does."""
        target = replace(delivery, provider_run_id=provider_run_id)
        now = await self._look(target)
        if now is None or now.state is None or now.state.terminal:
            return
        finding = self._finding(FindingKind.SUPERSEDED, target, now)
        finding = replace(finding, subject=provider_run_id)
        if self._parts.dry_run:
            await self._note(finding, Resolution.REPORTED)
            return
        ended = await self._ask(self._caller.stop(target), provider_run_id)
        await self._note(finding, Resolution.STOPPED if ended else Resolution.STOPPING)

    async def _identify(self, provider_run_id: str, sighting: Sighting) -> None:
        """Find out whose a vendor run is that no row has recorded."""
        word = self._parts.recall(provider_run_id)
        if word is None and sighting.store not in {"", self._parts.store_id}:
            word = "of other stores"
        if word is None:
            word = await self._read_stamp(provider_run_id, sighting)
        if word is not None:
            self._parts.remember(provider_run_id, word)
            self._counts[word] += 1

    async def _read_stamp(self, provider_run_id: str, sighting: Sighting) -> str | None:
        """Read what the delivery carried; gives what to count the vendor run as."""
        if not isinstance(self._caller, ReadsStamps) or not self._budget.take("stamps"):
            self._counts["not read"] += 1
            return None
        stamp = self._caller.stamp(provider_run_id, sighting)
        carried = await self._ask(stamp, provider_run_id) or {}
        store_id = carried.get("store")
        if store_id not in {None, self._parts.store_id}:
            return "of other stores"
        if not self._parts.stamper.proves(carried):
            return "not proved"
        run_id, number = str(carried["run_id"]), int(carried["delivery"])
        proved = await self._parts.matches.delivery(run_id, number)
        if proved is None and await self._parts.matches.has_run(run_id):
            return "not proved"
        if proved is None:
            await self._forgotten(carried, provider_run_id, sighting)
        else:
            await self._proved(proved, provider_run_id, sighting)
        return None

    async def _proved(self, match: Match, provider_run_id: str, sighting: Sighting) -> None:
        """Judge a vendor run whose delivery is known now, though it has recorded another one."""
        if sighting.state is None or sighting.state.terminal:
            return
        recorded = match.delivery.provider_run_id
        if match.is_live and recorded is None:
            return
        now, lag = self._now, self._lists.list_lag
        unclaimed = match.is_live and match.delivery.claimed_at is None
        # A delivery that nobody has claimed may yet be claimed by this one.
        if not unclaimed and may_be_missing(match.delivery, now, lag):
            await self._stop(match.delivery, provider_run_id)

    async def _forgotten(
        self, carried: Mapping[str, Any], provider_run_id: str, sighting: Sighting
    ) -> None:
        has_ended = sighting.state is None or sighting.state.terminal
        now = self._now
        finding = Finding(
            provider=self._caller.name,
            kind=FindingKind.FORGOTTEN,
            subject=provider_run_id,
            resolution=Resolution.REPORTED,
            run_id=str(carried["run_id"]),
            provider_run_id=provider_run_id,
            evidence={
                **_evidence(sighting),
                "task": carried["task"],
                "delivery": carried["delivery"],
            },
            found_at=now,
            seen_at=now,
        )
        await self._note(finding, Resolution.RECORDED if has_ended else Resolution.REPORTED)

    def _finding(self, kind: FindingKind, delivery: Delivery, sighting: Sighting) -> Finding:
        now = self._now
        return Finding(
            provider=self._caller.name,
            kind=kind,
            subject=delivery.key,
            resolution=Resolution.REPORTED,
            run_id=delivery.run_id,
            provider_run_id=delivery.provider_run_id,
            evidence={
                **_evidence(sighting),
                "delivery": delivery.state.value,
                "sent_at": delivery.sent_at,
                "called_at": delivery.called_at,
            },
            found_at=now,
            seen_at=now,
        )

    async def _look(self, delivery: Delivery) -> Sighting | None:
        """Ask for one vendor run; None where the answer says nothing of it."""
        return await self._ask(self._caller.look(delivery), delivery.key)

    async def _ask(self, call: Awaitable[Answer], subject: str) -> Answer | None:
        """Make a call; None where the provider refused it, or its answer cannot be read."""
        self._counts["calls"] += 1
        try:
            return await call
        except (ProviderRefused, UnmappedStatus) as error:
            self._counts["unreadable"] += 1
            log.warning(
                "a provider's answer about a run cannot be read",
                extra={"action": "reconcile", "subject": subject, "error": str(error)},
            )
            return None

    async def _note(self, finding: Finding, resolution: Resolution) -> None:
        finding = replace(finding, resolution=resolution)
        await self._parts.matches.record(self._lease, findings=[finding])
        self._remember(finding)

    def _remember(self, finding: Finding) -> None:
        self.findings.append(finding)
        self._counts[f"{finding.kind}: {finding.resolution}"] += 1
        log.warning(
            "%s at %s: %s",
            finding.kind,
            finding.provider,
            finding.resolution,
            extra={
                "action": "reconcile",
                "provider": finding.provider,
                "run_id": finding.run_id,
                "provider_run_id": finding.provider_run_id,
            },
        )

    async def _save(self, **changes: Any) -> None:
        self.sweep = replace(self.sweep, **changes, counts=dict(self._counts))
        await self._parts.matches.record(self._lease, sweep=self.sweep)


def _listing(caller: DurableCaller) -> Lists:
    assert isinstance(caller, Lists)
    return caller


def _evidence(sighting: Sighting) -> Mapping[str, Any]:
    return {
        **sighting.evidence,
        "word": sighting.word,
        "state": None if sighting.state is None else sighting.state.value,
        "seen_at": sighting.seen_at,
    }
