"""Gates on shares of pairs: how many match, how many are set aside, and what may never happen."""

from typing import Final

from turnout_parity.gates.sequential_test import (
    NEARLY_ALWAYS,
    Evidence,
    SequentialTest,
    rate_interval,
)
from turnout_parity.report import INTOLERABLE, GateResult, Kind, TaskCount, Verdict

EXACT: Final = {
    "status": (Kind.STATUS,),
    "path": (Kind.TRANSITIONS,),
    "steps": (Kind.STEP, Kind.ORDER, Kind.ATTEMPTS, Kind.DELAY),
    "output": (Kind.OUTPUT,),
}
"""The gates on a match rate, and the kinds of differences that count against each."""

VERDICTS: Final = {
    Evidence.ABOVE: Verdict.PASS,
    Evidence.BELOW: Verdict.FAIL,
    Evidence.NEITHER: Verdict.INCONCLUSIVE,
}


def match_gate(gate: str, task: TaskCount, *, rate: float, alpha: float) -> GateResult:
    """Say whether more than `rate` of all pairs match, in the kinds that the gate names.

    A pair that differs in several kinds of one gate counts once for each of them: too strict, never
    too mild. It counts at most as often as there are mismatched pairs.
    """
    differing = min(sum(task.kinds.get(kind, 0) for kind in EXACT[gate]), task.mismatched)
    matching = task.pairs - differing
    test = SequentialTest(rate=rate, prior=NEARLY_ALWAYS, alpha=alpha)
    return rate_result(gate, test, hits=matching, misses=differing, unit="pairs match")


def rate_result(
    gate: str, test: SequentialTest, *, hits: int, misses: int, unit: str
) -> GateResult:
    """Report what a sequential test says of so many hits and misses."""
    verdict = VERDICTS[test.evidence(hits, misses)]
    pairs = hits + misses
    further = test.more_trials(hits, misses) if verdict is Verdict.INCONCLUSIVE else None
    reason = f"{hits:,} of {pairs:,} {unit}; more than {test.rate:.1%} is asked for"
    if further is not None:
        reason += f", which about {further:,} more like these would show"
    elif verdict is Verdict.INCONCLUSIVE:
        reason += ", which more pairs like these would not show"
    return GateResult(
        gate=gate,
        verdict=verdict,
        reason=reason,
        pairs=pairs,
        interval=rate_interval(hits, misses, prior=test.prior, alpha=test.alpha),
        more_pairs=further,
    )


def never_gate(task: TaskCount) -> GateResult:
    """Fail for any pair without its twin, any run over its limit, any unreadable document."""
    counts = {kind: task.kinds[kind] for kind in INTOLERABLE if task.kinds.get(kind)}
    if counts:
        names = ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
        reason = f"these must never happen: {names}"
        return GateResult(gate="never", verdict=Verdict.FAIL, reason=reason, pairs=task.pairs)
    if not task.pairs:
        return no_pairs("never")
    bound = f"none in {task.pairs:,} pairs, which shows a rate of at most {3 / task.pairs:.2%}"
    return GateResult(gate="never", verdict=Verdict.PASS, reason=bound, pairs=task.pairs)


def set_aside_gate(task: TaskCount, *, share: float) -> GateResult:
    """Refuse a verdict where too many pairs were not compared: they may be the ones that differ."""
    aside = task.late + task.not_comparable
    total = task.pairs + aside
    if not total:
        return no_pairs("set aside")
    rate = aside / total
    verdict = Verdict.PASS if rate <= share else Verdict.INCONCLUSIVE
    reason = f"{aside:,} of {total:,} pairs were not compared ({rate:.1%}); at most {share:.1%} may"
    if verdict is Verdict.INCONCLUSIVE:
        reason += ": " + ("the lag is too short for this task" if task.late else "see their list")
    return GateResult(gate="set aside", verdict=verdict, reason=reason, pairs=task.pairs)


def no_pairs(gate: str) -> GateResult:
    """Say that nothing was compared, which is no evidence at all."""
    reason = "no pair of this task was compared"
    return GateResult(gate=gate, verdict=Verdict.INCONCLUSIVE, reason=reason, pairs=0)
