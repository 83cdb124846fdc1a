"""Reads what runs left in object storage; whatever is wrong is refused, with its place."""

from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError

from turnout.errors import ArtifactInvalid, InvalidJson, TooLarge
from turnout.model.canonical import MAX_BYTES, parse, pointer_of, sha256_of
from turnout.model.documents import ManifestDocument, StatusDocument, StepDocument, ValueRef
from turnout.model.keys import value_path

_Document = TypeVar("_Document", StatusDocument, ManifestDocument, StepDocument)


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
