"""From counts to the verdict and the report."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from math import ceil, log
from typing import Final

from turnout.parity.ignores import Ignore
from turnout.parity.report import IgnoreUse, Report, TaskCount, Verdict
from turnout.parity.tally import Tally

AIM: Final = 0.99
"""The match rate that a report says the way to."""

_SUMMED = (
    "pairs",
    "matched",
    "mismatched",
    "ignored",
    "missing",
    "late",
    "not_comparable",
    "not_due",
    "not_tested",
)


def verdict(counts: Counter[str], *, unusable: bool) -> tuple[Verdict, list[str]]:
    """Decide without gates: any mismatch fails, and nothing compared proves nothing.

    A window's record that cannot be believed comes first: it may have put aside what differs.
    """
    if unusable:
        return Verdict.INCONCLUSIVE, [
            "the window's own record cannot be believed",
            f"{counts['mismatched']:,} of {counts['pairs']:,} pairs do not match",
        ]
    if counts["mismatched"]:
        reason = f"{counts['mismatched']:,} of {counts['pairs']:,} pairs do not match"
        return Verdict.FAIL, [reason]
    if not counts["pairs"]:
        return Verdict.INCONCLUSIVE, ["no pair was found to compare"]
    if not counts["matched"]:
        return Verdict.INCONCLUSIVE, [
            "every pair differs where differences are declared as ignored"
        ]
    clean = counts["matched"]
    no_mismatch = f"no mismatch in {counts['pairs']:,} pair{'s' * (counts['pairs'] != 1)}"
    if counts["ignored"]:
        no_mismatch += f"; {clean:,} match in everything"
    return Verdict.PASS, [no_mismatch, how_much_it_shows(clean)]


def how_much_it_shows(clean: int) -> str:
    """Say what so many clean pairs prove by their number alone, and how many prove 99 %."""
    shown = shown_rate(clean)
    # Rounded down: a report must not claim more than its pairs show.
    told = f"that many alone show a match rate of at least {int(shown * 1000) / 10:.1f} %"
    more = pairs_for(AIM) - clean
    goal = f"; {more:,} more clean pairs show {AIM:.0%}".replace("%", " %") if more > 0 else ""
    return f"{told} with 95 % confidence{goal}"


def pairs_for(rate: float) -> int:
    """Count the clean pairs that show a match rate."""
    return ceil(log(0.05) / log(rate))


def shown_rate(clean: int) -> float:
    """Give the lowest match rate at which so many clean pairs still come up one time in 20."""
    return float(0.05 ** (1 / clean))


def summary(
    tally: Tally,
    *,
    store: str,
    checked_at: datetime,
    duration_ms: float,
    ignores: Sequence[Ignore],
    warnings: Sequence[str],
    hints: Sequence[str] = (),
) -> Report:
    """Write the report of everything that was counted."""
    tally.fold()
    tasks = tally.task_counts()
    counts = _sum(tasks)
    found, reasons = verdict(counts, unusable=bool(tally.totals["unusable"]))
    uses = _uses(tally, ignores, checked_at)
    return Report(
        verdict=found,
        reasons=[*reasons, *_details(counts, tasks), *hints],
        store=store,
        checked_at=checked_at,
        duration_ms=round(duration_ms, 3),
        **{name: counts[name] for name in _SUMMED},
        single=tally.totals["single"],
        documents=tally.totals["documents"],
        fetched=tally.totals["fetched"],
        verified=tally.totals["verified"],
        fields=tally.field_counts(),
        tasks=tasks,
        differences=tally.listed,
        differences_total=tally.per_kind.total(),
        set_aside=tally.set_aside,
        ignores=uses,
        timings=tally.sample(),
        junk=tally.totals["junk"],
        warnings=[*warnings, *_warnings(tally, uses)],
        providers={side: sorted(names) for side, names in sorted(tally.providers.items())},
    )


def _sum(tasks: dict[str, TaskCount]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for task in tasks.values():
        counts.update({name: getattr(task, name) for name in _SUMMED})
    return counts


def _details(counts: Counter[str], tasks: dict[str, TaskCount]) -> list[str]:
    """Say what else a reader of the verdict must know."""
    kinds: Counter[str] = Counter()
    for task in tasks.values():
        kinds.update({str(kind): count for kind, count in task.kinds.items()})
    said: list[str] = []
    if kinds:
        said.append("pairs by kind: " + ", ".join(f"{k} {n:,}" for k, n in kinds.most_common()))
    if counts["ignored"]:
        said.append(f"only declared differences: {counts['ignored']:,} pairs, counted as ignored")
    if counts["late"] or counts["not_comparable"]:
        said.append(
            f"not compared: {counts['late']:,} late, {counts['not_comparable']:,} not comparable"
        )
    if due := counts["not_due"]:
        said.append(f"not compared yet: {due:,} whose shadow is not due yet or on its way")
    return said


def _uses(tally: Tally, ignores: Sequence[Ignore], at: datetime) -> list[IgnoreUse]:
    return [
        IgnoreUse(
            path=ignore.path,
            reason=ignore.reason,
            owner=ignore.owner,
            expires=ignore.expires.isoformat(),
            expired=ignore.expired(at.date()),
            differences=tally.ignore_uses[(ignore.path, "differences")],
            pairs=tally.ignore_uses[(ignore.path, "pairs")],
        )
        for ignore in ignores
    ]


def _warnings(tally: Tally, uses: Sequence[IgnoreUse]) -> list[str]:
    said = [
        f"the ignore {use.path} expired on {use.expires} and was not applied; ask {use.owner}"
        for use in uses
        if use.expired
    ]
    said += [
        f"the ignore {use.path} met no difference; it can be removed"
        for use in uses
        if not use.expired and not use.differences
    ]
    if junk := tally.totals["junk"]:
        said.append(f"{junk:,} names under runs/ belong to no run and were passed over")
    return said
