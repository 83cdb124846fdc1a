"""A rule set: a TOML file that says what a vendor's traces look like.

The format is documented, with a sample, in `migration_docs/audit.md`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from turnout_audit import reading
from turnout_audit.errors import InvalidSettings
from turnout_audit.model import Level, Scope

MAX_FILE = 4_000_000
RULES = Path(__file__).parent / "rules"

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
Where = Literal["code", "string", "comment"]
ImportKind = Literal["static", "dynamic", "require", "type", "reexport", "mock"]
Glossary = Literal["exempt", "marked"]
ProsePart = Literal["text", "inline", "fence"]

_text, _flag = reading.text(), reading.flag
_languages = reading.choice(get_args(Language))
Words = Annotated[tuple[str, ...], reading.words()]
"""One string or a list of strings."""
Some = Annotated[tuple[str, ...], reading.words(least=1)]
"""At least one."""
Identifier = Annotated[str, reading.text(like=r"[a-z0-9][a-z0-9._-]{0,79}")]
Text = Annotated[str, _text]
MaybeText = Annotated[str | None, _text]
Flag = Annotated[bool, _flag]
Count = Annotated[int | None, reading.whole(most=50)]


def _syntax(value: object, place: reading.Place, tell: reading.Told) -> object:
    """Read a rule of ast-grep: a table, or YAML."""
    if isinstance(value, str):
        import yaml

        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError as error:
            return tell(place, f"not YAML: {error}")
    return reading.anything(value, place, tell)


@dataclass(frozen=True, kw_only=True)
class _Match:
    words: Words = ()
    """A file without any of these is not looked at; needed only where none can be derived."""
    when_imports: Words = ()
    """Only in files that import one of these modules (globs)."""
    unless: MaybeText = None
    """No finding where this regular expression is found in the matched text."""


@dataclass(frozen=True, kw_only=True)
class TextMatch(_Match):
    """A regular expression (RE2 syntax), line by line unless it says `(?s)`."""

    text: Some
    ignore_case: Flag = False
    where: Annotated[tuple[Where, ...], reading.some(reading.choice(get_args(Where)))] = ()
    """In scripts and Python: only in code, in strings, in comments; anywhere when empty."""


@dataclass(frozen=True, kw_only=True)
class ImportMatch(_Match):
    """Modules that are imported in any way; `*` stands for anything, also `/` and `.`."""

    import_: Some
    names: Words = ()
    """Only where one of these names is imported, under whatever alias (globs)."""
    kinds: Annotated[
        tuple[ImportKind, ...], reading.some(reading.choice(get_args(ImportKind)))
    ] = ()


@dataclass(frozen=True, kw_only=True)
class CallMatch(_Match):
    """A call by its dotted name (globs), aliases resolved when `from` is given.

    With `from`, names are those that the module exports: `metadata.stream`, `Client` (also with
    `new`), and `Client().send` for a method of a variable that holds what a call returned.
    Without, they are as written: `queue.send`, `*.sendAndWait`.
    """

    call: Some
    from_: Words = ()
    key: Words = ()
    """Only with these options: dotted paths in an object argument, or Python keywords (globs)."""
    missing: Words = ()
    """Only where an object argument is there, or none at all, and lacks all of these."""
    value: MaybeText = None
    """Only where the option's value, as written, holds this regular expression."""
    min_params: Count = None
    """Only where the option's value is a function with at least as many parameters."""
    parts: Words = ()
    """Only where a function of one parameter takes something else than an object of these parts."""
    whole: Words = ()
    """What such a parameter is called where it is no object of `parts`."""
    unsure: Flag = False
    """Instead only where that cannot be told."""
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

    member: Some
    from_: Words = ()
    within: Words = ()


@dataclass(frozen=True, kw_only=True)
class DecoratorMatch(_Match):
    """A decorator by its dotted name (globs); `from` as for calls."""

    decorator: Some
    from_: Words = ()


@dataclass(frozen=True, kw_only=True)
class ConfigKeyMatch(_Match):
    """A dotted path of keys in JSON, YAML or TOML (globs; a list's items are `[]`)."""

    config_key: Some
    value: MaybeText = None


