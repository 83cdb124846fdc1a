"""The second stage: finds the traces in the text of one file, by all rules of a set. Pure."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

from turnout_audit import code, configs, kinds, markdown, prose, syntax
from turnout_audit.markers import Markers
from turnout_audit.mentions import MENTION, Accountant
from turnout_audit.model import FileScan, Scope
from turnout_audit.prepare import CompiledMatch, prepare
from turnout_audit.results import MAX_FINDINGS, UNCLASSIFIED, Results, TooManyFindings
from turnout_audit.ruleset import (
    AstMatch,
    CallMatch,
    ConfigKeyMatch,
    DecoratorMatch,
    DemandMatch,
    EnvMatch,
    ImportMatch,
    Language,
    ManifestMatch,
    MemberMatch,
    PathMatch,
    ProseMatch,
    Ruleset,
    TextMatch,
)
from turnout_audit.sketch import ExpressionMatches
from turnout_audit.source import Hit, Segment, SourceText
from turnout_audit.view import View, distinct
from turnout_audit.words import Index

MAX_PARSED = 4_000_000
"""Characters of a script; a larger one is reported as a problem."""
TOO_MANY = f"more than {MAX_FINDINGS} findings: the rest is not told"
_SCRIPT = re.compile(r"(?i)<script\b[^<>]*>")
_TEMPLATE = re.compile(r"\{\{|\{%|<%")
_TREE_MATCHES = (ImportMatch, CallMatch, MemberMatch, DecoratorMatch, AstMatch)
_PARSED_MATCHES = (*_TREE_MATCHES, ConfigKeyMatch, ManifestMatch, EnvMatch)
_KEYED_LANGUAGES = frozenset({"json", "yaml", "toml"})
_PARSED_LANGUAGES = _KEYED_LANGUAGES | frozenset(syntax.GRAMMARS)


class Scanner:
    """A rule set, ready to scan texts."""

    def __init__(
        self,
        ruleset: Ruleset,
        is_own_module: Callable[[str, str], bool] | None = None,
        *,
        phase: int | None = None,
        codes: frozenset[str] | None = None,
    ) -> None:
        rules = tuple(rule for rule in ruleset.rules if rule.holds_in(phase))
        self.ruleset = replace(ruleset, rules=rules)
        self.codes = codes
        """The rules whose findings are reported; None: all."""
        self.is_own_module = is_own_module
        """Whether a file's module is the team's own; None where the files are not there to ask."""
        self.prepared = prepare(self.ruleset)
        self.mentions = frozenset(word.lower() for word in ruleset.mentions)
        needed = {word for match in self.prepared for words in match.needs.sets for word in words}
        self.index = Index(needed | self.mentions)
        self.sharp = frozenset(word for match in self.prepared for word in match.sharp)
        self.reads_keys = any(isinstance(match.match, ConfigKeyMatch) for match in self.prepared)
        self._queries: dict[tuple[int, ...], syntax.TreeQuery] = {}
        self._readers: dict[tuple[Scope, Language], list[CompiledMatch]] = {}

    @cached_property
    def accountant(self) -> Accountant:
        """Compile the words whose mentions are accounted for."""
        return Accountant(self.ruleset.mentions)

    @cached_property
    def markers(self) -> Markers:
        """Compile the marker words."""
        return Markers.of(self.ruleset)

    def query(self, matches: Sequence[CompiledMatch]) -> syntax.TreeQuery:
        """Sum up what matches ask of a syntax tree; remembered, since files are alike."""
        key = tuple(match.number for match in matches)
        if key not in self._queries:
            self._queries[key] = code.tree_query(match.match for match in matches)
        return self._queries[key]

    def scan(self, path: str, text: str, *, anywhere: bool = False) -> FileScan:
        """Find all traces in one text; `anywhere`: also those of rules for other files."""
        present = self.index.present(text)
        matches = [
            match
            for match in self._readers_of(path, text)
            if match.needs.met_by(present) and (anywhere or match.takes(path))
        ]
        must_parse = self._must_parse(path) and not self.sharp.isdisjoint(present)
        mentioned = not self.mentions.isdisjoint(present)
        if not matches and not must_parse and not mentioned:
            return FileScan(path=path)
        results = Results(SourceText(path, text))
        try:
            outline = _scan_file(self, results, matches, must_parse=must_parse)
            if mentioned and not anywhere:
                self.accountant.account(results, outline)
        except TooManyFindings:
            results.add_problem(TOO_MANY, 0)
        return results.scan() if self.codes is None else self._reported(results.scan())

    def listed(self, path: str, text: str, cause: str) -> FileScan:
        """List the mentions in a text that is not scanned; the cause is a problem of the file."""
        results = Results(SourceText(path, text))
        results.add_problem(cause, 0)
        try:
            if self.reports(UNCLASSIFIED):
                self.accountant.list_all(results)
        except TooManyFindings:
            results.add_problem(TOO_MANY, 0)
        return results.scan()

    def reports(self, code: str) -> bool:
        """Say whether what a rule finds is reported; mentions go with the unclassified ones."""
        return self.codes is None or (UNCLASSIFIED if code == MENTION else code) in self.codes

    def _reported(self, scan: FileScan) -> FileScan:
        """Leave out what rules find that are not reported."""
        return replace(
            scan,
            findings=tuple(f for f in scan.findings if self.reports(f.rule)),
            exempted=tuple(e for e in scan.exempted if self.reports(e.rule)),
            unclassified=scan.unclassified if self.reports(UNCLASSIFIED) else (),
        )

    def _must_parse(self, path: str) -> bool:
        """Say whether rules read the keys of such a file, so that it must be what its name says."""
        scope, language = kinds.classify(path)
        loose = path.lower().endswith(".json5")
        return self.reads_keys and scope == "config" and language in _KEYED_LANGUAGES and not loose

    def _readers_of(self, path: str, text: str) -> Sequence[CompiledMatch]:
        """Choose what may read a file of this kind; documents and components hold other texts."""
        scope, language = kinds.of_text(path, text)
        if scope == "docs" or kinds.is_component(path):
            return self.prepared
        if (scope, language) not in self._readers:
            self._readers[scope, language] = [
                match
                for match in self.prepared
                if scope in match.rule.scope and match.reads(language)
            ]
        return self._readers[scope, language]


def _scan_file(
    scanner: Scanner, results: Results, matches: Sequence[CompiledMatch], *, must_parse: bool
) -> markdown.Outline | None:
    """Find what the rules find; returns the outline of a document."""
    source = results.source
    scope, language = kinds.of_text(source.path, source.text)
    if scope == "docs":
        return _scan_document(scanner, results, matches)
    for segment in _segments(source, language):
        view = _scan_segment(scanner, results, matches, segment, scope, None)
        if must_parse and len(segment.text) <= MAX_PARSED:
            _check_keys(results, view)
    return None


def _segments(source: SourceText, language: Language) -> Iterator[Segment]:
    """Return a file as one piece, or a component's scripts and its markup."""
    if not kinds.is_component(source.path):
        yield Segment(source.path, source.text, language)
        return
    text, at, markup = source.text, 0, []
    if text.startswith("---\n") and (end := text.find("\n---", 4)) > 0:
        yield Segment(source.path, text[4:end], "typescript", [0], [4])
        at = end
    while opened := _SCRIPT.search(text, at):
        markup.append((at, opened.start()))
        end = text.find("</script>", opened.end())
        at = end if end >= 0 else len(text)
        yield Segment(source.path, text[opened.end() : at], "typescript", [0], [opened.end()])
    for start, end in [*markup, (at, len(text))]:
        yield Segment(source.path, text[start:end], "text", [0], [start])


