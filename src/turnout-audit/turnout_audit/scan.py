"""The second stage: what one file holds, by all the rules of a set. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pathspec import GitIgnoreSpec

from turnout_audit import code, configs, kinds, manifests, markdown, plain, prose, syntax
from turnout_audit.markers import Markers
from turnout_audit.model import Exempted, Finding, Problem, Scan, Scope
from turnout_audit.names import fits
from turnout_audit.ruleset import (
    SCRIPTS,
    AstMatch,
    CallMatch,
    ConfigKeyMatch,
    DecoratorMatch,
    EnvMatch,
    ImportMatch,
    Language,
    ManifestMatch,
    Match,
    MemberMatch,
    PathMatch,
    ProseMatch,
    Rule,
    Ruleset,
    TextMatch,
)
from turnout_audit.sketch import Held, compiled, sketch
from turnout_audit.source import Hit, Segment, Source
from turnout_audit.view import Finder, View, distinct
from turnout_audit.words import Index, Needs, needs, of_modules, sharpest

MAX_PARSED = 4_000_000
"""Characters of a script; a larger one is named as one that could not be told."""
_SCRIPT = re.compile(r"(?i)<script\b[^<>]*>")
_TREES = (ImportMatch, CallMatch, MemberMatch, DecoratorMatch, AstMatch)
_TREE_LANGUAGES = frozenset(syntax.GRAMMARS)
_PARSED = _TREE_LANGUAGES | {"json", "yaml", "toml"}
_TEMPLATE = re.compile(r"\{\{|\{%|<%")
_KEYED = frozenset({"json", "yaml", "toml"})
MOST = 20_000
"""Findings kept of one file."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A match, compiled."""

    number: int
    rule: Rule
    match: Match
    needs: Needs
    find: Any
    files: GitIgnoreSpec | None
    exclude: GitIgnoreSpec | None
    imports: Any
    unless: Any
    sharp: frozenset[str]
    """Words of which a file must hold one, as few files do."""
    behind: frozenset[str]
    """Words without which nothing behind a script's head matters; empty where that is not told."""
    sketches: tuple[tuple[Any, ...], tuple[Any, ...]]
    """What any text, and what a text that names modules in quotes, holds if this match is there."""

    def likely(self, held: Held, language: str) -> bool:
        """Say whether a script is worth its syntax tree."""
        return held.all(self.sketches[language in SCRIPTS])

    def fits_name(self, path: str) -> bool:
        """Say whether the match finds the file by its path."""
        return isinstance(self.match, PathMatch) and bool(list(self.find(named_view(path))))

    def takes(self, path: str) -> bool:
        """Say whether the rule reads files of this path."""
        if self.files is not None and not self.files.match_file(path):
            return False
        return self.exclude is None or not self.exclude.match_file(path)


class Scanner:
    """A rule set, ready to scan texts."""

    def __init__(self, ruleset: Ruleset) -> None:
        self.ruleset = ruleset
        pairs = ((rule, match) for rule in ruleset.rules for match in rule.match)
        known: dict[str, Any] = {}
        markers = ruleset.markers
        self.prepared = [
            _prepared(n, rule, match, markers, known) for n, (rule, match) in enumerate(pairs)
        ]
        self.index = Index(
            word for each in self.prepared for words in each.needs.sets for word in words
        )
        self.sharp = frozenset(word for each in self.prepared for word in each.sharp)
        self.keyed = any(isinstance(each.match, ConfigKeyMatch) for each in self.prepared)
        self._wanted: dict[tuple[int, ...], syntax.Wanted] = {}
        self._readers: dict[tuple[Scope, Language], list[Prepared]] = {}

    @cached_property
    def markers(self) -> Markers:
        """Compile the marker words."""
        return Markers.of(self.ruleset)

    def wanted(self, chosen: Sequence[Prepared]) -> syntax.Wanted:
        """Sum up what matches ask of a syntax tree; remembered, since files are alike."""
        key = tuple(each.number for each in chosen)
        if key not in self._wanted:
            self._wanted[key] = code.wanted(each.match for each in chosen)
        return self._wanted[key]

    def scan(self, path: str, text: str, *, anywhere: bool = False) -> Scan:
        """Find everything in one text; `anywhere` reads it as if no rule named files."""
        present = self.index.present(text)
        chosen = [
            each
            for each in self._reading(path)
            if each.needs.met_by(present) and (anywhere or each.takes(path))
        ]
        told = self._is_structured(path) and not self.sharp.isdisjoint(present)
        if not chosen and not told:
            return Scan(path=path)
        return _OneFile(self, path, text, chosen, told=told).scan()

    def _is_structured(self, path: str) -> bool:
        """Say whether rules read the keys of such a file, so that it must be what its name says."""
        scope, language = kinds.classify(path)
        loose = path.lower().endswith(".json5")
        return self.keyed and scope == "config" and language in _KEYED and not loose

    def _reading(self, path: str) -> Sequence[Prepared]:
        """Choose what may read a file of this kind; documents and components hold other texts."""
        scope, language = kinds.classify(path)
        if scope == "docs" or kinds.is_component(path):
            return self.prepared
        if (scope, language) not in self._readers:
            self._readers[scope, language] = [
                each
                for each in self.prepared
                if scope in each.rule.scope and _speaks(each.rule, language)
            ]
        return self._readers[scope, language]


