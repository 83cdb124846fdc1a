"""The format of a rule set: a TOML file that says what a vendor's traces look like.

`turnout_audit.load` reads the file into these classes. `migration_docs/audit.md` documents the
format, with a sample.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from turnout_audit.fields import Before, ByKey, Limits
from turnout_audit.model import Level, Scope

Language = Literal[
    "python",
    "typescript",
    "tsx",
    "javascript",
    "shell",
    "json",
    "yaml",
    "toml",
    "env",
    "dockerfile",
    "ini",
    "lock",
    "markdown",
    "text",
]
SCRIPTS: tuple[Language, ...] = ("typescript", "tsx", "javascript")
TextPlace = Literal["code", "string", "comment"]
ImportKind = Literal["static", "dynamic", "require", "type", "reexport", "mock"]
Glossary = Literal["exempt", "marked"]
ProsePart = Literal["text", "inline", "fence"]
DemandPlace = Literal["anywhere", "banner"]


def _listed(value: object) -> object:
    """Take a value alone as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def _filled(value: object) -> object:
    """Refuse an empty list."""
    if value in ([], ()):
        raise ValueError("should not be empty")
    return value


def _version(value: object) -> object:
    """Take a number as a version: TOML knows `1` and `"1"`."""
    return str(value) if isinstance(value, int | float) else value


def _yaml(value: object) -> object:
    """Read a rule of ast-grep that is written as YAML text."""
    if not isinstance(value, str):
        return value
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error


Flag = Annotated[bool, Limits(strict=True)]
Text = Annotated[str, Limits(max_length=1_000_000)]
Word = Annotated[str, Limits(min_length=1, max_length=4000)]
Words = Annotated[tuple[Word, ...], Before(_listed)]
"""One string or a list of strings."""
SomeWords = Annotated[tuple[Word, ...], Before(_filled), Before(_listed)]
"""At least one."""
Identifier = Annotated[str, Limits(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]
Phases = Annotated[tuple[Annotated[int, Limits(strict=True, ge=0, le=9)], ...], Before(_listed)]
Count = Annotated[int, Limits(strict=True, ge=0, le=50)] | None
SyntaxRule = Annotated[Mapping[str, Any], Before(_yaml)]
"""A rule of ast-grep: a table, or the same as YAML text."""


def key_of(field_name: str) -> str:
    """Name a field as the file does: `import_` is `import`, and `rules` are each a `rule`."""
    return "rule" if field_name == "rules" else field_name.rstrip("_")


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A table of the file; a key that is not a field is a fault."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {
        "extra": "forbid",
        "alias_generator": key_of,
    }


@dataclass(frozen=True, kw_only=True)
class _Match(_Table):
    words: Words = ()
    """A file without any of these is not looked at; needed only where none can be derived."""
    when_imports: Words = ()
    """Only in files that import one of these modules (globs)."""
    unless: Text | None = None
    """No finding where this regular expression is found in the matched text."""
    fenced: Flag = False
    """Only in the fences of documents, whose code names no imports."""


@dataclass(frozen=True, kw_only=True)
class TextMatch(_Match):
    """A regular expression (RE2 syntax), line by line unless it says `(?s)`."""

    text: SomeWords
    ignore_case: Flag = False
    where: Annotated[tuple[TextPlace, ...], Before(_listed)] = ()
    """In scripts and Python: only in code, in strings, in comments; anywhere when empty."""


@dataclass(frozen=True, kw_only=True)
class ImportMatch(_Match):
    """Modules that are imported in any way; `*` stands for anything, also `/` and `.`."""

    import_: SomeWords
    names: Words = ()
    """Only where one of these names is imported, under whatever alias (globs)."""
    kinds: Annotated[tuple[ImportKind, ...], Before(_listed)] = ()