def _scan_document(
    scanner: Scanner, results: Results, matches: Sequence[CompiledMatch]
) -> markdown.Outline:
    """Scan a document as prose, then its fences as what they are."""
    source = results.source
    document = markdown.read(source, scanner.markers)
    page = prose.Page(document, scanner.markers)
    language = kinds.classify(source.path)[1]
    view = View(Segment(source.path, source.text, language))
    for match in matches:
        if "docs" not in match.rule.scope or not match.reads(language):
            continue
        if isinstance(match.match, ProseMatch):
            for hit, reason in match.find(page):
                results.add(match.rule, hit, "docs", language, reason)
        elif isinstance(match.match, DemandMatch):
            _scan_demand(results, match, match.match, document)
        elif isinstance(match.match, TextMatch | PathMatch):
            for hit in match.find(view):
                if match.unless is None or not match.unless.search(page.text[hit.start : hit.end]):
                    reason = document.exemption(hit.start)
                    results.add(match.rule, hit, "docs", language, reason)
    for segment in markdown.segments(document):
        _scan_segment(scanner, results, matches, segment, segment.scope, document)
    return document


def _scan_demand(
    results: Results, match: CompiledMatch, demand: DemandMatch, document: markdown.Outline
) -> None:
    """Find what a document lacks, unless it is history."""
    if document.exemption(0, glossary=False) in ("historical", "changelog"):
        return
    text = document.source.text if demand.place == "anywhere" else document.banner()
    view = View(Segment(document.source.path, text, "markdown"))
    for hit in match.find(view):
        results.add(match.rule, hit, "docs", view.language, None)


