"""Simulates the gate on the median time: error rates, and pairs until a PASS.

Each sequence is looked at after every pair, from the first pairs that may be judged, as by someone
who waits for a PASS. A row is a true ratio and a kind of noise; `passed` must be at
most 5 % at the bound of 1.20, whatever the noise.
"""

import math
import random
from collections.abc import Callable, Iterator
from statistics import median
from typing import Annotated

import typer
from turnout_parity.gates.blocks import BURN_IN
from turnout_parity.gates.gate_file import TaskGates
from turnout_parity.gates.times import log_ratio, median_gate
from turnout_parity.report import Verdict

DEVIATION = 0.42
"""Standard deviation of the logarithm of a pair's ratio."""
BASE_MS = 1_000.0

Noise = Callable[[random.Random], Iterator[float]]


def independent(source: random.Random) -> Iterator[float]:
    """Yield normal noise."""
    while True:
        yield source.gauss(0, 1)


def heavy(source: random.Random) -> Iterator[float]:
    """Yield noise with heavy tails: Student's t with 3 degrees of freedom, of variance 1."""
    while True:
        chi = sum(source.gauss(0, 1) ** 2 for _ in range(3))
        yield source.gauss(0, 1) / math.sqrt(chi / 3) / math.sqrt(3)


def autoregressive(correlation: float) -> Noise:
    """Return noise in which each value resembles the one before."""

    def noise(source: random.Random) -> Iterator[float]:
        value = source.gauss(0, 1)
        while True:
            yield value
            value = correlation * value + math.sqrt(1 - correlation**2) * source.gauss(0, 1)

    return noise


def clustered(source: random.Random) -> Iterator[float]:
    """Yield noise in which half of the variance is shared by ten neighbours."""
    while True:
        shared = source.gauss(0, 1)
        for _ in range(10):
            yield math.sqrt(0.5) * (shared + source.gauss(0, 1))


NOISES: dict[str, Noise] = {
    "independent": independent,
    "heavy tails": heavy,
    "autocorrelation 0.3": autoregressive(0.3),
    "autocorrelation 0.8": autoregressive(0.8),
    "clusters of ten": clustered,
}


def pairs_until_pass(noise: Noise, ratio: float, pairs: int, seed: int) -> int | None:
    """Return after how many pairs the gate passes at one of its looks; None if it never does."""
    values = noise(random.Random(seed))
    gates = TaskGates()
    ratios = [
        log_ratio(BASE_MS, BASE_MS * ratio * math.exp(DEVIATION * next(values)), gates)
        for _ in range(pairs)
    ]
    for seen in range(BURN_IN, pairs + 1):
        if median_gate(ratios[:seen], gates).verdict is Verdict.PASS:
            return seen
    return None


def main(
    seeds: Annotated[int, typer.Option(help="Sequences a row.")] = 300,
    pairs: Annotated[int, typer.Option(help="Pairs a sequence.")] = 400,
) -> None:
    """Print a table: the share that passed, and the median pairs until then."""
    typer.echo(f"{'noise':22}{'true ratio':>11}{'passed':>9}{'median pairs':>14}")
    for name, noise in NOISES.items():
        for ratio in (1.0, 1.1, 1.2, 1.3):
            ends = [pairs_until_pass(noise, ratio, pairs, seed) for seed in range(seeds)]
            passed = [end for end in ends if end is not None]
            after = f"{median(passed):,.0f}" if passed else ""
            typer.echo(f"{name:22}{ratio:>11.2f}{len(passed) / seeds:>9.1%}{after:>14}")


if __name__ == "__main__":
    typer.run(main)
