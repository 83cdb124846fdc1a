"""Makes the verdict and the report from the counts."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from math import ceil, log
from typing import Final

from turnout_parity.counts import Counts
from turnout_parity.gates.evaluate import evaluate
from turnout_parity.gates.gate_file import GateFile
from turnout_parity.ignores import Ignore
from turnout_parity.report import GatesReport, IgnoreUse, ParityReport, TaskCount, Verdict

TARGET_RATE: Final = 0.99
"""The match rate for which a report says how many more clean pairs are needed."""

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


def verdict(
    sums: Counter[str],
    *,
    unusable: bool,
    dual_run_seen: bool = True,
    gates: GatesReport | None = None,
) -> tuple[Verdict, list[str]]:
    """Decide the verdict: any mismatch is FAIL; without a matched pair it is INCONCLUSIVE.

    So it is, too, where the window is unusable: it may have set aside pairs that differ; and where
    there was no dual run, so that no run was to have a twin. Given gates decide in its place.
    """
    if not dual_run_seen:
        return Verdict.INCONCLUSIVE, ["there is nothing to compare"]
    if unusable:
        return Verdict.INCONCLUSIVE, [
            "the window's own record cannot be believed",
            f"{sums['mismatched']:,} of {sums['pairs']:,} pairs do not match",
        ]
    if gates is not None:
        return gates.verdict, _gate_reasons(gates)
    return _without_gates(sums)


def _without_gates(sums: Counter[str]) -> tuple[Verdict, list[str]]:
    if sums["mismatched"]:
        reason = f"{sums['mismatched']:,} of {sums['pairs']:,} pairs do not match"
        return Verdict.FAIL, [reason]
    if not sums["pairs"]:
        return Verdict.INCONCLUSIVE, ["no pair was found to compare"]
    if not sums["matched"]:
        return Verdict.INCONCLUSIVE, [
            "every pair differs where differences are declared as ignored"
        ]
    clean = sums["matched"]
    no_mismatch = f"no mismatch in {sums['pairs']:,} pair{'s' * (sums['pairs'] != 1)}"
    if sums["ignored"]:
        no_mismatch += f"; {clean:,} match in everything"
    return Verdict.PASS, [no_mismatch, statistical_strength(clean)]


def _gate_reasons(gates: GatesReport) -> list[str]:
    """Name every gate that decided the verdict."""
    if gates.verdict is Verdict.PASS:
        return [f"every gate of every task passes ({len(gates.tasks):,} tasks)"]
    return [
        f"{task.task}: {gate.gate}: {gate.reason}"
        for task in gates.tasks
        for gate in task.gates
        if gate.verdict is gates.verdict
    ] or ["no task was seen"]


def statistical_strength(clean: int) -> str:
    """Say what so many clean pairs prove by their number alone, and how many prove 99 %."""
    shown = shown_rate(clean)
    # Rounded down: a report must not claim more than its pairs show.
    rate = f"that many alone show a match rate of at least {int(shown * 1000) / 10:.1f} %"
    needed = pairs_for(TARGET_RATE) - clean
    goal = (
        f"; {needed:,} more clean pairs show {TARGET_RATE:.0%}".replace("%", " %")
        if needed > 0
        else ""
    )
    return f"{rate} with 95 % confidence{goal}"


def pairs_for(rate: float) -> int:
    """Count the clean pairs that show a match rate."""
    return ceil(log(0.05) / log(rate))


def shown_rate(clean: int) -> float:
    """Return the lowest match rate at which so many clean pairs in a row still occur 1 in 20."""
    return float(0.05 ** (1 / clean))


def summary(
    counts: Counts,
    *,
    store: str,
    checked_at: datetime,
    duration_ms: float,
    ignores: Sequence[Ignore],
    warnings: Sequence[str],
    hints: Sequence[str] = (),
    dual_run_seen: bool = True,
    gate_file: GateFile | None = None,
) -> ParityReport:
    """Write the report of everything that was counted."""
    tasks = counts.task_counts()
    sums = _sums(tasks)
    gates = evaluate(tasks, counts.times(), gate_file) if gate_file is not None else None
    decision, reasons = verdict(
        sums,
        unusable=bool(counts.totals["unusable"]),
        dual_run_seen=dual_run_seen,
        gates=gates,
    )
    uses = _uses(counts, ignores, checked_at)
    return ParityReport(
        verdict=decision,
        reasons=[*reasons, *_details(sums, tasks), *hints],
        store=store,
        checked_at=checked_at,
        duration_ms=round(duration_ms, 3),
        **{name: sums[name] for name in _SUMMED},
        single=counts.totals["single"],
        documents=counts.totals["documents"],
        fetched=counts.totals["fetched"],
        verified=counts.totals["verified"],
        fields=counts.field_counts(),
        tasks=tasks,
        differences=counts.listed,
        differences_total=counts.per_kind.total(),
        set_aside=counts.set_aside,
        ignores=uses,
        timings=counts.sample(),
        junk=counts.totals["junk"],
        warnings=[*warnings, *_warnings(counts, uses)],
        providers={side: sorted(names) for side, names in sorted(counts.providers.items())},
        gates=gates,
    )


def _sums(tasks: dict[str, TaskCount]) -> Counter[str]:
    sums: Counter[str] = Counter()
    for task in tasks.values():
        sums.update({name: getattr(task, name) for name in _SUMMED})
    return sums


def _details(sums: Counter[str], tasks: dict[str, TaskCount]) -> list[str]:
    """List further facts for readers of the verdict."""
    kinds: Counter[str] = Counter()
    for task in tasks.values():
        kinds.update({str(kind): count for kind, count in task.kinds.items()})
    details: list[str] = []
    if kinds:
        numbers = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common())
        details.append(f"pairs by kind: {numbers}")
    if ignored := sums["ignored"]:
        details.append(f"only declared differences: {ignored:,} pairs, counted as ignored")
    if sums["late"] or sums["not_comparable"]:
        details.append(
            f"not compared: {sums['late']:,} late, {sums['not_comparable']:,} not comparable"
        )
    if due := sums["not_due"]:
        details.append(f"not compared yet: {due:,} whose shadow is not due yet or on its way")
    return details


def _uses(counts: Counts, ignores: Sequence[Ignore], at: datetime) -> list[IgnoreUse]:
    return [
        IgnoreUse(
            path=ignore.path,
            reason=ignore.reason,
            owner=ignore.owner,
            expires=ignore.expires.isoformat(),
            expired=ignore.expired(at.date()),
            differences=counts.ignore_uses[(ignore.path, "differences")],
            pairs=counts.ignore_uses[(ignore.path, "pairs")],
        )
        for ignore in ignores
    ]


def _warnings(counts: Counts, uses: Sequence[IgnoreUse]) -> list[str]:
    warnings = [
        f"the ignore {use.path} expired on {use.expires} and was not applied; ask {use.owner}"
        for use in uses
        if use.expired
    ]
    warnings += [
        f"the ignore {use.path} met no difference; it can be removed"
        for use in uses
        if not use.expired and not use.differences
    ]
    if junk := counts.totals["junk"]:
        warnings.append(f"{junk:,} names under runs/ belong to no run and were passed over")
    return warnings