@dataclass(frozen=True, kw_only=True)
class CallMatch(_Match):
    """A call by its dotted name (globs), aliases resolved when `from` is given.

    With `from`, names are those that the module exports: `metadata.stream`, `Client` (also with
    `new`), and `Client().send` for a method of a variable that holds what a call returned.
    Without, they are as written: `queue.send`, `*.sendAndWait`.
    """

    call: SomeWords
    from_: Words = ()
    key: Words = ()
    """Only with these options: dotted paths in an object argument, or Python keywords (globs)."""
    missing: Words = ()
    """Only where an object argument is there, or none at all, and lacks all of these."""
    value: Text | None = None
    """Only where the option's value, as written, holds this regular expression."""
    min_params: Count = None
    """Only where the option's value is a function with at least as many parameters."""
    parts: Words = ()
    """Only where a function of one parameter takes something else than an object of these parts."""
    whole: Words = ()
    """What such a parameter is called where it is no object of `parts`."""
    unsure: Flag = False
    """Instead only where that is unclear."""
    min_args: Count = None
    max_args: Count = None
    within: Words = ()
    """Only inside the arguments of one of these calls (globs, as written), or inside a `loop`."""

    def __post_init__(self) -> None:
        if (self.value is not None or self.min_params is not None) and not self.key:
            raise ValueError("value and min_params speak of an option: name it with key")
        if (self.whole or self.unsure) and not self.parts:
            raise ValueError("whole and unsure speak of an object: name its parts")


@dataclass(frozen=True, kw_only=True)
class MemberMatch(_Match):
    """A dotted name that is read, called or not (globs): `ctx.attempt.id`, `*.runs`."""

    member: SomeWords
    from_: Words = ()
    within: Words = ()


@dataclass(frozen=True, kw_only=True)
class DecoratorMatch(_Match):
    """A decorator by its dotted name (globs); `from` as for calls."""

    decorator: SomeWords
    from_: Words = ()


@dataclass(frozen=True, kw_only=True)
class ConfigKeyMatch(_Match):
    """A dotted path of keys in JSON, YAML or TOML (globs; a list's items are `[]`)."""

    config_key: SomeWords
    value: Text | None = None


@dataclass(frozen=True, kw_only=True)
class ManifestMatch(_Match):
    """A dependency (globs) in a package manifest or a lock file."""

    manifest: SomeWords
    below: Annotated[str, Limits(pattern=r"^\d+(\.\d+){0,2}$")] | None = None
    """Only versions below this one, as written in the manifest."""
    mixed: Flag = False
    """Only where the matching dependencies of one manifest ask for different versions."""
    locks: Flag = True


@dataclass(frozen=True, kw_only=True)
class EnvMatch(_Match):
    """An environment variable (globs) set or read: env, Docker, CI and shell files, and code."""

    env: SomeWords


@dataclass(frozen=True, kw_only=True)
class ProseMatch(_Match):
    """A mention in prose: words or regular expressions, whole words, in any case.

    Banners, glossary entries, changelogs and historical sections are exempt, and so is what
    stands inside a web address unless `urls` is set.
    """

    prose: SomeWords
    urls: Flag = False
    glossary: Glossary = "exempt"
    """`marked`: an entry is exempt only if it says that the thing is deprecated."""
    only: Annotated[tuple[ProsePart, ...], Before(_listed)] = ()
    """Only in running text, in inline code, in fences of no known language."""
    marked: Text | None = None
    """A mention is exempt if this expression is found in its paragraph, item or row."""


@dataclass(frozen=True, kw_only=True)
class PathMatch(_Match):
    """A file by its own path (globs, `**` across folders); found at line 1."""

    path: SomeWords


@dataclass(frozen=True, kw_only=True)
class DemandMatch(_Match):
    """Expressions that a file must hold, in any case; one that lacks any is found at line 1.

    The rule's `files` say which files; what is historical need not hold anything.
    """

    demand: SomeWords
    place: DemandPlace = "anywhere"
    """`banner`: a document's first banner must hold them, and be there."""


@dataclass(frozen=True, kw_only=True)
class AstMatch(_Match):
    """An ast-grep rule: a table, or the same as YAML text."""

    ast: SyntaxRule
    constraints: SyntaxRule = field(default_factory=dict)
    capture: Text | None = None
    """The metavariable whose place is the finding's, without `$`."""


