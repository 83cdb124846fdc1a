"""A report as tables for a terminal."""

from collections.abc import Iterable, Iterator
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from turnout_parity.render.plain import in_line
from turnout_parity.report import Difference, GatesReport, Kind, ParityReport, Verdict

DIFFERENCES_LIMIT: Final = 20
EXPLANATIONS_LIMIT: Final = 5
EXPLANATION_LINES: Final = 12
_COLOURS: Final = {
    Verdict.PASS: "bold black on green",
    Verdict.FAIL: "bold white on red",
    Verdict.INCONCLUSIVE: "bold black on yellow",
}
_COUNTS: Final = [
    *("pairs", "matched", "mismatched", "missing", "ignored", "late", "not_comparable", "not_due")
]
_LINE_STYLES: Final = {"  +": "not bold green", "  -": "not bold red"}
_ALWAYS: Final = {"pairs", "matched", "mismatched"}


def render_terminal(report: ParityReport) -> RenderableType:
    """Lay out the verdict, tasks, the first differences with explanations, and warnings."""
    parts: list[RenderableType] = [_headline(report)]
    if report.providers:
        sides = (f"{side}: {', '.join(names)}" for side, names in report.providers.items())
        parts.append(Text(_plain(" · ".join(sides))))
    parts.extend(Text(_plain(note)) for note in report.notes)
    parts.append(_tasks(report))
    if report.gates is not None and report.gates.tasks:
        parts.append(_gates(report.gates))
    if report.differences:
        parts.append(_differences(report))
        parts.extend(_explanations(report))
    parts.extend(Text(f"! {_plain(warning)}", style="yellow") for warning in report.warnings)
    parts.append(_footer(report))
    return Group(*parts)


def _headline(report: ParityReport) -> Text:
    line = Text()
    line.append(f" {report.verdict} ", style=_COLOURS[report.verdict])
    line.append(f"  {_plain('; '.join(report.reasons))}")
    return line


def _tasks(report: ParityReport) -> Table:
    """Lay out the tasks; a count that is zero for all of them gets no column."""
    shown = [name for name in _COUNTS if name in _ALWAYS or getattr(report, name)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", overflow="fold", min_width=_longest(report.tasks), no_wrap=True)
    for title in (*shown, "overhead", "of shadow"):
        table.add_column(title.replace("_", " "), justify="right")
    for name, task in report.tasks.items():
        counts = task.model_dump()
        table.add_row(
            Text(_plain(name)),
            *(_count(counts[column], bad=column in {"mismatched", "missing"}) for column in shown),
            _ms(task.overhead_primary_ms),
            _ms(task.overhead_shadow_ms),
        )
    return table


def _gates(gates: GatesReport) -> Table:
    """Lay out every gate of every task."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("task", overflow="fold")
    for title in ("gate", "verdict", "why"):
        table.add_column(title, overflow="fold")
    for task in gates.tasks:
        for gate in task.gates:
            verdict = Text(str(gate.verdict), style=_COLOURS[gate.verdict])
            table.add_row(Text(_plain(task.task)), gate.gate, verdict, Text(gate.reason))
    return table


def _differences(report: ParityReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    shown = [d for d in report.differences if d.ignored_by is None][:DIFFERENCES_LIMIT]
    table.title = f"differences: {len(shown)} of {report.differences_total}"
    # People copy ids, so they are never wrapped; the other columns are.
    longest = _longest(difference.run_id for difference in shown)
    table.add_column("kind", overflow="fold")
    table.add_column("run", min_width=longest, no_wrap=True)
    for title in ("step", "where", "primary", "shadow"):
        table.add_column(title, overflow="fold")
    for difference in shown:
        table.add_row(*(Text(_plain(cell)) for cell in _cells(difference)))
    return table


def _explanations(report: ParityReport) -> Iterator[Text]:
    """Show the explanations, except those of one line, which the table shows already."""
    explained = [
        (difference, explanation)
        for difference in report.differences
        if difference.ignored_by is None
        and (explanation := difference.explanation)
        and len(explanation.lines) != 1
    ]
    for difference, explanation in explained[:EXPLANATIONS_LIMIT]:
        place = " ".join(filter(None, [difference.run_id, difference.step, difference.artifact]))
        paragraph = Text(_plain(f"{place}: {explanation.summary}"), style="bold")
        lines = explanation.lines
        for line in lines[:EXPLANATION_LINES]:
            paragraph.append(f"\n  {_plain(line)}", style=_LINE_STYLES.get(line[:3], "not bold"))
        if len(lines) > EXPLANATION_LINES:
            hidden = len(lines) - EXPLANATION_LINES
            paragraph.append(f"\n  … {hidden} more lines in the JSON report", style="not bold dim")
        yield paragraph
    if len(explained) > EXPLANATIONS_LIMIT:
        number = len(explained) - EXPLANATIONS_LIMIT
        yield Text(f"{number} more explanations are in the JSON and HTML reports", style="dim")


def _longest(names: Iterable[str]) -> int:
    return max((len(_plain(name)) for name in names), default=1)


def _cells(difference: Difference) -> tuple[str, ...]:
    label, pointer = difference.label, difference.pointer
    row = (
        f"{difference.kind} ({label})" if label else str(difference.kind),
        difference.run_id,
        difference.step or "",
        f"{difference.artifact}#{pointer}" if pointer else difference.artifact,
    )
    if difference.kind in {Kind.MISSING, Kind.INVALID, Kind.OVERLAP}:
        return (*row, (difference.detail or "")[:200], "")
    sides = (in_line(difference, side, limit=60) for side in ("primary", "shadow"))
    return (*row, *sides)


def _footer(report: ParityReport) -> Text:
    seconds = report.duration_ms / 1000
    parts = [
        f"{_counted(report.pairs, 'pair')} in {seconds:.1f} s",
        _counted(report.documents, "document"),
        f"{report.fetched} read, {report.verified} of them to verify",
        f"not tested, as equal by construction: {_counted(report.not_tested, 'value')}",
    ]
    if report.single:
        parts.append(f"{_counted(report.single, 'run')} without a twin by design")
    return Text(" · ".join(parts), style="dim")


def _counted(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _count(value: int, *, bad: bool) -> Text:
    return Text(str(value), style="red" if bad and value else "")


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} ms"


def _plain(text: str) -> str:
    """Write control characters as escapes: artifacts may contain terminal commands."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
