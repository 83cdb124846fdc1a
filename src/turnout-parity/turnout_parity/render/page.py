"""A report as one page of HTML, without scripts, that loads no other file."""

from typing import Any, Final

import orjson

from turnout_parity.counts import UNKNOWN_TASK
from turnout_parity.render import charts
from turnout_parity.report import Difference, Kind, ParityReport

KIND_LIMIT: Final = 200
"""Differences of one kind that the page shows; it says how many there are."""

TASKS_LIMIT: Final = 200
WORST_LIMIT: Final = 8
SET_ASIDE_LIMIT: Final = 200


def render_html(report: ParityReport, *, slow_ms: float = 5_000) -> str:
    """Draw the page. Every text of the report is escaped; the page may load nothing."""
    # Imported here: the import takes a tenth of a second.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("turnout_parity.render", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(json=_json, ms=_ms, n=_number, visible=_visible)
    return environment.get_template("page.html.j2").render(
        report=report,
        bar=charts.outcome_bar(report, width=1000),
        tasks=[(name, t, charts.outcome_bar(t)) for name, t in _tasks(report)],
        tasks_cut=max(len(report.tasks) - TASKS_LIMIT, 0),
        worst=_worst(report),
        scatter=charts.scatter(report.timings, slow_ms=slow_ms),
        histogram=charts.histogram(report.timings),
        slow_ms=slow_ms,
        chart=charts,
        groups=_groups(report),
        set_aside=report.set_aside[:SET_ASIDE_LIMIT],
    )


def _tasks(report: ParityReport) -> list[tuple[str, Any]]:
    return sorted(report.tasks.items(), key=lambda item: -item[1].mismatched)[:TASKS_LIMIT]


def _worst(report: ParityReport) -> list[tuple[str, Any, float]]:
    bad = [(name, task) for name, task in _tasks(report) if task.mismatched]
    shares = [(name, task, task.mismatched / task.pairs) for name, task in bad if task.pairs]
    return sorted(shares, key=lambda item: (-item[2], -item[1].mismatched))[:WORST_LIMIT]


def _groups(report: ParityReport) -> list[dict[str, Any]]:
    """Group what is listed by kind, in the order of the kinds; declared ignores come last."""
    groups: list[dict[str, Any]] = []
    for ignored in (False, True):
        for kind in Kind:
            members = [
                difference
                for difference in report.differences
                if difference.kind is kind and bool(difference.ignored_by) is ignored
            ]
            if members:
                shown = members[:KIND_LIMIT]
                groups.append(
                    {"kind": kind, "ignored": ignored, "count": len(members), "shown": shown}
                )
    return groups


def _json(difference: Difference, side: str) -> str:
    if difference.absent == side:
        return "(absent)"
    value = getattr(difference, side)
    if value is None and difference.kind in {Kind.MISSING, Kind.INVALID}:
        return "(no value)"
    option = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
    return _visible(orjson.dumps(value, default=repr, option=option).decode())


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} ms"


def _number(value: int) -> str:
    return f"{value:,}"


def _visible(text: str | None) -> str:
    """Write control and direction characters as escapes, so that they cannot hide other text."""
    return "".join(
        char if char.isprintable() or char == "\n" else f"\\u{ord(char):04x}"
        for char in text or UNKNOWN_TASK
    )
