"""What a run leaves in object storage: writing it, and its parity form.

The documents are in `documents`, their keys in `keys`.

The parity form is the canonical form without the fields that the schema declares volatile or
measured: equal parity digests mean that every exactly compared field is equal. Clock times are
volatile, and their differences (`timings`, `duration_ms`) are measured, so a digest never depends
on a clock; the checker reads durations from `status.json` whatever the digests say.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from turnout.model.canonical import canonical_bytes, sha256_of
from turnout.model.documents import AnyDocument, Comparison, DocumentEntry, ValueRef
from turnout.model.keys import value_path

INLINE_BYTES: Final = 64 * 1024
"""A value whose canonical JSON is larger is kept beside the document, by its digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedValue:
    """Where a value goes: into the document, or beside it under `ref.path`."""

    inline: Any
    ref: ValueRef | None
    sha256: str
    body: bytes | None
    """What to write under `ref.path`; None where the value is inline."""


def place_value(value: Any, *, inline_bytes: int = INLINE_BYTES) -> PlacedValue:
    """Decide whether a value is written into its document or beside it."""
    body = canonical_bytes(value)
    digest = sha256_of(body)
    if len(body) <= inline_bytes:
        return PlacedValue(inline=value, ref=None, sha256=digest, body=None)
    ref = ValueRef(path=value_path(digest), size=len(body))
    return PlacedValue(inline=None, ref=ref, sha256=digest, body=body)


def document_bytes(document: AnyDocument) -> bytes:
    """Write a document as canonical JSON."""
    return canonical_bytes(document.model_dump(mode="json", by_alias=True))


def document_entry(path: str, document: AnyDocument) -> DocumentEntry:
    """Describe a document for the manifest."""
    body = document_bytes(document)
    return DocumentEntry(
        path=path,
        size=len(body),
        sha256=sha256_of(body),
        parity_sha256=parity_sha256(document),
    )


def value_entry(placed: PlacedValue) -> DocumentEntry:
    """Describe a value that is kept beside its document for the manifest."""
    if placed.ref is None:
        raise ValueError("the value is inline; it has no entry of its own")
    return DocumentEntry(
        path=placed.ref.path,
        size=placed.ref.size,
        sha256=placed.sha256,
        parity_sha256=placed.sha256,
    )


def parity_form(document: AnyDocument) -> dict[str, Any]:
    """Reduce a document to the fields that are compared exactly."""
    form: dict[str, Any] = document.model_dump(
        mode="json", by_alias=True, exclude=_excluded(type(document))
    )
    return form


def parity_sha256(document: AnyDocument) -> str:
    """Digest the parity form: equal digests, equal in all that is compared exactly."""
    return sha256_of(canonical_bytes(parity_form(document)))


@cache
def _excluded(model: type[BaseModel]) -> dict[str, Any]:
    """What pydantic must leave out to give the parity form."""
    excluded: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner, repeated = _inner(field)
        if _comparison(field) is not Comparison.EXACT:
            excluded[name] = True
        elif inner is not None and (deeper := _excluded(inner)):
            excluded[name] = {"__all__": deeper} if repeated else deeper
    return excluded


def _comparison(field: FieldInfo) -> Comparison:
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError(f"a field of a document has no rule: {field!r}")
    return Comparison(str(extra["x-comparison"]))


def _inner(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The document that a field holds, if it does, and whether it holds many."""
    repeated = getattr(field.annotation, "__origin__", None) is tuple
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate, repeated
    return None, False
