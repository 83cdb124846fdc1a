"""The documents' JSON Schemas, made from the models and kept in `schemas/`."""

import json
from typing import Any, Final

from pydantic import BaseModel

from turnout.model.documents import ManifestDocument, StatusDocument, StepDocument

PUBLISHED: Final[dict[str, type[BaseModel]]] = {
    "status-1.json": StatusDocument,
    "manifest-1.json": ManifestDocument,
    "step-1.json": StepDocument,
}
"""File names and the models that they are made from."""

_CANONICAL: Final = (
    "Digests are SHA-256 in lower-case hex. Canonical JSON is UTF-8, names sorted by code point,"
    " no blanks, nothing escaped that need not be, 1.0 with its point; in Python:"
    " json.dumps(value, sort_keys=True, separators=(',', ':'), ensure_ascii=False)."
    " A parity digest is that of the document without the fields whose x-comparison is not exact."
)
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema_text(name: str) -> str:
    """Make one schema from its model, as its file should read."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def schema(name: str) -> dict[str, Any]:
    """Make one schema: every field is required, because every field is written."""
    made = PUBLISHED[name].model_json_schema(by_alias=True, mode="serialization")
    title = str(made["properties"]["schema"]["const"])
    head = {"$schema": _DIALECT, "$id": f"urn:{title.replace('/', ':')}", "$comment": _CANONICAL}
    return {**head, **made, "title": title}