@dataclass(frozen=True, kw_only=True)
class ManifestMatch(_Match):
    """A dependency (globs) in a package manifest or a lock file."""

    manifest: Some
    below: Annotated[str | None, reading.text(like=r"\d+(\.\d+){0,2}")] = None
    """Only versions below this one, as written in the manifest."""
    mixed: Flag = False
    """Only where the matching dependencies of one manifest ask for different versions."""
    locks: Flag = True


@dataclass(frozen=True, kw_only=True)
class EnvMatch(_Match):
    """An environment variable (globs) set or read: env, Docker, CI and shell files, and code."""

    env: Some


@dataclass(frozen=True, kw_only=True)
class ProseMatch(_Match):
    """A mention in prose: words or regular expressions, whole words, in any case.

    Banners, glossary entries, changelogs and historical sections are exempt, and so is what
    stands inside a web address unless `urls` is set.
    """

    prose: Some
    urls: Flag = False
    glossary: Annotated[Glossary, reading.choice(get_args(Glossary))] = "exempt"
    """`marked`: an entry is exempt only if it says that the thing is deprecated."""
    only: Annotated[tuple[ProsePart, ...], reading.some(reading.choice(get_args(ProsePart)))] = ()
    """Only in running text, in inline code, in fences of no known language."""


@dataclass(frozen=True, kw_only=True)
class PathMatch(_Match):
    """A file by its own path (globs, `**` across folders); found at line 1."""

    path: Some


@dataclass(frozen=True, kw_only=True)
class AstMatch(_Match):
    """An ast-grep rule: a table, or the same as YAML text."""

    ast: Annotated[Mapping[str, Any], _syntax]
    constraints: Annotated[Mapping[str, Any], _syntax] = field(default_factory=dict)
    capture: MaybeText = None
    """The metavariable whose place is the finding's, without `$`."""


Match = (
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
    | AstMatch
)
_KINDS: dict[str, reading.Reader] = {
    "text": reading.table(TextMatch),
    "import": reading.table(ImportMatch),
    "call": reading.table(CallMatch),
    "member": reading.table(MemberMatch),
    "decorator": reading.table(DecoratorMatch),
    "config_key": reading.table(ConfigKeyMatch),
    "manifest": reading.table(ManifestMatch),
    "env": reading.table(EnvMatch),
    "prose": reading.table(ProseMatch),
    "path": reading.table(PathMatch),
    "ast": reading.table(AstMatch),
}


def _match(value: object, place: reading.Place, tell: reading.Told) -> object:
    """Read a match: its kind is the one key that names a kind."""
    found = [kind for kind in _KINDS if kind in value] if isinstance(value, Mapping) else []
    if len(found) != 1:
        return tell(place, f"a match holds exactly one of {', '.join(_KINDS)}")
    return _KINDS[found[0]](value, place, tell)


