"""A test of a rate that stays valid however often one looks: a mixture e-process.

Under the null hypothesis an e-process exceeds 1/alpha with probability alpha at most, at any
time, so that evidence may be read after every pair. This one is a mixture of likelihood ratios
over many alternatives, each with a weight; a finite mixture of them is exact, not approximate.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from math import exp, log
from typing import Final

ALTERNATIVES: Final = 64
"""Alternatives on one side of the rate under test; more of them change nothing that is shown."""

HORIZON: Final = 10_000_000
"""Trials after which more of them are called hopeless."""

_RATE_PRECISION: Final = 1e-4


class Evidence(StrEnum):
    """What the trials show of a rate."""

    ABOVE = "above"
    BELOW = "below"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True)
class Prior:
    """The shape of a Beta distribution: which alternatives weigh most."""

    a: float
    b: float


NEARLY_ALWAYS: Final = Prior(100, 0.5)
"""Alternatives near 1: things that should nearly always hold."""
MOSTLY: Final = Prior(16, 9)
"""Alternatives around 0.64: a sign that noise may turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequentialTest:
    """Tests whether a rate is above or below `rate`, each with error probability `alpha`."""

    rate: float
    prior: Prior
    alpha: float

    def evidence(self, hits: int, misses: int) -> Evidence:
        """Say what so many hits and misses show; at any time, and after any number of looks."""
        threshold = -log(self.alpha)
        if _log_e(_above(self.rate, self.prior), hits, misses) >= threshold:
            return Evidence.ABOVE
        if _log_e(_below(self.rate), hits, misses) >= threshold:
            return Evidence.BELOW
        return Evidence.NEITHER

    def more_trials(self, hits: int, misses: int) -> int | None:
        """Estimate how many more trials at the present rate show `ABOVE`; None if none would."""
        trials = hits + misses
        present = hits / trials if trials else 1.0

        def shows(further: int) -> bool:
            further_hits = round(present * further)
            evidence = self.evidence(hits + further_hits, misses + further - further_hits)
            return evidence is Evidence.ABOVE

        high = 1
        while not shows(high):
            high *= 2
            if high > HORIZON:
                return None
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if shows(middle) else (middle, high)
        return high


def rate_interval(hits: int, misses: int, *, prior: Prior, alpha: float) -> tuple[float, float]:
    """Return the rates that the trials do not contradict: each end with error `alpha`."""

    def evidence(rate: float) -> Evidence:
        return SequentialTest(rate=rate, prior=prior, alpha=alpha).evidence(hits, misses)

    return (
        _boundary(lambda rate: evidence(rate) is Evidence.ABOVE),
        _boundary(lambda rate: evidence(rate) is not Evidence.BELOW),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Alternative:
    """One alternative rate, as logarithms: its weight, and what a hit and a miss multiply by."""

    weight: float
    hit: float
    miss: float


@cache
def _above(rate: float, prior: Prior) -> tuple[_Alternative, ...]:
    """Spread alternatives over (rate, 1), closer to each other near 1, weighted by the prior."""
    places = [(index + 0.5) / ALTERNATIVES for index in range(ALTERNATIVES)]
    rates = [1 - (1 - rate) * place**2 for place in places]
    weights = [
        exp((prior.a - 1) * log(alternative) + (prior.b - 1) * log(1 - alternative)) * place
        for alternative, place in zip(rates, places, strict=True)
    ]
    return _against(rate, rates, weights)


@cache
def _below(rate: float) -> tuple[_Alternative, ...]:
    """Spread alternatives evenly over (0, rate)."""
    rates = [rate * (index + 0.5) / ALTERNATIVES for index in range(ALTERNATIVES)]
    return _against(rate, rates, [1.0] * ALTERNATIVES)


def _against(rate: float, rates: list[float], weights: list[float]) -> tuple[_Alternative, ...]:
    total = sum(weights)
    return tuple(
        _Alternative(
            weight=log(weight / total),
            hit=log(alternative / rate),
            miss=log((1 - alternative) / (1 - rate)),
        )
        for alternative, weight in zip(rates, weights, strict=True)
    )


def _log_e(alternatives: tuple[_Alternative, ...], hits: int, misses: int) -> float:
    """Return the logarithm of the e-process."""
    terms = [entry.weight + hits * entry.hit + misses * entry.miss for entry in alternatives]
    greatest = max(terms)
    return greatest + log(sum(exp(term - greatest) for term in terms))


def _boundary(holds: Callable[[float], bool]) -> float:
    """Return the greatest rate in [0, 1] for which `holds`, which is true of low rates only."""
    low, high = 0.0, 1.0
    while high - low > _RATE_PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
