"""The nouns of the audit: findings, problems, and the edits that fix a finding."""

from dataclasses import dataclass, field
from typing import Literal

Level = Literal["error", "deprecated", "warn", "advise"]
"""How much a finding matters, most first."""

Scope = Literal["code", "config", "docs"]
"""What kind of file it is; a rule's scope is the kind of text it reads."""


Reason = Literal[
    "banner",
    "glossary",
    "changelog",
    "historical",
    "allowed",
    "comment",
    "own-name",
    "address",
    "text",
    "lock",
    "marked",
    "audit",
]
"""Why a mention does not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One trace that a rule found.

    Lines and columns count from 1, columns in characters. `start` and `end` are character offsets
    into the file's text as `read_text` decodes it, so `text[start:end] == matched`.
    """

    rule: str
    level: Level
    path: str
    line: int
    column: int
    end_line: int
    text: str
    """The line as it stands, without its indent; cut at 300 characters."""
    why: str
    fix: str
    """What to do, in words; empty where a rule gives no advice."""
    start: int
    end: int
    matched: str
    captured: dict[str, str] = field(default_factory=dict)
    """What the match named: regex groups, syntax metavariables, `module`, `name`, `key`, `version`,
    and `local` (the name that an import has in the file)."""
    scope: Scope = "code"
    language: str = ""
    """Of the file, or of the fence that the finding stands in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileProblem:
    """A file that could not be read, parsed or scanned."""

    path: str
    reason: str
    line: int = 0
    """0 where the whole file is meant."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exempted:
    """A mention that does not count, and why."""

    rule: str
    path: str
    line: int
    reason: Reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Edit:
    """Put `replacement` where `start:end` is, in characters of the file's text."""

    path: str
    start: int
    end: int
    replacement: str
    rule: str
    safe: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfixed:
    """A finding that a fixer did not fully understand, and so left as it is."""

    finding: Finding
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fixes:
    """What the fixers would change, and what they leave to a person.

    `turnout_audit.fix.apply(ruleset, findings, sources, *, unsafe)` gives one: `sources` maps a
    finding's path to its whole text, edits do not overlap, and with `unsafe=False` only fixes that
    are declared safe are tried. It is pure; the engine merges, previews and writes the edits, and
    audits again until nothing changes.
    """

    edits: tuple[Edit, ...] = ()
    unfixed: tuple[Unfixed, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FileScan:
    """What one file holds."""

    path: str
    sort: Literal["text", "binary", "own"] = "text"
    """Whether it was read as text; `own` is a baseline or a report of the audit itself."""
    findings: tuple[Finding, ...] = ()
    problems: tuple[FileProblem, ...] = ()
    exempted: tuple[Exempted, ...] = ()
    unclassified: tuple[Finding, ...] = ()
    """Mentions of the vendor that no rule finds, and that nothing exempts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """How much was looked at."""

    files: int = 0
    opened: int = 0
    """Files that the text search kept."""
    binary: int = 0
    links: int = 0
    """Symbolic links, which are never followed."""
    own_files: int = 0
    """Baselines and reports of the audit itself, which are left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditReport:
    """What an audit found, in the order of paths and lines."""

    ruleset: str
    findings: tuple[Finding, ...] = ()
    problems: tuple[FileProblem, ...] = ()
    exempted: tuple[Exempted, ...] = ()
    unclassified: tuple[Finding, ...] = ()
    """Mentions of the vendor that no rule finds, and that nothing exempts."""
    counted: Counted = field(default_factory=Counted)
    audited: frozenset[str] = frozenset()
    """The files that were looked at."""
    codes: frozenset[str] | None = None
    """The rules that were looked for, where not all were."""
    roots: tuple[str, ...] = ()
    """The folders and files that the caller named."""
    accepted: tuple[Finding, ...] = ()
    """Findings that the baseline already holds."""
    resolved: int = 0
    """Findings of the baseline that are no longer there."""
