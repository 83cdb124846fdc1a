"""A rule set: a TOML file that says what a vendor's traces look like.

The format is documented, with a sample, in `migration_docs/audit.md`.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from turnout.audit.model import Level, Scope
from turnout.errors import InvalidSettings

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


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


Word = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Words = Annotated[tuple[Word, ...], BeforeValidator(_listed)]
"""One string or a list of strings."""
Some = Annotated[Words, Field(min_length=1)]
"""At least one."""
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,79}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class _Match(_Part):
    words: Words = ()
    """A file without any of these is not looked at; needed only where none can be derived."""
    when_imports: Words = ()
    """Only in files that import one of these modules (globs)."""
    unless: str | None = None
    """No finding where this regular expression is found in the matched text."""


class TextMatch(_Match):
    """A regular expression (RE2 syntax), line by line unless it says `(?s)`."""

    text: Some
    ignore_case: bool = False
    where: Annotated[
        tuple[Literal["code", "string", "comment"], ...], BeforeValidator(_listed)
    ] = ()
    """In scripts and Python: only in code, in strings, in comments; anywhere when empty."""


class ImportMatch(_Match):
    """Modules that are imported in any way; `*` stands for anything, also `/` and `.`."""

    import_: Annotated[Some, Field(alias="import")]
    names: Words = ()
    """Only where one of these names is imported, under whatever alias (globs)."""
    kinds: Annotated[
        tuple[Literal["static", "dynamic", "require", "type", "reexport", "mock"], ...],
        BeforeValidator(_listed),
    ] = ()


class CallMatch(_Match):
    """A call by its dotted name (globs), aliases resolved when `from` is given.

    With `from`, names are those that the module exports: `metadata.stream`, `Client` (also with
    `new`), and `Client().send` for a method of a variable that holds what a call returned.
    Without, they are as written: `queue.send`, `*.sendAndWait`.
    """

    call: Some
    from_: Annotated[Words, Field(alias="from")] = ()
    key: Words = ()
    """Only with these options: dotted paths in an object argument, or Python keywords (globs)."""
    missing: Words = ()
    """Only where an object argument is there, or none at all, and lacks all of these."""
    value: str | None = None
    """Only where the option's value, as written, holds this regular expression."""
    min_params: int | None = Field(default=None, ge=0, le=20)
    """Only where the option's value is a function with at least as many parameters."""
    min_args: int | None = Field(default=None, ge=0, le=50)
    max_args: int | None = Field(default=None, ge=0, le=50)
    within: Words = ()
    """Only inside the arguments of one of these calls (globs, as written), or inside a `loop`."""

    @model_validator(mode="after")
    def _options_are_of_a_key(self) -> "CallMatch":
        if (self.value is not None or self.min_params is not None) and not self.key:
            raise ValueError("value and min_params speak of an option: name it with key")
        return self


class MemberMatch(_Match):
    """A dotted name that is read, called or not (globs): `ctx.attempt.id`, `*.runs`."""

    member: Some
    from_: Annotated[Words, Field(alias="from")] = ()
    within: Words = ()


class DecoratorMatch(_Match):
    """A decorator by its dotted name (globs); `from` as for calls."""

    decorator: Some
    from_: Annotated[Words, Field(alias="from")] = ()


class ConfigKeyMatch(_Match):
    """A dotted path of keys in JSON, YAML or TOML (globs; a list's items are `[]`)."""

    config_key: Some
    value: str | None = None


class ManifestMatch(_Match):
    """A dependency (globs) in a package manifest or a lock file."""

    manifest: Some
    below: str | None = Field(default=None, pattern=r"^\d+(\.\d+){0,2}$")
    """Only versions below this one, as written in the manifest."""
    mixed: bool = False
    """Only where the matching dependencies of one manifest ask for different versions."""
    locks: bool = True


class EnvMatch(_Match):
    """An environment variable (globs) set or read: env, Docker, CI and shell files, and code."""

    env: Some


class ProseMatch(_Match):
    """A mention in prose: words or regular expressions, whole words, in any case.

    Banners, glossary entries, changelogs and historical sections are exempt, and so is what
    stands inside a web address unless `urls` is set.
    """

    prose: Some
    urls: bool = False
    glossary: Literal["exempt", "marked"] = "exempt"
    """`marked`: an entry is exempt only if it says that the thing is deprecated."""
    only: Annotated[tuple[Literal["text", "inline", "fence"], ...], BeforeValidator(_listed)] = ()
    """Only in running text, in inline code, in fences of no known language."""


class PathMatch(_Match):
    """A file by its own path (globs, `**` across folders); found at line 1."""

    path: Some


class AstMatch(_Match):
    """An ast-grep rule: a table, or the same as YAML text."""

    ast: dict[str, Any]
    constraints: dict[str, Any] = Field(default_factory=dict)
    capture: str | None = None
    """The metavariable whose place is the finding's, without `$`."""

    @field_validator("ast", "constraints", mode="before")
    @classmethod
    def _yaml_is_welcome(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        import yaml

        try:
            return yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"not YAML: {error}") from error


_KINDS = (
    *("text", "import", "call", "member", "decorator", "config_key"),
    *("manifest", "env", "prose", "path", "ast"),
)


def _kind(value: object) -> str | None:
    if isinstance(value, Mapping):
        found = [kind for kind in _KINDS if kind in value]
        return found[0] if len(found) == 1 else None
    return next(
        (kind for kind in _KINDS if hasattr(value, kind.replace("import", "import_"))), None
    )


