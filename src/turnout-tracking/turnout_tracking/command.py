"""`turnout reconcile`: compare the run store with what the providers have, and repair it."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from turnout.cli.exits import CLEAN, FOUND, fail, run
from turnout.cli.opening import opened
from turnout.cli.options import AppName, Json
from turnout.cli.output import Page, show, table

if TYPE_CHECKING:
    from turnout.service.process import Turnout
    from turnout_tracking.model import Finding
    from turnout_tracking.reconcile import Outcome

commands = typer.Typer()

UNREAD, REFUSED = 3, 4
"""Exit codes: a provider's list could not be read to its end; another replica leads."""
MOST_ROWS = 50
"""Findings that are shown."""
TRIES = 30
"""Seconds to wait for the lease of a replica that is reconciling."""


@commands.command()
def reconcile(
    once: Annotated[bool, typer.Option("--once", help="Compare once; the default.")] = False,
    interval: Annotated[
        str | None, typer.Option("--every", metavar="DURATION", help="Again and again, until ^C.")
    ] = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report: stop, fail and deliver nothing.")
    ] = False,
    end: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Stop this forgotten vendor run; may be repeated."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; kept. Needed for --end.")] = None,
    ticket: Annotated[str | None, typer.Option(help="Where it was agreed; kept.")] = None,
    app: AppName = None,
    json: Json = False,
) -> None:
    """Compare the run store with the providers' own lists of runs, and repair it by rule.

    Exit 1 when something is left to be done, 3 when pages of a list are missing, 4 when another
    replica leads.
    """
    if once and interval:
        fail("give --once or --every, not both")
    if end:
        if once or interval or provider:
            fail("--end goes with none of --once, --every and --provider")
        if not (reason and reason.strip()):
            fail("say with --reason why these vendor runs are to be stopped")
        findings = run(_end(app, end, reason, ticket, dry_run=dry_run))
        value = {"findings": [_finding_row(finding) for finding in findings]}
        show(value, as_json=json, page=lambda: [_findings_table(value["findings"])])
        raise typer.Exit(_found_code(findings))
    if interval:
        run(_repeat(app, provider, interval, dry_run=dry_run, as_json=json))
        return
    outcomes = run(_once(app, provider, dry_run=dry_run))
    _show(outcomes, as_json=json)
    raise typer.Exit(_exit_code(outcomes))


def _refuse() -> NoReturn:
    fail("another replica reconciles; nothing was changed", REFUSED)


async def _once(app: str | None, provider: str | None, *, dry_run: bool) -> "Sequence[Outcome]":
    async with opened(app) as live:
        return await _reconcile(live, provider, dry_run=dry_run)


async def _repeat(
    app: str | None, provider: str | None, interval: str, *, dry_run: bool, as_json: bool
) -> None:
    from turnout_tracking.service import read_interval

    pause = read_interval(interval, field="--every")
    async with opened(app) as live:
        while True:
            _show(await _reconcile(live, provider, dry_run=dry_run), as_json=as_json)
            await live.clock.sleep(pause)


async def _reconcile(
    live: "Turnout", provider: str | None, *, dry_run: bool
) -> "Sequence[Outcome]":
    from turnout_tracking.leaders import LeaseLost
    from turnout_tracking.service import tracking

    reconciliation = await tracking(live.settings, live.store).open(
        live, provider=provider, dry_run=dry_run
    )
    if not reconciliation.providers:
        name = "no provider" if provider is None else f"no provider {provider!r}"
        fail(f"{name} here lists its runs")
    for pause in (0, *[1_000] * (TRIES - 1)):
        await live.clock.sleep(pause)
        with suppress(LeaseLost):
            outcomes = await reconciliation.run_as(live.replica_id)
            if outcomes is not None:
                return outcomes
    _refuse()


async def _end(
    app: str | None, ids: Sequence[str], reason: str, ticket: str | None, *, dry_run: bool
) -> "Sequence[Finding]":
    from turnout_tracking.forgotten import end_forgotten

    async with opened(app) as live:
        findings = await end_forgotten(live, ids, reason=reason, ticket=ticket, dry_run=dry_run)
    if findings is None:
        _refuse()
    return findings


def _exit_code(outcomes: "Sequence[Outcome]") -> int:
    if not all(outcome.is_complete for outcome in outcomes):
        return UNREAD
    return _found_code(finding for outcome in outcomes for finding in outcome.findings)


def _found_code(findings: "Iterable[Finding]") -> int:
    return FOUND if any(finding.resolution.is_left for finding in findings) else CLEAN


def _show(outcomes: "Sequence[Outcome]", *, as_json: bool) -> None:
    value: dict[str, Any] = {
        "sweeps": [_sweep_row(outcome) for outcome in outcomes],
        "findings": [_finding_row(finding) for outcome in outcomes for finding in outcome.findings],
    }
    show(value, as_json=as_json, page=lambda: _page(value))


def _page(value: dict[str, Any]) -> Page:
    columns = ("provider", "list", "read", "counts", "error")
    rows = (
        (
            row["provider"],
            row["list"],
            "whole" if row["complete"] else "in part",
            ", ".join(f"{count} {name}" for name, count in row["counts"].items()),
            row["error"],
        )
        for row in value["sweeps"]
    )
    return [table("lists", columns, rows), _findings_table(value["findings"])]


def _findings_table(rows: Sequence[dict[str, Any]]) -> Any:
    columns = ("provider", "kind", "run", "vendor_run", "resolution")
    title = f"{len(rows)} finding(s)" + (
        f", the first {MOST_ROWS}" if len(rows) > MOST_ROWS else ""
    )
    return table(title, columns, ([row[name] for name in columns] for row in rows[:MOST_ROWS]))


def _sweep_row(outcome: "Outcome") -> dict[str, Any]:
    sweep = outcome.sweep
    return {
        "provider": sweep.provider,
        "list": sweep.kind.value,
        "complete": outcome.is_complete,
        "counts": dict(sweep.counts),
        "error": sweep.error,
    }


def _finding_row(finding: "Finding") -> dict[str, Any]:
    return {
        "provider": finding.provider,
        "kind": finding.kind.value,
        "run": finding.run_id,
        "vendor_run": finding.provider_run_id,
        "resolution": finding.resolution.value,
        "evidence": dict(finding.evidence),
    }
