"""Blocks of neighbouring pairs, long enough that one block hardly tells about the next.

A slow minute slows all pairs in it, so that neighbouring pairs are less evidence than their
number says. Evidence is therefore counted in blocks, whose length follows from how much
neighbours resemble each other.
"""

from collections.abc import Sequence
from operator import mul
from statistics import fmean
from typing import Final

BURN_IN: Final = 20
"""Pairs before which the resemblance of neighbours cannot be estimated, so nothing is decided."""
RESEMBLANCE: Final = 0.1
"""Greatest correlation of neighbouring blocks."""
LONGEST: Final = 200
"""Pairs of the longest block; what resembles itself for longer gives no evidence in time."""


def block_means(values: Sequence[float], length: int) -> list[float]:
    """Return the means of successive blocks, in order; a last, incomplete block is left out."""
    return [
        fmean(values[start : start + length])
        for start in range(0, len(values) - length + 1, length)
    ]


def block_length(values: Sequence[float]) -> int:
    """Return how many successive values make one block."""
    correlation = min(_correlation_of_neighbours(values), 0.98)
    length = 1
    while correlation > RESEMBLANCE and length < min(LONGEST, len(values)):
        if _correlation_of_blocks(correlation, length) <= RESEMBLANCE:
            break
        length += 1
    return length


def _correlation_of_neighbours(values: Sequence[float]) -> float:
    """Return the autocorrelation at lag 1; 0 where all values are the same."""
    mean = fmean(values)
    deviations = [value - mean for value in values]
    variance = sum(deviation * deviation for deviation in deviations)
    if not variance:
        return 0.0
    covariance: float = sum(map(mul, deviations, deviations[1:]))
    return covariance / variance


def _correlation_of_blocks(correlation: float, length: int) -> float:
    """Return how neighbouring blocks' means correlate where values are autoregressive."""
    decayed = 1 - correlation**length
    return correlation * decayed**2 / (length * (1 - correlation**2) - 2 * correlation * decayed)