KINDS: Mapping[str, type[_Match]] = {
    "text": TextMatch,
    "import": ImportMatch,
    "call": CallMatch,
    "member": MemberMatch,
    "decorator": DecoratorMatch,
    "config_key": ConfigKeyMatch,
    "manifest": ManifestMatch,
    "env": EnvMatch,
    "prose": ProseMatch,
    "path": PathMatch,
    "demand": DemandMatch,
    "ast": AstMatch,
}
"""Matches by the key that tells their kind; a match holds one of them."""
BY_KIND = ByKey(KINDS)
Match = Annotated[
    TextMatch
    | ImportMatch
    | CallMatch
    | MemberMatch
    | DecoratorMatch
    | ConfigKeyMatch
    | ManifestMatch
    | EnvMatch
    | ProseMatch
    | PathMatch
    | DemandMatch
    | AstMatch,
    BY_KIND,
]


@dataclass(frozen=True, kw_only=True)
class Fix(_Table):
    """How a rule's findings are mended; `kind` names the fixer, the rest is its own."""

    kind: Annotated[str, Limits(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    safe: Flag = False
    to: Text | None = None
    """The replacement; `{name}` stands for what the match captured."""
    table: Mapping[str, str] = field(default_factory=dict)
    """Old text → new text, most specific first."""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Example(_Table):
    """A piece of text and the lines of it that the rule finds; it is the rule's test."""

    language: Language | None = None
    path: Text | None = None
    """Where the rule or the match looks at names: `package.json`, `docs/GLOSSARY.md`."""
    code: Annotated[str, Limits(max_length=100_000)]
    expect: tuple[Annotated[int, Limits(strict=True, ge=1)], ...] = ()
    """Line numbers from 1, each once; empty for a trap that must not be found."""
    fixed: Text | None = None
    """The text after the rule's own fix."""
    note: Text = ""

    def __post_init__(self) -> None:
        if self.language is None and self.path is None:
            raise ValueError("give language or path")


@dataclass(frozen=True, kw_only=True)
class Rule(_Table):
    """One kind of trace: what it looks like, why it matters, what to do."""

    id: Identifier
    why: Annotated[str, Limits(min_length=1, max_length=2000)]
    level: Level
    scope: Annotated[tuple[Scope, ...], Before(_filled), Before(_listed)]
    languages: Annotated[tuple[Language, ...], Before(_listed)] = ()
    files: Words = ()
    """Only files whose path fits one of these globs (as in .gitignore: `**/*.config.ts`)."""
    exclude: Words = ()
    phases: Phases = ()
    """Only where an audit names one of these phases of a migration."""
    except_phases: Phases = ()
    """Not where an audit names one of these."""
    link: Text = ""
    advice: Text = ""
    match: Annotated[tuple[Match, ...], Before(_filled), Before(_listed)]
    fix: Fix | None = None
    example: tuple[Example, ...] = ()

    def holds_in(self, phase: int | None) -> bool:
        """Say whether the rule holds in a phase of a migration; None where none is named."""
        return phase not in self.except_phases and (not self.phases or phase in self.phases)


@dataclass(frozen=True, kw_only=True)
class Prose(_Table):
    """Words that make a mention exempt, beside the built-in ones of four languages."""

    deprecated: Words = ()
    glossary: Words = ()
    changelog: Words = ()
    historical: Words = ()
    replace: Flag = False
    """Use only these words, not the built-in ones."""


@dataclass(frozen=True, kw_only=True)
class Ruleset(_Table):
    """A vendor's traces, or a change between a vendor's versions."""

    ruleset: Identifier
    version: Annotated[str, Before(_version)]
    title: Text
    successor: Text = ""
    """What comes after the vendor, as fixes and demands write it."""
    markers: SomeWords
    """The vendor's words; by them a banner about the vendor is recognised."""
    mentions: Words = ()
    """Words of which every mention is a finding, exempt for a reason, or unclassified."""
    prose: Prose = Prose()
    rules: Annotated[tuple[Rule, ...], Before(_filled)]
    """In the file: `[[rule]]`."""

    def __post_init__(self) -> None:
        identifiers: set[str] = set()
        for rule in self.rules:
            if rule.id in identifiers:
                raise ValueError(f"rule {rule.id!r} is there twice")
            identifiers.add(rule.id)

    def rule(self, identifier: str) -> Rule:
        """Find a rule by its id."""
        return next(rule for rule in self.rules if rule.id == identifier)