def _scan_segment(
    scanner: Scanner,
    results: Results,
    matches: Sequence[CompiledMatch],
    segment: Segment,
    scope: Scope,
    document: markdown.Outline | None,
) -> View:
    """Find what the rules find in a segment, and return it as they saw it."""
    likely = _likely(scanner, matches, segment, scope)
    view = View(segment, scanner.query(likely), scanner.is_own_module)
    if not likely:
        return view
    if _too_large(view, likely):
        results.add_problem(f"too large to parse: {len(view.text)} characters", 0)
        return view
    for match in _without_ruled_out(view, likely):
        try:
            _apply(results, view, match, scope, document)
        except configs.Unparsable as error:
            _note_unparsable(results, view, error)
    _note_broken_script(results, view, likely)
    return view


def _likely(
    scanner: Scanner, matches: Sequence[CompiledMatch], segment: Segment, scope: Scope
) -> list[CompiledMatch]:
    """Choose what can be found in a segment; in a fence its own words decide once more."""
    present = scanner.index.present(segment.text) if segment.fenced else None
    expressions = ExpressionMatches(segment.text)
    return [
        match
        for match in matches
        if scope in match.rule.scope
        and match.reads(segment.language)
        and (segment.fenced or not match.match.fenced)
        and (present is None or match.match.fenced or match.needs.met_by(present))
        and not isinstance(match.match, ProseMatch)
        and not (segment.fenced and isinstance(match.match, DemandMatch))
        and match.likely(expressions, segment.language)
    ]


def _too_large(view: View, matches: Iterable[CompiledMatch]) -> bool:
    if view.language not in _PARSED_LANGUAGES or len(view.text) <= MAX_PARSED:
        return False
    return any(isinstance(match.match, _PARSED_MATCHES) for match in matches)


def _apply(
    results: Results,
    view: View,
    match: CompiledMatch,
    scope: Scope,
    document: markdown.Outline | None,
) -> None:
    if isinstance(match.match, _TREE_MATCHES) and view.language not in syntax.GRAMMARS:
        return
    if match.imports is not None:
        tree = view.tree
        if tree is None or not any(match.imports(module) for module in tree.modules):
            return
    for hit in distinct(match.find(view)):
        text = f"{view.text[hit.start : hit.end]} {hit.captured.get('name', '')}"
        if match.unless is not None and match.unless.search(text):
            continue
        placed = _in_file(view, hit)
        reason = document.exemption(placed.start) if document is not None else None
        results.add(match.rule, placed, scope, view.language, reason)


def _in_file(view: View, hit: Hit) -> Hit:
    """Return a hit of a segment in offsets of the file."""
    start = view.segment.origin(hit.start)
    end = start + hit.end - hit.start
    if "\n" in view.text[hit.start : hit.end]:
        end = view.segment.origin(hit.end - 1) + 1
    return Hit(start=start, end=end, captured=hit.captured)


def _check_keys(results: Results, view: View) -> None:
    """Report a file whose text is not what its name says, unless it is a template."""
    try:
        configs.check(view)
    except configs.Unparsable as error:
        if _TEMPLATE.search(view.text) is None:
            _note_unparsable(results, view, error)


def _note_unparsable(results: Results, view: View, error: configs.Unparsable) -> None:
    loose = view.path.lower().endswith(".json5")
    if not (
        view.segment.fenced or loose
    ):  # a snippet may be cut short; what its words say was read
        results.add_problem(str(error), error.line)


def _note_broken_script(results: Results, view: View, matches: Iterable[CompiledMatch]) -> None:
    """Name a script that does not parse where a rule's word stands."""
    tree = view.parsed
    if tree is None or view.segment.fenced or not tree.broken:
        return
    trees = [m for m in matches if isinstance(m.match, _TREE_MATCHES) and m.needs.sets]
    words = {word for match in trees for word in match.sharp}
    for start, end in tree.broken:
        piece = view.segment.lowered[start:end]
        if any(word in piece for word in words):
            results.add_problem("does not parse", results.source.line(view.segment.origin(start)))
            return


def _without_ruled_out(view: View, matches: Sequence[CompiledMatch]) -> list[CompiledMatch]:
    """Leave out what a script's head rules out, and note if the head holds all imports."""
    possible = [match for match in matches if not _ruled_out(view, match)]
    imports = [match for match in possible if isinstance(match.match, ImportMatch)]
    view.settled = bool(imports) and not any(_matters_behind(view, match) for match in imports)
    return possible


def _ruled_out(view: View, prepared: CompiledMatch) -> bool:
    """Say whether a match needs an import that the script does not have."""
    match = prepared.match
    if not isinstance(match, _TREE_MATCHES) or _matters_behind(view, prepared) or view.head is None:
        return False
    if prepared.imports is not None and not view.head.brings(match.when_imports):
        return True
    if not isinstance(match, CallMatch | MemberMatch | DecoratorMatch) or not match.from_:
        return False
    return not view.head.names(match)


def _matters_behind(view: View, match: CompiledMatch) -> bool:
    return not match.behind or view.past_head(match.behind)
