"""Loads rule sets: those that ship, by name, and a team's own, by path.

A team's own is validated by pydantic. One that ships is read as it stands, since the tests validate
it: an audit that needs no pydantic starts in half the time.
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from turnout_audit.errors import InvalidInput
from turnout_audit.fields import Before, ByKey
from turnout_audit.ruleset import Ruleset, key_of

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

MAX_FILE = 4_000_000
"""Bytes of a rule file."""
MAX_FAULTS = 50
"""Faults that one error names."""
REASONS = {
    "missing_keyword_only_argument": "is missing",
    "unexpected_keyword_argument": "is not known here",
}
"""What we say where pydantic speaks of a Python call, by its type of error."""
RULES = Path(__file__).parent / "rules"


def load(name: str) -> Ruleset:
    """Load a rule set by its name, or by the path of a team's own file.

    Raises InvalidInput that names the file, the rule and the field of every fault.
    """
    is_path = name.endswith(".toml") or "/" in name
    path = Path(name) if is_path else RULES / f"{name}.toml"
    if not path.is_file():
        rule_sets = ", ".join(names()) or "none"
        raise InvalidInput(
            f"no such rule file: {name}; rule sets that ship: {rule_sets}"
            if is_path
            else f"no rule set {name!r}; known: {rule_sets}; or give the path of a .toml file"
        )
    if path.stat().st_size > MAX_FILE:
        raise InvalidInput(f"{path}: larger than {MAX_FILE} bytes")
    try:
        text = path.read_text(encoding="utf-8")
        if path.parent in (RULES, RULES.parent):
            ruleset: Ruleset = _as_it_stands(Ruleset)(tomllib.loads(text))
            return ruleset
        return parse(text, source=str(path))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8: {error}") from error


def names() -> list[str]:
    """Name the rule sets that ship."""
    return sorted(path.stem for path in RULES.glob("*.toml"))


def parse(text: str, *, source: str) -> Ruleset:
    """Read a rule set from TOML text; `source` names it in errors."""
    from pydantic import ValidationError

    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{source}: not TOML: {error}") from error
    try:
        ruleset = _reader().validate_python(raw)
        faults = _examined(ruleset)
    except ValidationError as error:
        details = error.errors(include_url=False)
        faults = [f"{_place(raw, detail['loc'])}: {_reason(detail)}" for detail in details]
    if faults:
        raise InvalidInput("\n".join(f"{source}: {fault}" for fault in faults[:MAX_FAULTS]))
    return ruleset


def _as_it_stands(annotation: Any) -> Callable[[Any], Any]:
    """Make a reader of a field's value, or of a table, that believes what is written."""
    if get_origin(annotation) is Annotated:
        base, *markers = get_args(annotation)
        by_key = next((marker for marker in markers if isinstance(marker, ByKey)), None)
        if by_key is not None:
            return lambda raw: _as_it_stands(by_key.classes[str(by_key.key(raw))])(raw)
        read = _as_it_stands(base)
        for function in [marker.function for marker in markers if isinstance(marker, Before)]:
            read = _behind(function, read)
        return read
    if get_origin(annotation) is tuple:
        item = _as_it_stands(get_args(annotation)[0])
        return tuple if item is _unchanged else lambda raw: tuple(map(item, raw))
    if get_origin(annotation) is UnionType:
        return _as_it_stands(get_args(annotation)[0])
    return _table(annotation) if is_dataclass(annotation) else _unchanged


def _behind(
    function: Callable[[object], object], read: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    return lambda raw: read(function(raw))


def _unchanged(raw: Any) -> Any:
    return raw


def _table(table_class: Any) -> Callable[[Any], Any]:
    """Make a reader of a table of a class."""
    readers = {
        key_of(item.name): (item.name, _as_it_stands(item.type)) for item in fields(table_class)
    }

    def read(raw: Mapping[str, Any]) -> Any:
        named = ((readers[key], value) for key, value in raw.items())
        return table_class(**{name: reader(value) for (name, reader), value in named})

    return read


def _examined(ruleset: Ruleset) -> list[str]:
    from turnout_audit.examine import faults  # rule sets that ship start without the fixers

    return faults(ruleset)


@cache
def _reader() -> "TypeAdapter[Ruleset]":
    from pydantic import TypeAdapter

    return TypeAdapter(Ruleset)


def _reason(detail: "ErrorDetails") -> str:
    message = REASONS.get(detail["type"], detail["msg"])
    if detail["type"] == "match_kind" and isinstance(detail["input"], Mapping):
        message += f"; this one holds {', '.join(map(str, detail['input'])) or 'nothing'}"
    return message.removeprefix("Value error, ").removeprefix("Input ")


def _place(raw: Mapping[str, Any], loc: tuple[int | str, ...]) -> str:
    """Name the rule, not its number, then the field."""
    number = (*loc, "", "")[1]
    if loc[:1] != ("rule",) or not isinstance(number, int):
        return ".".join(map(str, loc)) or "file"
    try:
        name = raw["rule"][number]["id"]
    except (KeyError, IndexError, TypeError):
        name = f"number {number + 1}"
    parts = list(loc[2:])
    if parts[:1] == ["match"]:
        del parts[2:3]  # the kind, by which pydantic tells the classes of matches apart
    within = [f"rule {name!r}"]
    match parts:
        case ["match" | "example" as table, int(index), *parts]:
            within.append(f"{table} {index + 1}")
    return ": ".join([*within, *([field] if (field := _field(parts)) else [])])


def _field(parts: Sequence[int | str]) -> str:
    """Name a field, and which of its items, from 1 as everywhere in a report."""
    names = ".".join(part for part in parts if isinstance(part, str))
    items = [f"item {part + 1}" for part in parts if isinstance(part, int)]
    return " ".join([*([names] if names else []), *items])
