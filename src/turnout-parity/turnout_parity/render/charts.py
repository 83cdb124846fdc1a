"""The geometry of the page's charts; the template draws them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from turnout_parity.report import ParityReport, TaskCount, Timing

OUTCOMES: Final = ("matched", "mismatched", "ignored", "late", "not_comparable", "not_due")
WIDTH: Final = 640.0
HEIGHT: Final = 320.0
MARGIN: Final = 56.0
_BUCKETS: Final = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One piece of a bar, in the chart's units."""

    name: str
    count: int
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One pair in the scatter."""

    x: float
    y: float
    title: str
    slower: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisTick:
    """One mark on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """The shadow's overhead over the primary's, both on one logarithmic scale."""

    points: list[Point]
    x_ticks: list[AxisTick]
    y_ticks: list[AxisTick]
    bound: str
    """The line above which a pair is `slow`, as SVG points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One bucket of the histogram."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """The shadow's overhead minus the primary's."""

    columns: list[Column]
    ticks: list[AxisTick]
    zero: float


def outcome_bar(counts: ParityReport | TaskCount, *, width: float = 100.0) -> list[Bar]:
    """Split a bar among the outcomes; an outcome that occurs gets at least one percent."""
    numbers = {name: getattr(counts, name) for name in OUTCOMES}
    total = sum(numbers.values())
    bars: list[Bar] = []
    x = 0.0
    for name, count in numbers.items():
        if count:
            share = max(count / total * width, width / 100)
            share = min(share, width - x)
            bars.append(Bar(name=name, count=count, x=round(x, 2), width=round(share, 2)))
            x += share
    return bars


def scatter(timings: Sequence[Timing], *, slow_ms: float) -> Scatter | None:
    """Place the sampled pairs; None where there are none."""
    if not timings:
        return None
    highest = max(max(t.primary_ms, t.shadow_ms) for t in timings)
    top = max(math.ceil(math.log10(max(highest, slow_ms * 2))), 1)
    return Scatter(
        points=[_point(timing, top, slow_ms) for timing in timings],
        x_ticks=[AxisTick(at=_x(10.0**n, top), text=_short(10.0**n)) for n in range(top + 1)],
        y_ticks=[AxisTick(at=_y(10.0**n, top), text=_short(10.0**n)) for n in range(top + 1)],
        bound=" ".join(_bound(top, slow_ms)),
    )


def histogram(timings: Sequence[Timing]) -> Histogram | None:
    """Count the sampled pairs by how much more overhead the shadow had.

    The outermost columns also hold the few pairs beyond them, which would flatten all others.
    """
    if not timings:
        return None
    deltas = sorted(t.shadow_ms - t.primary_ms for t in timings)
    beyond = len(deltas) // 50
    low, high = min(deltas[beyond], 0.0), max(deltas[-1 - beyond], 0.0)
    span = (high - low) or 1.0
    counts = [0] * _BUCKETS
    for delta in deltas:
        counts[max(min(int((delta - low) / span * _BUCKETS), _BUCKETS - 1), 0)] += 1
    inner = WIDTH - 2 * MARGIN
    ticks = [low, low + span / 2, low + span]
    return Histogram(
        columns=[_column(n, count, max(counts), low, span) for n, count in enumerate(counts)],
        ticks=[AxisTick(at=MARGIN + (at - low) / span * inner, text=_signed(at)) for at in ticks],
        zero=MARGIN - low / span * inner,
    )


def _point(timing: Timing, top: int, slow_ms: float) -> Point:
    title = f"{timing.task} {timing.run_id}: {timing.primary_ms:,.0f} → {timing.shadow_ms:,.0f} ms"
    return Point(
        x=_x(timing.primary_ms, top),
        y=_y(timing.shadow_ms, top),
        title=title,
        slower=timing.shadow_ms - timing.primary_ms > slow_ms,
    )


def _bound(top: int, slow_ms: float) -> list[str]:
    marks = [10 ** (step * top / 40) for step in range(41)]
    inside = [mark for mark in marks if mark + slow_ms <= 10.0**top]
    return [f"{_x(mark, top)},{_y(mark + slow_ms, top)}" for mark in inside]


def _column(n: int, count: int, highest: int, low: float, span: float) -> Column:
    width = (WIDTH - 2 * MARGIN) / _BUCKETS
    height = count / highest * (HEIGHT - 2 * MARGIN)
    start, end = low + n * span / _BUCKETS, low + (n + 1) * span / _BUCKETS
    interval = f"from {_signed(start)} to {_signed(end)}"
    if n in {0, _BUCKETS - 1}:
        interval = f"up to {_signed(end)}" if n == 0 else f"from {_signed(start)}"
    return Column(
        x=round(MARGIN + n * width, 2),
        y=round(HEIGHT - MARGIN - height, 2),
        width=round(width - 1, 2),
        height=round(height, 2),
        title=f"{count} pairs {interval}",
    )


def _x(ms: float, top: int) -> float:
    return round(MARGIN + _share(ms, top) * (WIDTH - 2 * MARGIN), 2)


def _y(ms: float, top: int) -> float:
    return round(HEIGHT - MARGIN - _share(ms, top) * (HEIGHT - 2 * MARGIN), 2)


def _share(ms: float, top: int) -> float:
    return math.log10(max(ms, 1.0)) / top


def _short(ms: float) -> str:
    return f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:,g} s"  # noqa: PLR2004 (a second)


def _signed(ms: float) -> str:
    return f"{ms:+,.0f} ms"