Match = Annotated[
    Annotated[TextMatch, Tag("text")]
    | Annotated[ImportMatch, Tag("import")]
    | Annotated[CallMatch, Tag("call")]
    | Annotated[MemberMatch, Tag("member")]
    | Annotated[DecoratorMatch, Tag("decorator")]
    | Annotated[ConfigKeyMatch, Tag("config_key")]
    | Annotated[ManifestMatch, Tag("manifest")]
    | Annotated[EnvMatch, Tag("env")]
    | Annotated[ProseMatch, Tag("prose")]
    | Annotated[PathMatch, Tag("path")]
    | Annotated[AstMatch, Tag("ast")],
    Discriminator(
        _kind,
        custom_error_type="match",
        custom_error_message="a match holds exactly one of " + ", ".join(_KINDS),
    ),
]


class Fix(_Part):
    """How a rule's findings are mended; `kind` names the fixer, the rest is its own."""

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    safe: bool = False
    to: str | None = None
    """The replacement; `{name}` stands for what the match captured."""
    table: dict[str, str] = Field(default_factory=dict)
    """What stands there → what shall stand there, most specific first."""
    options: dict[str, Any] = Field(default_factory=dict)


class Example(_Part):
    """A piece of text and the lines of it that the rule finds; it is the rule's test."""

    language: Language | None = None
    path: str | None = None
    """Where the rule or the match looks at names: `package.json`, `docs/GLOSSARY.md`."""
    code: Annotated[str, StringConstraints(max_length=100_000)]
    expect: tuple[int, ...] = ()
    """Line numbers from 1, each once; empty for a trap that must not be found."""
    fixed: str | None = None
    """The text after the rule's own fix."""
    note: str = ""

    @model_validator(mode="after")
    def _is_placed(self) -> "Example":
        if self.language is None and self.path is None:
            raise ValueError("give language or path")
        return self


class Rule(_Part):
    """One kind of trace: what it looks like, why it matters, what to do."""

    id: Identifier
    why: Annotated[str, StringConstraints(min_length=1, max_length=2000)]
    level: Level
    scope: Annotated[tuple[Scope, ...], BeforeValidator(_listed), Field(min_length=1)]
    languages: Annotated[tuple[Language, ...], BeforeValidator(_listed)] = ()
    files: Words = ()
    """Only files whose path fits one of these globs (as in .gitignore: `**/*.config.ts`)."""
    exclude: Words = ()
    link: str = ""
    advice: str = ""
    match: Annotated[tuple[Match, ...], Field(min_length=1)]
    fix: Fix | None = None
    example: tuple[Example, ...] = ()

    @field_validator("match", mode="before")
    @classmethod
    def _one_match_is_welcome(cls, value: object) -> object:
        return [value] if isinstance(value, Mapping) else value


class Prose(_Part):
    """Words that make a mention exempt, beside the built-in ones of four languages."""

    deprecated: Words = ()
    glossary: Words = ()
    changelog: Words = ()
    historical: Words = ()
    replace: bool = False
    """Use only these words, not the built-in ones."""


class Ruleset(_Part):
    """A vendor's traces, or a change between a vendor's versions."""

    ruleset: Identifier
    version: Annotated[str, BeforeValidator(str)]
    title: str
    markers: Some
    """The vendor's words; they tell a banner about the vendor from any other."""
    prose: Prose = Prose()
    rules: Annotated[
        tuple[Rule, ...], Field(min_length=1, validation_alias=AliasChoices("rule", "rules"))
    ]

    @field_validator("rules")
    @classmethod
    def _ids_are_unique(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        seen: set[str] = set()
        for rule in rules:
            if rule.id in seen:
                raise ValueError(f"rule {rule.id!r} is there twice")
            seen.add(rule.id)
        return rules

    def rule(self, identifier: str) -> Rule:
        """Find a rule by its id."""
        return next(rule for rule in self.rules if rule.id == identifier)


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
        return parse(path.read_text(encoding="utf-8"), source=str(path))
    except UnicodeDecodeError as error:
        raise InvalidSettings(f"{path}: not UTF-8: {error}") from error


def names() -> list[str]:
    """Name the rule sets that ship."""
    return sorted(path.stem for path in RULES.glob("*.toml"))


def parse(text: str, *, source: str) -> Ruleset:
    """Read a rule set from TOML text; `source` names it in errors."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidSettings(f"{source}: not TOML: {error}") from error
    try:
        found = Ruleset.model_validate(raw)
    except ValidationError as error:
        lines = [f"{source}: {_place(raw, e['loc'])}: {e['msg']}" for e in _causes(error)]
        raise InvalidSettings("\n".join(lines[:50])) from error
    from turnout.audit.words import check

    faults = check(found)
    if faults:
        raise InvalidSettings("\n".join(f"{source}: {fault}" for fault in faults[:50]))
    return found


def _causes(error: ValidationError) -> list[Any]:
    """Leave out "too short" of a list whose faulty items were dropped."""
    found = error.errors()
    places = [fault["loc"] for fault in found]
    return [
        fault
        for fault in found
        if fault["type"] != "too_short"
        or not any(
            len(p) > len(fault["loc"]) and p[: len(fault["loc"])] == fault["loc"] for p in places
        )
    ]


def _place(raw: Mapping[str, Any], loc: tuple[int | str, ...]) -> str:
    """Name the rule, not its number, then the field."""
    number = (*loc, "", "")[1]
    if loc[:1] not in (("rule",), ("rules",)) or not isinstance(number, int):
        return ".".join(map(str, loc)) or "file"
    try:
        name = raw["rule"][number]["id"]
    except (KeyError, IndexError, TypeError):
        name = f"number {number + 1}"
    field = ".".join(str(part) for part in loc[2:])
    return f"rule {name!r}: {field}" if field else f"rule {name!r}"