def _prepared(
    number: int, rule: Rule, match: Match, markers: Iterable[str], known: dict[str, Any]
) -> Prepared:
    needed = needs(match) or Needs(sets=())
    sharp = sharpest(match, markers)
    needed = Needs(sets=tuple(sorted(needed.sets, key=lambda words: words != sharp)))
    modules = of_modules(match)
    return Prepared(
        number=number,
        rule=rule,
        match=match,
        needs=needed,
        sharp=sharp,
        behind=sharp | modules if sharp and modules else frozenset(),
        find=_finder(match),
        files=GitIgnoreSpec.from_lines(rule.files) if rule.files else None,
        exclude=GitIgnoreSpec.from_lines(rule.exclude) if rule.exclude else None,
        imports=fits(match.when_imports) if match.when_imports else None,
        unless=plain.compiled(match.unless, ignore_case=False) if match.unless else None,
        sketches=(
            compiled(sketch(match, quoted=False), known),
            compiled(sketch(match, quoted=True), known),
        ),
    )


def _finder(match: Match) -> Any:
    table: dict[type[Any], Any] = {
        TextMatch: plain.find_text,
        ImportMatch: code.find_imports,
        CallMatch: code.find_calls,
        MemberMatch: code.find_members,
        DecoratorMatch: code.find_decorators,
        ConfigKeyMatch: configs.find_config_keys,
        ManifestMatch: manifests.find_manifests,
        EnvMatch: plain.find_env,
        ProseMatch: prose.find_prose,
        PathMatch: _find_path,
        AstMatch: code.find_ast,
    }
    return table[type(match)](match)


def _find_path(match: PathMatch) -> Finder:
    spec = GitIgnoreSpec.from_lines(match.path)

    def find(view: View) -> Iterator[Hit]:
        if not view.segment.fenced and spec.match_file(view.path):
            yield Hit(start=0, end=0, captured={"name": view.path})

    return find


def named_view(path: str) -> View:
    """See a file by its name alone."""
    return View(Segment(path, "", kinds.classify(path)[1]))


class _Enough(Exception):
    """A file holds more than anybody will read."""


