"""A report for a terminal: by rule, then by file, with the line shown."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from turnout_audit.model import AuditReport, FileProblem, Finding
from turnout_audit.ruleset import Ruleset

SHOWN = 160


def render(report: AuditReport, ruleset: Ruleset) -> str:
    """Write findings, problems and one line that sums them up."""
    lines = [line for rule in ruleset.rules for line in _rule(rule.id, rule.link, report.findings)]
    lines += _unclassified(report.unclassified)
    lines += _problems(report.problems)
    lines.append(summary(report))
    return "\n".join(lines) + "\n"


def summary(report: AuditReport) -> str:
    """Sum a report up in one line."""
    count, files = len(report.findings), len({finding.path for finding in report.findings})
    parts = [f"{count} {plural(count, 'finding')} in {files} {plural(files, 'file')}"]
    if report.unclassified:
        parts.append(f"{len(report.unclassified)} unclassified")
    if report.accepted:
        parts.append(f"{len(report.accepted)} known to the baseline")
    if report.resolved:
        parts.append(f"{report.resolved} of the baseline gone")
    if report.exempted:
        parts.append(f"{len(report.exempted)} exempt (--json lists them)")
    if report.problems:
        parts.append(f"{len(report.problems)} could not be told")
    searched = report.counted.files
    files_word = plural(searched, "file")
    line = f"{report.ruleset}: {', '.join(parts)}; {searched} {files_word} searched"
    own_files = report.counted.own_files
    return f"{line}, {own_files} of them left out as the audit's own" if own_files else line


def plain(text: str) -> str:
    """Escape characters that a terminal would interpret."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def _escape(letter: str) -> str:
    return "\t" if letter == "\t" else letter.encode("unicode_escape", "backslashreplace").decode()


def _rule(identifier: str, link: str, findings: Sequence[Finding]) -> Iterator[str]:
    of_rule = [finding for finding in findings if finding.rule == identifier]
    if not of_rule:
        return
    yield f"{identifier} ({of_rule[0].level}): {plain(of_rule[0].why)}"
    if of_rule[0].fix:
        yield f"  do: {plain(of_rule[0].fix)}"
    if link:
        yield f"  see: {plain(link)}"
    for path, group in groupby(of_rule, key=lambda finding: finding.path):
        yield f"  {plain(path)}"
        yield from _lines(group)
    yield ""


def _lines(findings: Iterable[Finding]) -> Iterator[str]:
    for finding in findings:
        place = f"{finding.line}:{finding.column}" if finding.line else ""
        yield f"    {place:<8} {plain(finding.text)[:SHOWN]}"


def _unclassified(mentions: Sequence[Finding]) -> Iterator[str]:
    if mentions:
        yield "unclassified: the vendor is mentioned, and no rule says what that means"
        yield "  do: remove it, write a rule, take it into the baseline, or write beside it"
        yield "      turnout-audit: allow unclassified"
        for path, group in groupby(mentions, key=lambda mention: mention.path):
            yield f"  {plain(path)}"
            yield from _lines(group)
        yield ""


def _problems(problems: Sequence[FileProblem]) -> Iterator[str]:
    if problems:
        yield "could not tell:"
        for problem in problems:
            line = f":{problem.line}" if problem.line else ""
            yield f"  {plain(problem.path)}{line}: {plain(problem.reason)}"
        yield ""


def plural(count: int, word: str) -> str:
    """Write a word as its count asks for."""
    return word if count == 1 else f"{word}s"
