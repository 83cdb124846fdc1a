"""A report for a terminal: by rule, then by file, with the line shown."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from turnout_audit.model import Finding, Problem, Report
from turnout_audit.ruleset import Ruleset

SHOWN = 160


def render(report: Report, ruleset: Ruleset) -> str:
    """Write findings, problems and one line that sums them up."""
    lines = [line for rule in ruleset.rules for line in _rule(rule.id, rule.link, report.findings)]
    lines += _problems(report.problems)
    lines.append(summary(report))
    return "\n".join(lines) + "\n"


def summary(report: Report) -> str:
    """Sum a report up in one line."""
    count, files = len(report.findings), len({finding.path for finding in report.findings})
    parts = [f"{count} {_s(count, 'finding')} in {files} {_s(files, 'file')}"]
    if report.known:
        parts.append(f"{len(report.known)} known to the baseline")
    if report.gone:
        parts.append(f"{report.gone} of the baseline gone")
    if report.exempted:
        parts.append(f"{len(report.exempted)} exempt (--json lists them)")
    if report.problems:
        parts.append(f"{len(report.problems)} could not be told")
    seen = report.counted.files
    own = f", {report.counted.own} of the audit's own left out" if report.counted.own else ""
    return f"{report.ruleset}: {', '.join(parts)}; {seen} {_s(seen, 'file')} searched{own}"


def plain(text: str) -> str:
    """Write out what a terminal would obey or break on."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(letter: str) -> str:
    return "\t" if letter == "\t" else letter.encode("unicode_escape", "backslashreplace").decode()


def _rule(identifier: str, link: str, findings: Sequence[Finding]) -> Iterator[str]:
    found = [finding for finding in findings if finding.rule == identifier]
    if not found:
        return
    yield f"{identifier} ({found[0].level}): {plain(found[0].why)}"
    if found[0].fix:
        yield f"  do: {plain(found[0].fix)}"
    if link:
        yield f"  see: {plain(link)}"
    for path, group in groupby(found, key=lambda finding: finding.path):
        yield f"  {plain(path)}"
        yield from _lines(group)
    yield ""


def _lines(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        place = f"{finding.line}:{finding.column}"
        yield f"    {place:<8} {plain(finding.text)[:SHOWN]}"


def _problems(problems: Sequence[Problem]) -> Iterator[str]:
    if problems:
        yield "could not tell:"
        for problem in problems:
            line = f":{problem.line}" if problem.line else ""
            yield f"  {plain(problem.path)}{line}: {plain(problem.reason)}"
        yield ""


def _s(count: int, word: str) -> str:
    return word if count == 1 else f"{word}s"
