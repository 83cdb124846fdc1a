"""The vendor's encodings of payloads and outputs."""

from typing import Any

import orjson

SUPERJSON = "application/super+json"
JSON = "application/json"


def decoded(content: str | None, kind: str | None) -> Any:
    """The JSON value of a payload or an output; text that is no JSON stays text."""
    if content is None:
        return None
    if kind not in {JSON, SUPERJSON, None}:
        return content
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return content
    if kind == SUPERJSON and isinstance(value, dict) and "json" in value:
        return value["json"]
    return value


def encoded_dates(value: Any, paths: list[str]) -> str:
    """A super+json document in which the strings at `paths` are dates."""
    meta = {"values": {path: ["Date"] for path in paths}}
    return orjson.dumps({"json": value, "meta": meta}).decode()


def text_of(payload: Any, kind: str) -> str:
    """A payload as it is stored: a string of another type than JSON is encoded already."""
    if isinstance(payload, str) and kind != JSON:
        return payload
    return orjson.dumps(payload).decode()
