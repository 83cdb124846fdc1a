"""Gates on time: the median, the tail and the spread of the other provider's times.

All three compare times of one pair, so that a slow hour slows both sides. Each turns a pair, or
a block of pairs, into a sign, so that no distribution is assumed and heavy tails do no harm.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from math import exp, inf, log
from statistics import fmean, median
from typing import Final

from turnout_parity.gates.blocks import BURN_IN, block_lengths, block_means
from turnout_parity.gates.gate_file import TaskGates
from turnout_parity.gates.rates import VERDICTS, rate_result
from turnout_parity.gates.sequential_test import (
    MOSTLY,
    NEARLY_ALWAYS,
    Evidence,
    SequentialTest,
    rate_interval,
)
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
    ratios = [log_ratio(*times, gates) for times in zip(before_ms, after_ms, strict=True)]
    return [
        median_gate(ratios, gates),
        _tail(ratios, gates),
        _spread(before_ms, after_ms, gates),
    ]


def log_ratio(before: float, after: float, gates: TaskGates) -> float:
    """Return the logarithm of after / before; a slowdown below the floor is none."""
    ratio = log(max(after, LEAST_MS) / max(before, LEAST_MS))
    return min(ratio, 0.0) if after - before < gates.slower_floor_ms else ratio


def median_gate(ratios: Sequence[float], gates: TaskGates) -> GateResult:
    """Say whether the median is within the bound, by a sign test on pairs and on blocks."""
    bound = log(1 + gates.slower)
    lengths = block_lengths(ratios)
    test = SequentialTest(rate=_HALF, prior=MOSTLY, alpha=gates.alpha)
    blocks = {length: block_means(ratios, length) for length in lengths}
    signs = {length: [mean < bound for mean in means] for length, means in blocks.items()}
    low, high = _median_interval(blocks[lengths[-1]], test)
    middle = exp(median(ratios))
    return _judged(
        GateResult(
            gate="slower",
            verdict=Verdict.INCONCLUSIVE,
            reason=f"the median ratio is {middle:.2f}, the bound {1 + gates.slower:.2f}",
            pairs=len(ratios),
            interval=(exp(low), exp(high) if high < inf else None),
        ),
        test,
        signs,
    )


def _judged(
    result: GateResult, test: SequentialTest, signs: Mapping[int, Sequence[bool]]
) -> GateResult:
    """Complete a result by the signs of blocks of each length: all lengths must show the same."""
    counts = {length: (sum(row), len(row) - sum(row)) for length, row in signs.items()}
    evidence = {test.evidence(*count) for count in counts.values()}
    verdict = VERDICTS[evidence.pop()] if len(evidence) == 1 else Verdict.INCONCLUSIVE
    reason, further = result.reason, None
    if len(counts) > 1:
        reason += f"; neighbouring runs are alike, so up to {max(counts)} of them count as one"
    if verdict is Verdict.INCONCLUSIVE:
        needed = {length: test.more_trials(*count) for length, count in counts.items()}
        if None not in needed.values():
            further = max(length * (blocks or 0) for length, blocks in needed.items())
            reason += f"; about {further:,} more pairs would show it"
    changes = {"verdict": verdict, "reason": reason, "more_pairs": further}
    return result.model_copy(update=changes)


def _median_interval(blocks: Sequence[float], test: SequentialTest) -> tuple[float, float]:
    """Return the median ratios, as logarithms, that the blocks do not contradict."""
    ordered = sorted(blocks)
    count = len(ordered)

    def not_contradicted(below: int) -> bool:
        return test.evidence(below, count - below) is not Evidence.BELOW

    def enough(below: int) -> bool:
        return test.evidence(below, count - below) is Evidence.ABOVE

    # More blocks below a value are never less evidence that the median is below it.
    first = bisect_left(range(count + 1), True, key=not_contradicted)
    last = bisect_left(range(count + 1), True, key=enough)
    low = ordered[first - 1] if first else -inf
    high = ordered[last - 1] if last <= count else inf
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
    within = [
        late < max(early * gates.spread, floor) for early, late in zip(before, after, strict=True)
    ]
    test = SequentialTest(rate=_HALF, prior=MOSTLY, alpha=gates.alpha)
    signs = {
        length: [share > _HALF for share in block_means(within, length)]
        for length in block_lengths(within)
    }
    share = fmean(within)
    return _judged(
        GateResult(
            gate="spread",
            verdict=Verdict.INCONCLUSIVE,
            reason=f"{share:.0%} of the distances from the median are within {gates.spread:.1f}"
            f" times the other's; more than {_HALF:.0%} is asked for",
            pairs=len(within),
            interval=rate_interval(
                sum(within), len(within) - sum(within), prior=MOSTLY, alpha=gates.alpha
            ),
        ),
        test,
        signs,
    )


def _distances(times: Sequence[float]) -> list[float]:
    middle = median(times)
    return [abs(time - middle) for time in times]
