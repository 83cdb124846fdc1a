"""What a run leaves in object storage: writing it, reading it back, and its parity form.

The documents are in `documents`, their keys in `keys`.

The parity form is the canonical form without the fields that the schema declares volatile or
measured: equal parity digests mean that every exactly compared field is equal. Clock times are
volatile, and their differences (`timings`, `duration_ms`) are measured, so a digest never depends
on a clock; the checker reads durations from `status.json` whatever the digests say.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from turnout.errors import ArtifactInvalid, InvalidJson, TooLarge
from turnout.model.canonical import MAX_BYTES, canonical_bytes, parse, pointer_of, sha256_of
from turnout.model.documents import (
    AnyDocument,
    Comparison,
    DocumentEntry,
    ManifestDocument,
    Source,
    StatusDocument,
    StepDocument,
    ValueRef,
)
from turnout.model.keys import value_path

INLINE_BYTES: Final = 64 * 1024
"""A value whose canonical JSON is larger is kept beside the document, by its digest."""

_Document = TypeVar("_Document", StatusDocument, ManifestDocument, StepDocument)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedValue:
    """Where a value goes: into the document, or beside it under `ref.path`."""

    inline: Any
    ref: ValueRef | None
    sha256: str
    body: bytes | None
    """What to write under `ref.path`; None where the value is inline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRule:
    """Where a field's value comes from, and how parity compares it."""

    source: Source
    comparison: Comparison


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


def field_rules(model: type[BaseModel]) -> dict[str, FieldRule]:
    """List every leaf of a document with its rule; `*` stands for any index of a list.

    `field_rules(StatusDocument)["/transitions/*/at"].comparison` is `Comparison.VOLATILE`.
    """
    return dict(_rules(model))


def read_status(
    raw: bytes, *, run_id: str | None = None, max_bytes: int = MAX_BYTES
) -> StatusDocument:
    """Read `status.json`; `ArtifactInvalid` names the place of what is wrong.

    With `run_id`, a document of another run is refused too.
    """
    return _read(StatusDocument, "status.json", raw, run_id, max_bytes)


def read_manifest(
    raw: bytes, *, run_id: str | None = None, max_bytes: int = MAX_BYTES
) -> ManifestDocument:
    """Read `manifest.json`; as `read_status`."""
    return _read(ManifestDocument, "manifest.json", raw, run_id, max_bytes)


def read_step(raw: bytes, *, run_id: str | None = None, max_bytes: int = MAX_BYTES) -> StepDocument:
    """Read a step's document; as `read_status`."""
    return _read(StepDocument, "step", raw, run_id, max_bytes)


def read_value(raw: bytes, ref: ValueRef, *, max_bytes: int = MAX_BYTES) -> Any:
    """Read a value that is kept beside its document, after checking its size and its digest."""
    if len(raw) != ref.size or value_path(sha256_of(raw)) != ref.path:
        raise ArtifactInvalid(f"{ref.path}: its bytes are not those of its name")
    return _parsed(ref.path, raw, max_bytes)


def _read(
    model: type[_Document], name: str, raw: bytes, run_id: str | None, max_bytes: int
) -> _Document:
    _check_schema(name, _parsed(name, raw, max_bytes), _schema_of(model))
    try:
        document = model.model_validate_json(raw)
    except ValidationError as error:
        raise _invalid(name, error) from None
    if run_id is not None and document.run_id != run_id:
        raise ArtifactInvalid(f"{name} at /run_id: is of another run", pointer="/run_id")
    return document


def _parsed(name: str, raw: bytes, max_bytes: int) -> Any:
    try:
        return parse(raw, max_bytes=max_bytes)
    except InvalidJson as error:
        raise ArtifactInvalid(f"{name}: {error}", pointer=error.pointer) from None
    except TooLarge as error:
        raise ArtifactInvalid(f"{name}: {error}") from None


def _check_schema(name: str, value: Any, expected: str) -> None:
    if not isinstance(value, dict):
        raise ArtifactInvalid(f"{name}: is a JSON {_json_type(value)}, not an object")
    schema = value.get("schema")
    if schema == expected:
        return
    same_kind = isinstance(schema, str) and schema.partition("@")[0] == expected.partition("@")[0]
    hint = "; another version of Turnout wrote it" if same_kind else ""
    actual = f"{schema!r:.60}" if "schema" in value else "missing"
    raise ArtifactInvalid(f"{name} at /schema: {actual}, not {expected!r}{hint}", pointer="/schema")


@cache
def _schema_of(model: type[_Document]) -> str:
    return str(model.model_fields["schema_id"].default)


def _invalid(name: str, error: ValidationError) -> ArtifactInvalid:
    """Name the first fault and count the others; what the document holds is never repeated."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    pointer, text = pointer_of(first["loc"])[:300], first["msg"]
    if not pointer and text.startswith("/"):  # a rule over several fields names its place itself
        pointer, _, text = text.partition(": ")
    count = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    place = f" at {pointer}" if pointer else ""
    return ArtifactInvalid(f"{name}{place}: {text}{count}", pointer=pointer)


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {list: "array", str: "string", int: "number", float: "number"}
    return names.get(type(value), "null")


@cache
def _rules(model: type[BaseModel]) -> tuple[tuple[str, FieldRule], ...]:
    rules: list[tuple[str, FieldRule]] = []
    for name, field in model.model_fields.items():
        pointer = f"/{field.alias or name}"
        inner, repeated = _inner(field)
        if inner is None:
            rules.append((pointer, _rule(field)))
        else:
            below = f"{pointer}/*" if repeated else pointer
            rules.extend((below + deeper, rule) for deeper, rule in _rules(inner))
    return tuple(rules)


@cache
def _excluded(model: type[BaseModel]) -> dict[str, Any]:
    """What pydantic must leave out to give the parity form."""
    excluded: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner, repeated = _inner(field)
        if _rule(field).comparison is not Comparison.EXACT:
            excluded[name] = True
        elif inner is not None and (deeper := _excluded(inner)):
            excluded[name] = {"__all__": deeper} if repeated else deeper
    return excluded


def _rule(field: FieldInfo) -> FieldRule:
    extra = field.json_schema_extra
    if not isinstance(extra, dict):
        raise TypeError(f"a field of a document has no rule: {field!r}")
    return FieldRule(
        source=Source(str(extra["x-source"])), comparison=Comparison(str(extra["x-comparison"]))
    )


def _inner(field: FieldInfo) -> tuple[type[BaseModel] | None, bool]:
    """The document that a field holds, if it does, and whether it holds many."""
    repeated = getattr(field.annotation, "__origin__", None) is tuple
    for candidate in (field.annotation, *get_args(field.annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate, repeated
    return None, False
