"""A report as JSON, which `migration_docs/audit.md` describes, and as Markdown."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from turnout_audit.model import Finding, Report
from turnout_audit.render.text import plain, summary
from turnout_audit.ruleset import Ruleset

VERSION = 1
MOST = 500
"""Rows of one Markdown table; a page of thousands is read by nobody."""


def render_json(report: Report, ruleset: Ruleset) -> str:
    """Write the report as one JSON document."""
    return json.dumps(as_json(report, ruleset), indent=2) + "\n"


def as_json(report: Report, ruleset: Ruleset) -> dict[str, Any]:
    """Give the report as JSON values."""
    return {
        "version": VERSION,
        "ruleset": {"name": ruleset.ruleset, "version": ruleset.version, "title": ruleset.title},
        "findings": [_finding(finding) for finding in report.findings],
        "problems": [
            {"path": each.path, "line": each.line or None, "reason": each.reason}
            for each in report.problems
        ],
        "exempted": [
            {"rule": each.rule, "path": each.path, "line": each.line, "reason": each.reason}
            for each in report.exempted
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


def _summary(report: Report) -> dict[str, Any]:
    return {
        "findings": len(report.findings),
        "files": len({finding.path for finding in report.findings}),
        "by_level": dict(sorted(Counter(finding.level for finding in report.findings).items())),
        "by_rule": dict(sorted(Counter(finding.rule for finding in report.findings).items())),
        "exempted": len(report.exempted),
        "problems": len(report.problems),
        "known": len(report.known),
        "gone": report.gone,
        "searched": report.counted.files,
        "opened": report.counted.opened,
        "binary": report.counted.binary,
        "links": report.counted.links,
        "own": report.counted.own,
    }


def render_markdown(report: Report, ruleset: Ruleset) -> str:
    """Write the report for a pull request or a wiki."""
    lines = [f"## {_cell(ruleset.title)}", "", _cell(summary(report)), ""]
    for rule in ruleset.rules:
        found = [finding for finding in report.findings if finding.rule == rule.id]
        if found:
            lines += [f"### `{rule.id}` ({rule.level})", "", _cell(rule.why), ""]
            lines += [f"{_cell(rule.advice)} {rule.link}".strip(), ""] if rule.advice else []
            lines += ["| place | line |", "|---|---|", *_rows(found), ""]
    if report.problems:
        lines += ["### Could not tell", ""]
        lines += [f"- {_code(each.path)}: {_cell(each.reason)}" for each in report.problems]
        lines.append("")
    return "\n".join(lines)


def _rows(findings: list[Finding]) -> Iterator[str]:
    for finding in findings[:MOST]:
        yield f"| {_code(f'{finding.path}:{finding.line}')} | {_code(finding.text)} |"
    if len(findings) > MOST:
        yield f"| … | and {len(findings) - MOST} more |"


def _cell(text: str) -> str:
    return plain(text).replace("|", "\\|").replace("<", "&lt;")


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    return f"{fence}{plain(text).replace('|', chr(92) + '|')}{fence}"
