"""A report as tables for a terminal."""

from collections.abc import Iterable
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from turnout.parity.render.plain import in_line
from turnout.parity.report import Difference, Kind, ParityReport, Verdict

MOST_DIFFERENCES: Final = 20
_COLOURS: Final = {
    Verdict.PASS: "bold black on green",
    Verdict.FAIL: "bold white on red",
    Verdict.INCONCLUSIVE: "bold black on yellow",
}
_COUNTS: Final = [
    *("pairs", "matched", "mismatched", "missing", "ignored", "late", "not_comparable", "not_due")
]
_ALWAYS: Final = {"pairs", "matched", "mismatched"}


def render_terminal(report: ParityReport) -> RenderableType:
    """Lay out verdict, tasks, the first differences and what was not tested."""
    parts: list[RenderableType] = [_headline(report)]
    if report.providers:
        sides = (f"{side}: {', '.join(names)}" for side, names in report.providers.items())
        parts.append(Text(_plain(" · ".join(sides))))
    parts.extend(Text(_plain(note)) for note in report.notes)
    parts.append(_tasks(report))
    if report.differences:
        parts.append(_differences(report))
    parts.extend(Text(f"! {_plain(warning)}", style="yellow") for warning in report.warnings)
    parts.append(_footer(report))
    return Group(*parts)


def _headline(report: ParityReport) -> Text:
    line = Text()
    line.append(f" {report.verdict} ", style=_COLOURS[report.verdict])
    line.append(f"  {_plain('; '.join(report.reasons))}")
    return line


def _tasks(report: ParityReport) -> Table:
    """Lay out the tasks; counts that are zero throughout take no column."""
    shown = [name for name in _COUNTS if name in _ALWAYS or getattr(report, name)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", overflow="fold", min_width=_longest(report.tasks), no_wrap=True)
    for title in (*shown, "overhead", "of shadow"):
        table.add_column(title.replace("_", " "), justify="right")
    for name, task in report.tasks.items():
        counts = task.model_dump()
        table.add_row(
            Text(_plain(name)),
            *(_count(counts[each], bad=each in {"mismatched", "missing"}) for each in shown),
            _ms(task.overhead_primary_ms),
            _ms(task.overhead_shadow_ms),
        )
    return table


def _differences(report: ParityReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    shown = [d for d in report.differences if d.ignored_by is None][:MOST_DIFFERENCES]
    table.title = f"differences: {len(shown)} of {report.differences_total}"
    # An id is there to be copied, so it is never broken; the other columns give way.
    longest = _longest(each.run_id for each in shown)
    table.add_column("kind", overflow="fold")
    table.add_column("run", min_width=longest, no_wrap=True)
    for title in ("step", "where", "primary", "shadow"):
        table.add_column(title, overflow="fold")
    for each in shown:
        table.add_row(*(Text(_plain(cell)) for cell in _cells(each)))
    return table


def _longest(names: Iterable[str]) -> int:
    return max((len(_plain(name)) for name in names), default=1)


def _cells(each: Difference) -> tuple[str, ...]:
    kind = f"{each.kind} ({each.label})" if each.label else str(each.kind)
    where = f"{each.artifact}#{each.pointer}" if each.pointer else each.artifact
    if each.kind in {Kind.MISSING, Kind.INVALID, Kind.OVERLAP}:
        return (kind, each.run_id, each.step or "", where, (each.detail or "")[:200], "")
    sides = (in_line(each, "primary", most=60), in_line(each, "shadow", most=60))
    return (kind, each.run_id, each.step or "", where, *sides)


def _footer(report: ParityReport) -> Text:
    seconds = report.duration_ms / 1000
    parts = [
        f"{report.pairs} pairs in {seconds:.1f} s",
        f"{report.documents} documents, {report.fetched} read, {report.verified} of them to verify",
        f"{report.not_tested} values equal by construction count as not tested",
    ]
    if report.single:
        parts.append(f"{report.single} runs without a twin by design")
    return Text(" · ".join(parts), style="dim")


def _count(value: int, *, bad: bool) -> Text:
    return Text(str(value), style="red" if bad and value else "")


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} ms"


def _plain(text: str) -> str:
    """Show control characters instead of obeying them: artifacts are written by others."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
