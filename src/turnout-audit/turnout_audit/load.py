"""Loads rule sets: those that ship, by name, and a team's own, by path."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from turnout_audit.errors import InvalidInput
from turnout_audit.ruleset import Ruleset

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

    Raises InvalidSettings that names the file, the rule and the field of every fault.
    """
    is_path = name.endswith(".toml") or "/" in name
    path = Path(name) if is_path else RULES / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(names()) or "none"
        raise InvalidInput(
            f"no such rule file: {name}; rule sets that ship: {known}"
            if is_path
            else f"no rule set {name!r}; known: {known}; or give the path of a .toml file"
        )
    if path.stat().st_size > MAX_FILE:
        raise InvalidInput(f"{path}: larger than {MAX_FILE} bytes")
    try:
        text = path.read_text(encoding="utf-8")
        return parse(text, source=str(path), examined=path.parent != RULES)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8: {error}") from error


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
        raise InvalidInput(f"{source}: not TOML: {error}") from error
    try:
        ruleset = _reader().validate_python(raw)
        faults = _examined(ruleset) if examined else []
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        faults = [f"{_place(raw, detail['loc'])}: {_reason(detail)}" for detail in details]
    if faults:
        raise InvalidInput("\n".join(f"{source}: {fault}" for fault in faults[:MAX_FAULTS]))
    return ruleset


def _examined(ruleset: Ruleset) -> list[str]:
    from turnout_audit.examine import faults  # rule sets that ship start without the fixers

    return faults(ruleset)


@cache
def _reader() -> TypeAdapter[Ruleset]:
    return TypeAdapter(Ruleset)


def _reason(detail: ErrorDetails) -> str:
    message = REASONS.get(detail["type"], detail["msg"])
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
    parts = [str(part) for part in loc[2:]]
    if parts[:1] == ["match"]:
        del parts[2:3]  # the kind, by which pydantic tells the classes of matches apart
    field = ".".join(parts)
    return f"rule {name!r}: {field}" if field else f"rule {name!r}"