class _OneFile:
    """The scan of one file, while it goes on."""

    def __init__(
        self, scanner: Scanner, path: str, text: str, chosen: list[Prepared], *, told: bool
    ) -> None:
        self.scanner = scanner
        self.told = told
        self.source = Source(path, text)
        self.chosen = chosen
        self.findings: dict[tuple[str, int, int], Finding] = {}
        self.exempted: list[Exempted] = []
        self.problems: dict[tuple[str, int], Problem] = {}

    def scan(self) -> Scan:
        try:
            self._whole()
        except _Enough:
            self._problem(f"more than {MOST} findings: the rest is not told", 0)
        found = sorted(self.findings.values(), key=lambda f: (f.start, f.end, f.rule))
        return Scan(
            path=self.source.path,
            findings=tuple(found),
            problems=tuple(self.problems.values()),
            exempted=tuple(self.exempted),
        )

    def _whole(self) -> None:
        scope, language = kinds.classify(self.source.path)
        if scope == "docs":
            self._document()
        for segment in _segments(self.source, language) if scope != "docs" else ():
            self._segment(segment, scope, None)
            if self.told and len(segment.text) <= MAX_PARSED:
                self._keys(View(segment))

    def _document(self) -> None:
        document = markdown.read(self.source, self.scanner.markers)
        page = prose.Page(document, self.scanner.markers)
        whole = Segment(self.source.path, self.source.text, kinds.classify(self.source.path)[1])
        for each in self.chosen:
            if "docs" not in each.rule.scope or not _speaks(each.rule, whole.language):
                continue
            if isinstance(each.match, ProseMatch):
                for hit, reason in each.find(page):
                    self._note(each, hit, "docs", whole.language, reason)
            elif isinstance(each.match, TextMatch | PathMatch):
                for hit in each.find(View(whole)):
                    if each.unless is None or not each.unless.search(
                        page.text[hit.start : hit.end]
                    ):
                        reason = document.exemption(hit.start)
                        self._note(each, hit, "docs", whole.language, reason)
        for segment in markdown.segments(document):
            self._segment(segment, segment.scope, document)

    def _segment(self, segment: Segment, scope: Scope, document: Any) -> None:
        chosen = self._chosen(segment, scope)
        view = View(segment, self.scanner.wanted(chosen))
        if not chosen or not self._readable(view, chosen):
            return
        for each in _settled(view, chosen):
            try:
                self._apply(view, each, scope, document)
            except configs.Unparsable as error:
                self._unparsable(view, str(error), error.line)
        self._broken(view, chosen)

    def _chosen(self, segment: Segment, scope: Scope) -> list[Prepared]:
        """Choose what can be found in a segment; in a fence its own words decide once more."""
        present = self.scanner.index.present(segment.text) if segment.fenced else None
        held = Held(segment.text)
        return [
            each
            for each in self.chosen
            if scope in each.rule.scope
            and _speaks(each.rule, segment.language)
            and (present is None or each.needs.met_by(present))
            and not isinstance(each.match, ProseMatch)
            and each.likely(held, segment.language)
        ]

    def _readable(self, view: View, chosen: Sequence[Prepared]) -> bool:
        parsed = (*_TREES, ConfigKeyMatch, ManifestMatch, EnvMatch)
        trees = any(isinstance(each.match, parsed) for each in chosen)
        if trees and view.language in _PARSED and len(view.text) > MAX_PARSED:
            self._problem(f"too large to parse: {len(view.text)} characters", 0)
            return False
        return True

    def _apply(self, view: View, each: Prepared, scope: Scope, document: Any) -> None:
        if isinstance(each.match, _TREES) and view.language not in _TREE_LANGUAGES:
            return
        if each.imports is not None:
            tree = view.tree
            if tree is None or not any(each.imports(module) for module in tree.modules):
                return
        for hit in distinct(each.find(view)):
            said = f"{view.text[hit.start : hit.end]} {hit.captured.get('name', '')}"
            if each.unless is not None and each.unless.search(said):
                continue
            start = view.segment.origin(hit.start)
            reason = document.exemption(start) if document is not None else None
            moved = Hit(start=start, end=start + hit.end - hit.start, captured=hit.captured)
            if "\n" in view.text[hit.start : hit.end]:
                end = view.segment.origin(hit.end - 1) + 1
                moved = Hit(start=start, end=end, captured=hit.captured)
            self._note(each, moved, scope, view.language, reason)

    def _note(
        self, each: Prepared, hit: Hit, scope: Scope, language: str, reason: str | None
    ) -> None:
        rule, source = each.rule, self.source
        line = source.line(hit.start)
        if reason is None and markdown.allowed(source.text, hit.start, rule.id):
            reason = "allowed"
        if len(self.findings) + len(self.exempted) >= MOST:
            raise _Enough
        if reason is not None:
            self.exempted.append(
                Exempted(rule=rule.id, path=source.path, line=line, reason=reason)  # type: ignore[arg-type]
            )
            return
        key = (rule.id, hit.start, hit.end)
        self.findings[key] = Finding(
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

    def _unparsable(self, view: View, reason: str, line: int) -> None:
        if view.segment.fenced:  # a snippet may be cut short; what its words say was read
            return
        self._problem(reason, line)

    def _keys(self, view: View) -> None:
        """Name a file that holds a word and is not what its name says; a template is none."""
        try:
            configs.entries(view)
        except configs.Unparsable as error:
            if _TEMPLATE.search(view.text) is None:
                self._unparsable(view, str(error), error.line)

    def _broken(self, view: View, chosen: Iterable[Prepared]) -> None:
        """Name a script that does not parse where a rule's word stands."""
        tree = view.parsed
        if tree is None or view.segment.fenced or not tree.broken:
            return
        trees = [each for each in chosen if isinstance(each.match, _TREES) and each.needs.sets]
        words = {word for each in trees for word in each.sharp}
        for start, end in tree.broken:
            piece = view.segment.lowered[start:end]
            if any(word in piece for word in words):
                self._problem("does not parse", self.source.line(view.segment.origin(start)))
                return

    def _problem(self, reason: str, line: int) -> None:
        problem = Problem(path=self.source.path, reason=reason, line=line)
        self.problems.setdefault((reason, line), problem)


def _settled(view: View, chosen: Sequence[Prepared]) -> list[Prepared]:
    """Leave out what a script's head rules out, and say if the head tells all imports."""
    kept = [each for each in chosen if not _ruled_out(view, each)]
    imports = [each for each in kept if isinstance(each.match, ImportMatch)]
    view.settled = bool(imports) and not any(_matters_behind(view, each) for each in imports)
    return kept


def _ruled_out(view: View, each: Prepared) -> bool:
    """Say whether a match asks for an import that is not at the head, nor anywhere else."""
    match = each.match
    if not isinstance(match, _TREES) or _matters_behind(view, each) or view.head is None:
        return False
    if each.imports is not None and not view.head.brings(match.when_imports):
        return True
    if not isinstance(match, CallMatch | MemberMatch | DecoratorMatch) or not match.from_:
        return False
    return not view.head.names(match)


def _matters_behind(view: View, each: Prepared) -> bool:
    return not each.behind or view.past_head(each.behind)


def _speaks(rule: Rule, language: str) -> bool:
    return not rule.languages or language in rule.languages


def _segments(source: Source, language: Language) -> Iterator[Segment]:
    """Give a file as one piece, or a component's scripts."""
    if not kinds.is_component(source.path):
        yield Segment(source.path, source.text, language)
        return
    text, at = source.text, 0
    if text.startswith("---\n") and (end := text.find("\n---", 4)) > 0:
        yield Segment(source.path, text[4:end], "typescript", [0], [4])
    while opened := _SCRIPT.search(text, at):
        end = text.find("</script>", opened.end())
        at = end if end >= 0 else len(text)
        yield Segment(source.path, text[opened.end() : at], "typescript", [0], [opened.end()])
