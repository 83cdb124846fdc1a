"""The step protocol, published: JSON Schema and OpenAPI, made from the messages themselves."""

import ast
import inspect
from itertools import pairwise
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from turnout.model import protocol
from turnout.model.protocol import (
    PROTOCOL,
    AnyCall,
    Executed,
    Followed,
    Next,
    Parked,
    Probed,
    Refusal,
    Ticked,
)

_ANSWERS = (Next, Executed, Parked, Followed, Ticked, Probed)
_REFUSALS = {
    "400": "not a message of this protocol",
    "401": "bad signature",
    "404": "unknown run or task",
    "409": "superseded or finished: end quietly",
    "413": "larger than 1 MiB",
    "426": "unknown protocol or definition: fail this vendor attempt",
    "429": "send the same message again after retry_after_ms",
    "503": "send the same message again after retry_after_ms",
}


def json_schema() -> dict[str, Any]:
    """Describe every message, calls under `AnyCall`."""
    pointer = "#/$defs/{model}"
    _, answers = models_json_schema(
        [(model, "serialization") for model in (*_ANSWERS, Refusal)], ref_template=pointer
    )
    calls = TypeAdapter(AnyCall).json_schema(ref_template=pointer)
    definitions = {**answers["$defs"], **calls.pop("$defs")}
    for name, definition in definitions.items():
        for field, text in _field_docstrings(getattr(protocol, name, None)).items():
            definition["properties"][field] |= {"description": text}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Turnout step protocol, version {PROTOCOL}",
        "$defs": {**definitions, "AnyCall": calls},
    }


def openapi() -> dict[str, Any]:
    """Describe the step endpoint."""
    schema = json_schema()
    text = _replace(schema["$defs"])
    answer = {"oneOf": [_reference(model.__name__) for model in _ANSWERS]}
    refusals = {
        status: {"description": line, "content": _json(_reference("Refusal"))}
        for status, line in _REFUSALS.items()
    }
    operation = {
        "summary": "One message of a vendor run",
        "description": "Signed by the standard-webhooks headers over id.timestamp.body.",
        "requestBody": {"required": True, "content": _json(_reference("AnyCall"))},
        "responses": {
            "200": {"description": "what to do next", "content": _json(answer)},
            "202": {"description": "the report was taken"},
            **refusals,
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Turnout step protocol", "version": str(PROTOCOL)},
        "paths": {f"/turnout/v{PROTOCOL}/step": {"post": operation}},
        "components": {"schemas": text},
    }


def _field_docstrings(model: Any) -> dict[str, str]:
    """Read the docstrings that stand under a message's fields, by the fields' wire names.

    Pydantic can do it, for every import of the messages; here only who publishes them pays for it.
    """
    module = ast.parse(inspect.getsource(protocol))
    sources = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    texts: dict[str, str] = {}
    for base in reversed(getattr(model, "__mro__", ())):
        if base.__name__ not in sources:
            continue
        for field, below in pairwise(sources[base.__name__].body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str() as text)):
                    info = model.model_fields[name]
                    texts[info.serialization_alias or name] = inspect.cleandoc(text)
    return texts


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _replace(value: Any) -> Any:
    """Point every reference to where OpenAPI keeps its schemas."""
    if isinstance(value, dict):
        return {name: _replace(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replace(inner) for inner in value]
    if isinstance(value, str) and value.startswith("#/$defs/"):
        return value.replace("#/$defs/", "#/components/schemas/")
    return value
