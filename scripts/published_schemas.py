"""The JSON Schemas of the artifacts and of the step protocol, as published in `schemas/`."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pydantic import BaseModel

from scripts.protocol_schema import json_schema, openapi
from turnout.model.documents import ManifestDocument, StatusDocument, StepDocument

_CANONICAL: Final = (
    "Digests are SHA-256 in lower-case hex. Canonical JSON is UTF-8, names sorted by code point,"
    " no blanks, nothing escaped that need not be, 1.0 with its point; in Python:"
    " json.dumps(value, sort_keys=True, separators=(',', ':'), ensure_ascii=False)."
    " A parity digest is that of the document without the fields whose x-comparison is not exact."
)
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """Generate an artifact's schema: every field is required, because every field is written."""
    generated = model.model_json_schema(by_alias=True, mode="serialization")
    title = str(generated["properties"]["schema"]["const"])
    head = {"$schema": _DIALECT, "$id": f"urn:{title.replace('/', ':')}", "$comment": _CANONICAL}
    return {**head, **generated, "title": title}


PUBLISHED: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "status-1.json": partial(schema, StatusDocument),
    "manifest-1.json": partial(schema, ManifestDocument),
    "step-1.json": partial(schema, StepDocument),
    "protocol-1.json": json_schema,
    "protocol-1.openapi.json": openapi,
}
"""The generator of each published file, by its name."""


def schema_text(name: str) -> str:
    """Generate the text of one published file."""
    return json.dumps(PUBLISHED[name](), indent=2, ensure_ascii=False) + "\n"
