"""Measure the audit on its labelled corpus, and write `migration_docs/audit_accuracy.md`.

Every line of the corpus is judged: a label names the rules whose trace stands there, or none for a
trap; a line without a label is no trace. Documents that are not in this repository can be measured
too: `TURNOUT_AUDIT_DOCUMENTS` is their folder, `documents.toml` of the corpus holds their
labels, by the digest of each.
"""

import hashlib
import os
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from turnout_audit.kinds import classify
from turnout_audit.load import load
from turnout_audit.scan import Scanner

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT / "src" / "turnout-audit" / "tests" / "corpus"
PAGE = ROOT / "migration_docs" / "audit_accuracy.md"
RULESETS = ("inngest", "triggerdev", "triggerdev-v4", "inngest-v4", "restate")
LANGUAGES = {"uk": "Ukrainian", "ko": "Korean", "ja": "Japanese"}

ELSEWHERE = "## Documents from elsewhere"
PUBLIC = "## On public repositories"
"""The section that people write who judged what is found elsewhere; it is kept as it stands."""

Place = tuple[str, int, str]
"""A path, a line and a rule."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was expected in one tree, and what was found."""

    name: str
    labelled: int
    traps: int
    expected: frozenset[Place]
    findings: frozenset[Place]
    problems: tuple[str, ...] = ()
    shown: bool = True
    """Whether the lines may be shown."""

    @property
    def hits(self) -> int:
        """Count what was expected and found."""
        return len(self.expected & self.findings)

    @property
    def precision(self) -> float:
        """Say which share of what was found was expected."""
        return self.hits / len(self.findings) if self.findings else 1.0

    @property
    def recall(self) -> float:
        """Say which share of what was expected was found."""
        return self.hits / len(self.expected) if self.expected else 1.0


def labels(ruleset: str) -> list[dict[str, object]]:
    """Read the labels of a rule set's tree."""
    text = (CORPUS / ruleset / "labels.toml").read_text(encoding="utf-8")
    return list(tomllib.loads(text)["place"])


def files(tree: Path) -> Iterator[tuple[str, Path]]:
    """List the files of a tree, by their paths in it."""
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree).as_posix()
        if path.is_file() and name != "labels.toml":
            yield name, path


def measured(ruleset: str) -> Measured:
    """Measure a rule set on its tree."""
    tree = CORPUS / ruleset
    scanner = Scanner(load(ruleset))
    places = labels(ruleset)
    findings: set[Place] = set()
    problems: list[str] = []
    for name, path in files(tree):
        findings |= _places(scanner, name, path.read_text(encoding="utf-8"), problems)
    expected = {(str(p["path"]), int(str(p["line"])), str(r)) for p in places for r in _rules(p)}
    return Measured(
        name=ruleset,
        labelled=len(places),
        traps=sum(not p["rules"] for p in places),
        expected=frozenset(expected),
        findings=frozenset(findings),
        problems=tuple(problems),
    )


def documents() -> list[Measured]:
    """Measure documents from elsewhere; none where they are not at hand."""
    folder = os.environ.get("TURNOUT_AUDIT_DOCUMENTS")
    if not folder:
        return []
    text = (CORPUS / "documents.toml").read_text(encoding="utf-8")
    labelled = {entry["sha256"]: entry for entry in tomllib.loads(text)["document"]}
    contents = [path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()]
    return [
        _document(labelled[digest], content.decode("utf-8"))
        for content in contents
        if (digest := hashlib.sha256(content).hexdigest()) in labelled
    ]


def _document(entry: dict[str, object], text: str) -> Measured:
    name = str(entry["name"])
    expected: set[Place] = set()
    findings: set[Place] = set()
    problems: list[str] = []
    for ruleset, lines in dict(entry["lines"]).items():  # type: ignore[call-overload]
        findings |= _places(Scanner(load(ruleset)), name, text, problems)
        expected |= {(name, line, rule) for rule, listed in lines.items() for line in listed}
    return Measured(
        name=str(entry["title"]),
        labelled=len(text.splitlines()),
        traps=len(text.splitlines()) - len({line for _, line, _ in expected}),
        expected=frozenset(expected),
        findings=frozenset(findings),
        problems=tuple(problems),
        shown=False,
    )


