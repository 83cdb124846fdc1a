"""A report as JSON, which `migration_docs/audit.md` describes, and as Markdown."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from turnout_audit.model import AuditReport, FileProblem, Finding
from turnout_audit.render.text import plain, summary
from turnout_audit.ruleset import Ruleset

VERSION = 1
MAX_ROWS = 500
"""Rows of one Markdown table."""


def render_json(report: AuditReport, ruleset: Ruleset) -> str:
    """Write the report as one JSON document."""
    return json.dumps(as_json(report, ruleset), indent=2) + "\n"


def as_json(report: AuditReport, ruleset: Ruleset) -> dict[str, Any]:
    """Return the report as JSON values."""
    return {
        "version": VERSION,
        "ruleset": {"name": ruleset.ruleset, "version": ruleset.version, "title": ruleset.title},
        "findings": [_finding(finding) for finding in report.findings],
        "problems": [
            {"path": item.path, "line": item.line or None, "reason": item.reason}
            for item in report.problems
        ],
        "exempted": [
            {"rule": item.rule, "path": item.path, "line": item.line, "reason": item.reason}
            for item in report.exempted
        ],
        "unclassified": [
            {"path": item.path, "line": item.line or None, "text": item.text}
            for item in report.unclassified
        ],
        "summary": _summary(report),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "level": finding.level,
        "path": finding.path,
        "line": finding.line,
        "column": finding.column,
        "end_line": finding.end_line,
        "text": finding.text,
        "why": finding.why,
        "fix": finding.fix,
    }


def _summary(report: AuditReport) -> dict[str, Any]:
    return {
        "findings": len(report.findings),
        "files": len({finding.path for finding in report.findings}),
        "by_level": dict(sorted(Counter(finding.level for finding in report.findings).items())),
        "by_rule": dict(sorted(Counter(finding.rule for finding in report.findings).items())),
        "exempted": len(report.exempted),
        "unclassified": len(report.unclassified),
        "problems": len(report.problems),
        "known": len(report.accepted),
        "gone": report.resolved,
        "searched": report.counted.files,
        "opened": report.counted.opened,
        "binary": report.counted.binary,
        "links": report.counted.links,
        "own": report.counted.own_files,
    }


def render_markdown(report: AuditReport, ruleset: Ruleset) -> str:
    """Write the report for a pull request or a wiki."""
    lines = [f"## {_cell(ruleset.title)}", "", _cell(summary(report)), ""]
    for rule in ruleset.rules:
        findings = [finding for finding in report.findings if finding.rule == rule.id]
        if findings:
            lines += [f"### `{rule.id}` ({rule.level})", "", _cell(rule.why), ""]
            lines += [f"{_cell(rule.advice)} {rule.link}".strip(), ""] if rule.advice else []
            lines += ["| place | line |", "|---|---|", *_rows(findings), ""]
    if report.unclassified:
        lines += ["### Unclassified mentions", "", "| place | line |", "|---|---|"]
        lines += [*_rows(list(report.unclassified)), ""]
    if report.problems:
        lines += ["### Could not tell", ""]
        lines += [f"- {_place(problem)}: {_cell(problem.reason)}" for problem in report.problems]
        lines.append("")
    return "\n".join(lines)


def _rows(findings: list[Finding]) -> Iterator[str]:
    for finding in findings[:MAX_ROWS]:
        yield f"| {_place(finding)} | {_code(finding.text)} |"
    if len(findings) > MAX_ROWS:
        yield f"| … | and {len(findings) - MAX_ROWS} more |"


def _place(item: Finding | FileProblem) -> str:
    """Name a file and a line in it, or the file alone where the whole of it is meant."""
    return _code(f"{item.path}:{item.line}" if item.line else item.path)


def _cell(text: str) -> str:
    return plain(text).replace("|", "\\|").replace("<", "&lt;")


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{plain(text).replace('|', chr(92) + '|')}{fence}"
