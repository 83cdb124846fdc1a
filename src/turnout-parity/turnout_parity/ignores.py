"""Declared ignores: where a difference is expected, why, who says so, and until when."""

import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from turnout.errors import InvalidSettings
from turnout_parity.declarations import read_declarations
from turnout_parity.report import INTOLERABLE, Difference, Kind


class Ignore(BaseModel):
    """One declared ignore.

    `path` is a JSON Pointer glob (`*` one name, `**` any number), for one kind of document where
    a document glob stands before `#`: `steps/*.json#/output/generated_at`. The day `expires` is
    the last on which it counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(min_length=2, max_length=500)
    reason: str = Field(min_length=3, max_length=1000)
    owner: str = Field(min_length=1, max_length=200)
    expires: date
    task: str | None = None
    kinds: tuple[Kind, ...] | None = None

    @field_validator("path")
    @classmethod
    def _names_a_place(cls, path: str) -> str:
        document, pointer = _split(path)
        if not pointer.startswith("/"):
            raise ValueError("a JSON Pointer starts with '/', after 'document#' where one is named")
        if not pointer.strip("/*") and document in {"**", "*"}:
            raise ValueError("would ignore everything; name a place")
        return path

    @field_validator("kinds")
    @classmethod
    def _may_be_ignored(cls, kinds: tuple[Kind, ...] | None) -> tuple[Kind, ...] | None:
        if kinds is not None and (never := set(INTOLERABLE).intersection(kinds)):
            raise ValueError(f"never ignored: {', '.join(sorted(never))}")
        return kinds

    def expired(self, today: date) -> bool:
        """Whether the last day is over."""
        return today > self.expires

    def covers(self, difference: Difference) -> bool:
        """Whether this difference was declared."""
        if difference.kind in INTOLERABLE or (self.kinds and difference.kind not in self.kinds):
            return False
        if self.task is not None and self.task != difference.task:
            return False
        document, pointer = _patterns(self.path)
        return bool(document.fullmatch(difference.artifact)) and bool(
            pointer.fullmatch(difference.pointer)
        )


def covering(ignores: Sequence[Ignore], difference: Difference) -> Ignore | None:
    """Find the first ignore that covers a difference."""
    return next((ignore for ignore in ignores if ignore.covers(difference)), None)


def read_ignores(path: Path) -> tuple[Ignore, ...]:
    """Read declared ignores from TOML (`[[ignore]]`) or JSON (`{"ignore": […]}` or a list).

    Raises `InvalidSettings` that names every faulty entry and field at once.
    """
    document = read_declarations(path, what="ignores")
    entries = document.get("ignore") if isinstance(document, dict) else document
    if isinstance(document, dict) and (unknown := document.keys() - {"ignore"}):
        raise InvalidSettings(f"{path}: unknown keys {sorted(unknown)}; expected [[ignore]]")
    try:
        return tuple(TypeAdapter(list[Ignore]).validate_python(entries or []))
    except ValidationError as error:
        faults = (f"ignore {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidSettings(f"{path}: " + "; ".join(faults)) from error


def _split(path: str) -> tuple[str, str]:
    document, hash_, pointer = path.partition("#")
    return (document, pointer) if hash_ else ("**", path)


@lru_cache(maxsize=256)
def _patterns(path: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    document, pointer = _split(path)
    return glob(document), glob(pointer)


def glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob over segments: `*` within one, `**` over any number."""
    parts = re.split(r"(\*\*/?|\*)", pattern)
    words = {"**": ".*", "**/": "(?:.*/)?", "*": "[^/]*"}
    return re.compile("".join(words.get(part, re.escape(part)) for part in parts), re.DOTALL)
