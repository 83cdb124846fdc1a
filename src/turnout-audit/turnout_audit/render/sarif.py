"""A report as SARIF 2.1.0 (OASIS standard), as code hosts show it beside the lines."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from turnout_audit import __version__
from turnout_audit.baseline import fingerprint
from turnout_audit.model import AuditReport, FileProblem, Finding, Level
from turnout_audit.results import UNCLASSIFIED
from turnout_audit.ruleset import Rule, Ruleset

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS: Mapping[Level, str] = MappingProxyType(
    {"error": "error", "deprecated": "warning", "warn": "warning", "advise": "note"}
)


_UNCLASSIFIED_RULE = {
    "id": UNCLASSIFIED,
    "shortDescription": {"text": "The vendor is mentioned, and no rule says what that means."},
    "defaultConfiguration": {"level": "warning"},
    "properties": {"level": "warn"},
}


def render(report: AuditReport, ruleset: Ruleset) -> str:
    """Write one run."""
    return json.dumps(as_sarif(report, ruleset), indent=2) + "\n"


def as_sarif(report: AuditReport, ruleset: Ruleset) -> dict[str, Any]:
    """Return the report as SARIF values."""
    numbers = {rule.id: number for number, rule in enumerate(ruleset.rules)}
    numbers[UNCLASSIFIED] = len(numbers)
    state = "new" if report.accepted or report.resolved else None
    results = [
        _result(finding, numbers, state) for finding in (*report.findings, *report.unclassified)
    ]
    results += [_result(finding, numbers, "unchanged") for finding in report.accepted]
    driver = {
        "name": "turnout audit",
        "version": __version__,
        "rules": [*map(_rule, ruleset.rules), _UNCLASSIFIED_RULE],
    }
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"turnout-audit/{ruleset.ruleset}/"},
        "columnKind": "unicodeCodePoints",
        "results": results,
        "invocations": [
            {
                "executionSuccessful": not report.problems,
                "toolExecutionNotifications": [
                    _notification(problem) for problem in report.problems
                ],
            }
        ],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": rule.id,
        "shortDescription": {"text": rule.why},
        "defaultConfiguration": {"level": _LEVELS[rule.level]},
        "properties": {"level": rule.level},
    }
    if rule.advice:
        described["help"] = {"text": rule.advice}
    if rule.link:
        described["helpUri"] = quote(rule.link, safe=":/?#[]@!$&'()*+,;=%~")
    return described


def _result(finding: Finding, numbers: Mapping[str, int], state: str | None) -> dict[str, Any]:
    text = f"{finding.why} {finding.fix}".strip()
    result = {
        "ruleId": finding.rule,
        "ruleIndex": numbers[finding.rule],
        "level": _LEVELS[finding.level],
        "message": {"text": text},
        "locations": [_location(finding.path, _region(finding))],
        "partialFingerprints": {"turnoutAudit/v1": fingerprint(finding)},
    }
    return result | ({"baselineState": state} if state else {})


def _region(finding: Finding) -> dict[str, Any]:
    last = finding.matched.rpartition("\n")[2]
    column = finding.column if finding.end_line == finding.line else 1
    return {
        "startLine": max(1, finding.line),
        "startColumn": finding.column,
        "endLine": max(1, finding.end_line),
        "endColumn": column + len(last),
        "snippet": {"text": finding.text},
    }


def _location(path: str, region: dict[str, Any] | None) -> dict[str, Any]:
    raw = path.encode("utf-8", "surrogateescape")
    uri = f"file://{quote(raw)}" if path.startswith("/") else quote(raw)
    place: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    return {"physicalLocation": place | ({"region": region} if region else {})}


def _notification(problem: FileProblem) -> dict[str, Any]:
    region = {"startLine": problem.line} if problem.line else None
    return {
        "level": "error",
        "message": {"text": problem.reason},
        "locations": [_location(problem.path, region)],
    }
