"""Gates on time: the median, the tail and the spread of the other provider's times.

All three compare times of one pair, so that a slow hour slows both sides. Each turns a pair, or
a block of pairs, into a sign, so that no distribution is assumed and heavy tails do no harm.
"""

from collections.abc import Sequence
from math import exp, inf, log
from statistics import median
from typing import Final

from turnout_parity.gates.blocks import BURN_IN, block_length, block_means
from turnout_parity.gates.gate_file import TaskGates
from turnout_parity.gates.rates import VERDICTS, rate_result
from turnout_parity.gates.sequential_test import MOSTLY, NEARLY_ALWAYS, Evidence, SequentialTest
from turnout_parity.report import GateResult, Verdict

LEAST_MS: Final = 0.1
"""A time below this counts as this: clocks tell no less, and zero has no ratio."""

_HALF: Final = 0.5


def time_gates(
    before_ms: Sequence[float], after_ms: Sequence[float], gates: TaskGates
) -> list[GateResult]:
    """Compare the times of pairs in the order in which they ran; both in milliseconds."""
    if len(before_ms) < BURN_IN:
        reason = f"{len(before_ms)} of the first {BURN_IN} pairs with known times"
        return [
            GateResult(
                gate=gate,
                verdict=Verdict.INCONCLUSIVE,
                reason=reason,
                pairs=len(before_ms),
                more_pairs=BURN_IN - len(before_ms),
            )
            for gate in ("slower", "tail", "spread")
        ]
    ratios = [_log_ratio(*times, gates) for times in zip(before_ms, after_ms, strict=True)]
    return [
        _slower(ratios, gates),
        _tail(ratios, gates),
        _spread(before_ms, after_ms, gates),
    ]


def _log_ratio(before: float, after: float, gates: TaskGates) -> float:
    """Return the logarithm of after / before; a slowdown below the floor is none."""
    ratio = log(max(after, LEAST_MS) / max(before, LEAST_MS))
    return min(ratio, 0.0) if after - before < gates.slower_floor_ms else ratio


def _slower(ratios: Sequence[float], gates: TaskGates) -> GateResult:
    """Say whether the median block is within the bound, by a sign test on blocks."""
    length = block_length(ratios)
    blocks = block_means(ratios, length)
    bound = log(1 + gates.slower)
    test = SequentialTest(rate=_HALF, prior=MOSTLY, alpha=gates.alpha)
    within = sum(block < bound for block in blocks)
    verdict = VERDICTS[test.evidence(within, len(blocks) - within)]
    low, high = _median_interval(blocks, test)
    reason = f"the median ratio is {exp(median(blocks)):.2f}, the bound {1 + gates.slower:.2f}"
    if length > 1:
        reason += f"; neighbouring runs are alike, so {length} of them count as one"
    further = None
    if verdict is Verdict.INCONCLUSIVE:
        blocks_needed = test.more_trials(within, len(blocks) - within)
        further = blocks_needed and blocks_needed * length
        reason += f"; about {further:,} more pairs would show it" if further else ""
    return GateResult(
        gate="slower",
        verdict=verdict,
        reason=reason,
        pairs=len(ratios),
        interval=(exp(low), exp(high) if high < inf else None),
        more_pairs=further,
    )


def _median_interval(blocks: Sequence[float], test: SequentialTest) -> tuple[float, float]:
    """Return the median ratios, as logarithms, that the blocks do not contradict."""
    ordered = sorted(blocks)
    count = len(ordered)
    low, high = -inf, inf
    for below, value in enumerate(ordered):
        if test.evidence(below, count - below) is Evidence.BELOW:
            low = value
        if test.evidence(below + 1, count - below - 1) is Evidence.ABOVE:
            high = value
            break
    return low, high


def _tail(ratios: Sequence[float], gates: TaskGates) -> GateResult:
    """Say whether nearly all pairs are within the bound of a slow pair."""
    bound = log(1 + gates.tail_slower)
    within = sum(ratio < bound for ratio in ratios)
    test = SequentialTest(rate=gates.tail_rate, prior=NEARLY_ALWAYS, alpha=gates.alpha)
    unit = f"pairs are at most {gates.tail_slower:.0%} slower"
    return rate_result("tail", test, hits=within, misses=len(ratios) - within, unit=unit)


def _spread(before_ms: Sequence[float], after_ms: Sequence[float], gates: TaskGates) -> GateResult:
    """Say whether times scatter no more than before: each pair's distances from its medians."""
    before = _distances(before_ms)
    after = _distances(after_ms)
    floor = gates.slower_floor_ms
    signs = [
        float(late < max(early * gates.spread, floor))
        for early, late in zip(before, after, strict=True)
    ]
    blocks = block_means(signs, block_length(signs))
    within = sum(share > _HALF for share in blocks)
    test = SequentialTest(rate=_HALF, prior=MOSTLY, alpha=gates.alpha)
    unit = f"distances from the median are within {gates.spread:.1f} times the other's"
    return rate_result("spread", test, hits=within, misses=len(blocks) - within, unit=unit)


def _distances(times: Sequence[float]) -> list[float]:
    middle = median(times)
    return [abs(time - middle) for time in times]
