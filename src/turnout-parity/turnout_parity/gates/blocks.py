"""Blocks of neighbouring pairs, long enough that one block hardly tells about the next.

A slow minute slows all pairs in it, so that neighbouring pairs are less evidence than their
number says. Where neighbours are alike, evidence is also counted in blocks, whose length follows
from how long the likeness lasts.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil, sqrt
from operator import mul
from statistics import fmean
from typing import Final

BURN_IN: Final = 45
"""Pairs before which nothing is decided: fewer do not show whether neighbours are alike."""
LONGEST_MEMORY: Final = 60
"""Pairs after which likeness is not looked for; what lasts longer gives no evidence in time."""
_FIRST_LAGS: Final = 5
"""Lags whose correlations say together whether neighbours are alike at all."""
_ALIKE: Final = 1.3
"""Standard deviations above which that sum is no chance; independent values exceed it in 10 %."""


def block_means(values: Sequence[float], length: int) -> list[float]:
    """Return the means of successive blocks, in order; a last, incomplete block is left out."""
    return [
        fmean(values[start : start + length])
        for start in range(0, len(values) - length + 1, length)
    ]


def block_lengths(values: Sequence[float]) -> tuple[int, ...]:
    """Return by which lengths of blocks evidence is counted: (1,) where neighbours are not alike.

    Otherwise also a length of twice the pairs that count as one, and the double of that: the
    estimate errs, most of all where likeness ends at once, as among the runs of one batch.
    """
    correlations = list(_correlations(values, min(len(values) // 3, LONGEST_MEMORY)))
    first = correlations[:_FIRST_LAGS]
    # Of independent values this sum is about normal, with a standard deviation of 1.
    if not first or sum(first) * sqrt(len(values) / len(first)) < _ALIKE:
        return (1,)
    length = ceil(2 * _pairs_that_count_as_one(correlations))
    return (1, length, 2 * length)


def _correlations(values: Sequence[float], lags: int) -> Iterator[float]:
    """Yield the autocorrelation at each lag from 1, corrected for the mean that was taken off."""
    mean = fmean(values)
    deviations = [value - mean for value in values]
    variance = sum(map(mul, deviations, deviations))
    for lag in range(1, lags + 1):
        covariance = sum(map(mul, deviations, deviations[lag:]))
        yield covariance / variance + 1 / len(values) if variance else 0.0


def _pairs_that_count_as_one(correlations: Sequence[float]) -> float:
    """Return the integrated autocorrelation time, by Geyer's initial positive sequence."""
    total = 1.0
    for together in list(map(sum, pairwise(correlations)))[::2]:
        if together <= 0:
            break
        total += 2 * together
    return total