def _places(scanner: Scanner, name: str, text: str, problems: list[str]) -> set[Place]:
    scan = scanner.scan(name, text)
    problems += [f"{problem.path}:{problem.line}: {problem.reason}" for problem in scan.problems]
    findings = {(name, finding.line, finding.rule) for finding in scan.findings}
    named = {
        prepared.rule.id
        for prepared in scanner.prepared
        if prepared.takes(name) and prepared.fits_name(name)
    }
    return findings | {(name, 1, rule) for rule in named}


def _rules(place: dict[str, object]) -> list[str]:
    return [str(rule) for rule in place["rules"]]  # type: ignore[attr-defined]


def kept_section(heading: str) -> str:
    """Return a section of the page as it stands: what it tells of is not in this repository."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    start = text.find(f"{heading}\n")
    end = text.find("\n## ", start)
    return text[start : end + 1 if end >= 0 else len(text)] if start >= 0 else ""


def section_elsewhere() -> str:
    """Return the page's section on documents from elsewhere, as it was written where they were."""
    return kept_section(ELSEWHERE)


def _section(outside: list[Measured]) -> str:
    misses = [line for result in outside for line in _misses(result)]
    lines = [ELSEWHERE, "", *_table(outside), "", "Misses:", "", *(misses or ["None."]), ""]
    return "\n".join(lines)


def page(results: list[Measured], elsewhere: str) -> str:
    """Write the page; `elsewhere` is its last section."""
    lines = [
        "# How exact the audit is",
        "",
        "Generated by `python scripts/audit_accuracy.py` from the labelled places in",
        "`src/turnout-audit/tests/corpus`. A trace is a line and a rule; a line without a label",
        "must not be found. Traps are what looks like a trace: variables of the vendor's name,",
        "comments, addresses, fixtures, banners, glossaries, changelogs, texts in templates.",
        "",
        *_table(results),
        "",
        f"Labelled places: {sum(r.labelled for r in results)}.",
        f"Of them traps: {sum(r.traps for r in results)}.",
        f"By kind of text: {_kinds(results)}.",
        f"By language of the documents: {_languages(results)}.",
        "",
        "The corpus and the rules were written by the same people. On public repositories, read",
        "beside it, what was wrong became examples of the rules.",
        "",
    ]
    misses = [line for result in results for line in _misses(result)]
    lines += ["## Misses", "", *(misses or ["None."]), "", kept_section(PUBLIC).rstrip(), ""]
    return "\n".join([*lines, elsewhere] if elsewhere else lines)


def _table(results: list[Measured]) -> list[str]:
    head = "| tree | traces | traps | found | right | precision | recall |"
    rows = [
        f"| {r.name} | {len(r.expected)} | {r.traps} | {len(r.findings)} | {r.hits} "
        f"| {r.precision:.4f} | {r.recall:.4f} |"
        for r in results
    ]
    return [head, "|---|---|---|---|---|---|---|", *rows]


def _kinds(results: list[Measured]) -> str:
    counts: dict[str, int] = {}
    for result in results:
        for place in labels(result.name):
            language = classify(str(place["path"]))[1]
            counts[language] = counts.get(language, 0) + 1
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _languages(results: list[Measured]) -> str:
    counts: dict[str, int] = {}
    for result in results:
        for place in labels(result.name):
            path = str(place["path"])
            if classify(path)[0] == "docs":
                spoken = next((LANGUAGES[p] for p in path.split("/") if p in LANGUAGES), "English")
                counts[spoken] = counts.get(spoken, 0) + 1
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _misses(result: Measured) -> Iterator[str]:
    for word, places in (
        ("found, but no trace", result.findings - result.expected),
        ("a trace, but not found", result.expected - result.findings),
    ):
        for path, line, rule in sorted(places):
            shown = ""
            if result.shown:
                text = (CORPUS / result.name / path).read_text(encoding="utf-8").split("\n")
                shown = f": `{text[line - 1].strip()}`"
            yield f"- {word}: `{rule}` at {result.name}, `{path}:{line}`{shown}"


def main() -> int:
    """Write the page and say the figures; 1 where one is below 0.99."""
    results = [measured(name) for name in RULESETS]
    outside = documents()
    PAGE.write_text(
        page(results, _section(outside) if outside else section_elsewhere()), encoding="utf-8"
    )
    for result in [*results, *outside]:
        print(f"{result.name}: precision {result.precision:.4f}, recall {result.recall:.4f}")
    return int(any(min(r.precision, r.recall) < 0.99 for r in [*results, *outside]))


if __name__ == "__main__":
    sys.exit(main())
