"""Ending vendor runs that prove to be of this run store, which has no such run: by command only."""

from collections.abc import Sequence
from dataclasses import replace

from turnout.errors import UnknownProvider, WrongUse
from turnout.model.runs import Delivery
from turnout.model.text import storable
from turnout.service.process import Turnout
from turnout_tracking.leaders import Lease, open_leaders
from turnout_tracking.leading import lead
from turnout_tracking.matches import open_matches
from turnout_tracking.model import Finding, FindingKind, Resolution
from turnout_tracking.service import JOB
from turnout_tracking.sweeps import open_sweeps

SEARCHED = 10_000
"""Findings that are searched."""


async def end_forgotten(
    turnout: Turnout,
    provider_run_ids: Sequence[str],
    *,
    reason: str,
    ticket: str | None,
    dry_run: bool,
) -> Sequence[Finding] | None:
    """Stop forgotten vendor runs, and record who wanted it and why; None: another replica leads.

    WrongUse, and nothing is stopped, for one that no reconciliation has found to be forgotten, or
    whose provider is not set up any more.
    """
    findings = await open_sweeps(turnout.store).findings(since=0, limit=SEARCHED)
    forgotten = {
        finding.subject: finding for finding in findings if finding.kind is FindingKind.FORGOTTEN
    }
    unknown = [name for name in provider_run_ids if name not in forgotten]
    if unknown:
        raise WrongUse(f"not found to be forgotten: {', '.join(unknown)}; nothing was stopped")
    absent = {forgotten[name].provider for name in provider_run_ids} - turnout.callers.keys()
    if absent:
        names = ", ".join(sorted(absent))
        raise UnknownProvider(f"no live adapter named {names}; nothing was stopped")
    # What cannot be recorded must not be found out after a stop.
    grounds = {"reason": storable(reason), "ticket": None if ticket is None else storable(ticket)}
    matches, results = open_matches(turnout.store), []

    async def work(lease: Lease) -> None:
        for name in provider_run_ids:
            finding = forgotten[name]
            if await matches.has_run(finding.run_id or ""):
                raise WrongUse(f"{name}: the run store has its run {finding.run_id} again")
            if dry_run:
                results.append(finding)
                continue
            ended = await turnout.callers[finding.provider].stop(_delivery(finding))
            evidence = {**finding.evidence, **grounds}
            results.append(
                replace(
                    finding,
                    resolution=Resolution.STOPPED if ended else Resolution.STOPPING,
                    evidence=evidence,
                    seen_at=turnout.clock.now(),
                )
            )
            await matches.record(lease, findings=results[-1:])

    led = await lead(open_leaders(turnout.store), JOB, turnout.replica_id, work)
    return results if led else None


def _delivery(finding: Finding) -> Delivery:
    return Delivery(
        run_id=finding.run_id or "",
        number=int(finding.evidence.get("delivery", 1)),
        provider=finding.provider,
        task=str(finding.evidence.get("task", "")),
        provider_run_id=finding.provider_run_id,
    )
