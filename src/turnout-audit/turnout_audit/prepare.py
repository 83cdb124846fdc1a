"""Matches of a rule set, compiled: which files they read, and what finds them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from turnout_audit import code, configs, kinds, manifests, prose, text
from turnout_audit.globs import Globs
from turnout_audit.names import Fits, fits
from turnout_audit.ruleset import (
    SCRIPTS,
    AstMatch,
    CallMatch,
    ConfigKeyMatch,
    DecoratorMatch,
    DemandMatch,
    EnvMatch,
    ImportMatch,
    ManifestMatch,
    Match,
    MemberMatch,
    PathMatch,
    ProseMatch,
    Rule,
    Ruleset,
    TextMatch,
)
from turnout_audit.sketch import ExpressionMatches, compiled, sketch
from turnout_audit.source import Hit, Segment
from turnout_audit.view import Finder, View
from turnout_audit.words import Needs, needs, of_modules, sharpest


@dataclass(frozen=True, slots=True)
class CompiledMatch:
    """A match, compiled."""

    number: int
    rule: Rule
    match: Match
    needs: Needs
    find: Any
    """Finds it in a View; a ProseMatch, in a Page."""
    files: Globs | None
    exclude: Globs | None
    imports: Fits | None
    unless: Any
    """A compiled expression: what it finds in the matched text is no finding."""
    sharp: frozenset[str]
    """Words of which a file must hold one, as few files do."""
    behind: frozenset[str]
    """Words of which the text behind a script's head must hold one to matter; empty if unknown."""
    sketches: tuple[tuple[Any, ...], tuple[Any, ...]]
    """What any text, and what a text that names modules in quotes, holds if this match is there."""

    def likely(self, matches: ExpressionMatches, language: str) -> bool:
        """Whether a script may hold a finding, so that it is worth parsing."""
        return matches.all_in(self.sketches[language in SCRIPTS])

    def fits_name(self, path: str) -> bool:
        """Say whether the match finds the file by its path."""
        if isinstance(self.match, DemandMatch):
            return True  # what is demanded may be missing from it
        return isinstance(self.match, PathMatch) and any(True for _ in self.find(_empty_view(path)))

    def takes(self, path: str) -> bool:
        """Say whether the rule reads files of this path."""
        if self.files is not None and not self.files.match(path):
            return False
        return self.exclude is None or not self.exclude.match(path)

    def reads(self, language: str) -> bool:
        """Say whether the rule reads texts in this language."""
        return not self.rule.languages or language in self.rule.languages


def prepare(ruleset: Ruleset) -> list[CompiledMatch]:
    """Compile every match of a rule set."""
    pairs: Sequence[tuple[Rule, Match]] = [
        (rule, match) for rule in ruleset.rules for match in rule.match
    ]
    shared: dict[str, Any] = {}
    return [
        _prepared(number, rule, match, ruleset.markers, shared)
        for number, (rule, match) in enumerate(pairs)
    ]


def _prepared(
    number: int, rule: Rule, match: Match, markers: Iterable[str], shared: dict[str, Any]
) -> CompiledMatch:
    sharp = sharpest(match, markers)
    sets = (needs(match) or Needs(sets=())).sets
    modules = of_modules(match)
    return CompiledMatch(
        number=number,
        rule=rule,
        match=match,
        needs=Needs(sets=tuple(sorted(sets, key=lambda words: words != sharp))),
        sharp=sharp,
        behind=sharp | modules if sharp and modules else frozenset(),
        find=_finder(match),
        files=Globs(rule.files) if rule.files else None,
        exclude=Globs(rule.exclude) if rule.exclude else None,
        imports=fits(match.when_imports) if match.when_imports else None,
        unless=text.compiled(match.unless, ignore_case=False) if match.unless else None,
        sketches=(
            compiled(sketch(match, quoted=False), shared),
            compiled(sketch(match, quoted=True), shared),
        ),
    )


def _finder(match: Match) -> Any:
    table: dict[type[Any], Callable[[Any], Any]] = {
        TextMatch: text.find_text,
        ImportMatch: code.find_imports,
        CallMatch: code.find_calls,
        MemberMatch: code.find_members,
        DecoratorMatch: code.find_decorators,
        ConfigKeyMatch: configs.find_config_keys,
        ManifestMatch: manifests.find_manifests,
        EnvMatch: text.find_env,
        ProseMatch: prose.find_prose,
        PathMatch: _find_path,
        DemandMatch: text.find_lack,
        AstMatch: code.find_ast,
    }
    return table[type(match)](match)


def _find_path(match: PathMatch) -> Finder:
    spec = Globs(match.path)

    def find(view: View) -> Iterator[Hit]:
        """Find the rule's matches."""
        if not view.segment.fenced and spec.match(view.path):
            yield Hit(start=0, end=0, captured={"name": view.path})

    return find


def _empty_view(path: str) -> View:
    """Make a view of a file without its text."""
    return View(Segment(path, "", kinds.classify(path)[1]))