@dataclass(frozen=True, kw_only=True)
class Fix:
    """How a rule's findings are mended; `kind` names the fixer, the rest is its own."""

    kind: Annotated[str, reading.text(like=r"[a-z][a-z0-9-]{0,39}")]
    safe: Flag = False
    to: MaybeText = None
    """The replacement; `{name}` stands for what the match captured."""
    table: Annotated[Mapping[str, str], reading.texts] = field(default_factory=dict)
    """What stands there → what shall stand there, most specific first."""
    options: Annotated[Mapping[str, Any], reading.anything] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A piece of text and the lines of it that the rule finds; it is the rule's test."""

    language: Annotated[Language | None, _languages] = None
    path: MaybeText = None
    """Where the rule or the match looks at names: `package.json`, `docs/GLOSSARY.md`."""
    code: Annotated[str, reading.text(most=100_000)]
    expect: Annotated[tuple[int, ...], reading.many(reading.whole(least=1))] = ()
    """Line numbers from 1, each once; empty for a trap that must not be found."""
    fixed: MaybeText = None
    """The text after the rule's own fix."""
    note: Text = ""

    def __post_init__(self) -> None:
        if self.language is None and self.path is None:
            raise ValueError("give language or path")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One kind of trace: what it looks like, why it matters, what to do."""

    id: Identifier
    why: Annotated[str, reading.text(least=1, most=2000)]
    level: Annotated[Level, reading.choice(get_args(Level))]
    scope: Annotated[tuple[Scope, ...], reading.some(reading.choice(get_args(Scope)), least=1)]
    languages: Annotated[tuple[Language, ...], reading.some(_languages)] = ()
    files: Words = ()
    """Only files whose path fits one of these globs (as in .gitignore: `**/*.config.ts`)."""
    exclude: Words = ()
    link: Text = ""
    advice: Text = ""
    match: Annotated[tuple[Match, ...], reading.some(_match, least=1)]
    fix: Annotated[Fix | None, reading.table(Fix)] = None
    example: Annotated[tuple[Example, ...], reading.many(reading.table(Example))] = ()


@dataclass(frozen=True, kw_only=True)
class Prose:
    """Words that make a mention exempt, beside the built-in ones of four languages."""

    deprecated: Words = ()
    glossary: Words = ()
    changelog: Words = ()
    historical: Words = ()
    replace: Flag = False
    """Use only these words, not the built-in ones."""


@dataclass(frozen=True, kw_only=True)
class Ruleset:
    """A vendor's traces, or a change between a vendor's versions."""

    ruleset: Identifier
    version: Annotated[str, reading.version]
    title: Text
    markers: Some
    """The vendor's words; they tell a banner about the vendor from any other."""
    prose: Annotated[Prose, reading.table(Prose)] = Prose()
    rules: Annotated[tuple[Rule, ...], reading.many(reading.table(Rule), least=1)]
    """In the file: `[[rule]]`."""

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for rule in self.rules:
            if rule.id in seen:
                raise ValueError(f"rule {rule.id!r} is there twice")
            seen.add(rule.id)

    def rule(self, identifier: str) -> Rule:
        """Find a rule by its id."""
        return next(rule for rule in self.rules if rule.id == identifier)


_ruleset = reading.table(Ruleset, renamed={"rules": "rule"})


def load(name: str) -> Ruleset:
    """Load a rule set by its name, or by the path of a team's own file.

    Raises InvalidSettings that names the file, the rule and the field of every fault.
    """
    path = Path(name) if name.endswith(".toml") or "/" in name else RULES / f"{name}.toml"
    if not path.is_file():
        raise InvalidSettings(
            f"no rule set {name!r}; known: {', '.join(names()) or 'none'}; "
            "or give the path of a .toml file"
        )
    if path.stat().st_size > MAX_FILE:
        raise InvalidSettings(f"{path}: larger than {MAX_FILE} bytes")
    try:
        text = path.read_text(encoding="utf-8")
        return parse(text, source=str(path), examined=path.parent != RULES)
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"{path}: not UTF-8: {error}") from error


def names() -> list[str]:
    """Name the rule sets that ship."""
    return sorted(path.stem for path in RULES.glob("*.toml"))


def parse(text: str, *, source: str, examined: bool = True) -> Ruleset:
    """Read a rule set from TOML text; `source` names it in errors.

    With `examined=False` its expressions, words and fixers are believed: the tests examine those
    of every rule set that ships.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(f"{source}: not TOML: {error}") from error
    faults: list[str] = []
    found = _ruleset(raw, (), lambda place, fault: faults.append(f"{_place(raw, place)}: {fault}"))
    if not faults and examined:
        from turnout_audit.words import check

        faults = check(found)
    if faults:
        raise InvalidSettings("\n".join(f"{source}: {fault}" for fault in faults[:50]))
    return found


def _place(raw: Mapping[str, Any], loc: tuple[int | str, ...]) -> str:
    """Name the rule, not its number, then the field."""
    number = (*loc, "", "")[1]
    if loc[:1] != ("rule",) or not isinstance(number, int):
        return ".".join(map(str, loc)) or "file"
    try:
        name = raw["rule"][number]["id"]
    except (KeyError, IndexError, TypeError):
        name = f"number {number + 1}"
    field = ".".join(str(part) for part in loc[2:])
    return f"rule {name!r}: {field}" if field else f"rule {name!r}"
