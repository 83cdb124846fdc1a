"""Collects the findings and problems of one file while it is scanned."""

import re

from turnout_audit import markdown
from turnout_audit.model import Exempted, FileProblem, FileScan, Finding, Reason, Scope
from turnout_audit.ruleset import Rule
from turnout_audit.source import Hit, SourceText

UNCLASSIFIED = "unclassified"
"""What a mention that nothing explains is called where findings have a rule."""
_CALL = re.compile(r"turnout[- ]audit(?:[ \t]+(?:history|check|rules|terms|removed))?[ \t]+[\"']?$")
"""What stands before the name of a rule set where this program is called."""
MAX_FINDINGS = 20_000
"""Findings and mentions that are kept of one file."""


class TooManyFindings(Exception):
    """A file holds more findings than MAX_FINDINGS."""


class Results:
    """The findings, the exempt mentions and the problems of one file."""

    def __init__(self, source: SourceText) -> None:
        self.source = source
        self.findings: dict[tuple[str, int, int], Finding] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self.exempted: list[Exempted] = []
        self.unclassified: list[Finding] = []
        self.problems: dict[tuple[str, int], FileProblem] = {}

    def add(self, rule: Rule, hit: Hit, scope: Scope, language: str, reason: Reason | None) -> None:
        """Add a match of a rule, in offsets of the file; `reason` says why it is exempt.

        Raises TooManyFindings.
        """
        source = self.source
        line = source.line(hit.start)
        if reason is None and markdown.allowed(source, hit.start, rule.id):
            reason = "allowed"
        if reason is None and is_call(source.text, hit.start):
            reason = "audit"
        if reason is not None:
            self.exempt(rule.id, line, reason)
            return
        if not rule.fix and self._is_within_another(rule.id, hit):
            return
        self._check()
        self.findings[rule.id, hit.start, hit.end] = Finding(
            rule=rule.id,
            level=rule.level,
            path=source.path,
            line=line,
            column=source.column(hit.start),
            end_line=source.line(max(hit.start, hit.end - 1)),
            text=source.shown(hit.start),
            why=rule.why,
            fix=rule.advice,
            start=hit.start,
            end=hit.end,
            matched=source.text[hit.start : hit.end],
            captured=hit.captured,
            scope=scope,
            language=language,
        )

    def _is_within_another(self, rule: str, hit: Hit) -> bool:
        """Say whether a longer finding of the rule begins at the same place; drop a shorter one.

        Several matches of a rule may see one place. A file that is found by its name is none.
        """
        if hit.start == hit.end:
            return False
        end = self._ends.get((rule, hit.start), hit.end)
        self._ends[rule, hit.start] = max(end, hit.end)
        if end < hit.end:
            self.findings.pop((rule, hit.start, end), None)
        return end > hit.end

    def exempt(self, rule: str, line: int, reason: Reason) -> None:
        """Add a mention that does not count; raises TooManyFindings."""
        self._check()
        exempted = Exempted(rule=rule, path=self.source.path, line=line, reason=reason)
        self.exempted.append(exempted)

    def _check(self) -> None:
        if len(self.findings) + len(self.exempted) + len(self.unclassified) >= MAX_FINDINGS:
            raise TooManyFindings

    def accounted_lines(self) -> set[int]:
        """Return the lines on which something was found, or is exempt already."""
        lines = {exempted.line for exempted in self.exempted}
        for finding in self.findings.values():
            if finding.start < finding.end:  # a file that is found by its name has no text
                lines.update(range(finding.line, finding.end_line + 1))
        return lines

    def add_unclassified(self, start: int, line: int) -> None:
        """Add a mention that nothing explains; raises TooManyFindings."""
        self._check()
        self.unclassified.append(unclassified(self.source.path, self.source.shown(start), line))

    def add_problem(self, reason: str, line: int) -> None:
        """Record what could not be read or parsed, once a line; line 0 means the whole file."""
        problem = FileProblem(path=self.source.path, reason=reason, line=line)
        self.problems.setdefault((reason, line), problem)

    def scan(self) -> FileScan:
        """Return everything in the order of the text."""
        findings = sorted(self.findings.values(), key=lambda f: (f.start, f.end, f.rule))
        return FileScan(
            path=self.source.path,
            findings=tuple(findings),
            problems=tuple(self.problems.values()),
            exempted=tuple(self.exempted),
            unclassified=tuple(self.unclassified),
        )


def is_call(text: str, start: int) -> bool:
    """Say whether the name of a rule set stands here, in a call of this program."""
    return _CALL.search(text, max(0, start - 80), start) is not None


def unclassified(path: str, text: str, line: int) -> Finding:
    """Make a mention that no rule finds; line 0 means the whole file."""
    return Finding(
        rule=UNCLASSIFIED,
        level="warn",
        path=path,
        line=line,
        column=1,
        end_line=line,
        text=text,
        why="The vendor is mentioned here, and no rule says what that means.",
        fix="Remove it, write a rule, or allow it: turnout-audit: allow unclassified.",
        start=0,
        end=0,
        matched="",
    )
