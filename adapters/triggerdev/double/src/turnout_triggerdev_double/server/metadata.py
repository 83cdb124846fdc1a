"""Operations on a run's metadata."""

import copy
import re
from typing import Any

import orjson

from turnout_triggerdev_double.server.errors import refused
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.superjson import JSON, decoded
from turnout_triggerdev_double.server.world import OfflineWorld

MAX_METADATA = 256 * 1024
_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def metadata_of(run: RunRecord) -> dict[str, Any]:
    """The run's metadata; empty when it has none."""
    value = decoded(run.metadata, JSON)
    return value if isinstance(value, dict) else {}


def take_flush(world: OfflineWorld, run: RunRecord, flush: dict[str, Any]) -> None:
    """Take `{metadata?, operations?, parentOperations?, rootOperations?}` for a run's family."""
    if flush.get("metadata") is not None:
        _keep(world, run, flush["metadata"])
    parent = world.runs.get(run.parent or "", run)
    root = world.runs.get(run.root or "", parent)
    for target, name in (
        (run, "operations"),
        (parent, "parentOperations"),
        (root, "rootOperations"),
    ):
        if flush.get(name):
            _keep(world, target, apply_operations(metadata_of(target), flush[name]))


def _keep(world: OfflineWorld, run: RunRecord, value: Any) -> None:
    text = orjson.dumps(value).decode()
    if len(text) > MAX_METADATA:
        raise refused(413, f"Metadata exceeds limit of {MAX_METADATA} bytes")
    run.metadata = text
    run.updated_at = world.now()
    world.store.put(run)


def apply_operations(document: dict[str, Any], operations: Any) -> dict[str, Any]:
    """The document after `set`, `delete`, `append`, `remove`, `increment`, `update`, in order."""
    if not isinstance(operations, list):
        raise refused(400, 'Validation error: Expected array at "operations"')
    result = copy.deepcopy(document)
    for operation in operations:
        result = _apply(result, operation)
    return result


def _apply(document: dict[str, Any], operation: Any) -> dict[str, Any]:
    if not isinstance(operation, dict):
        raise refused(400, 'Validation error: Expected object at "operations"')
    kind, value = operation.get("type"), operation.get("value")
    if kind == "update":
        return dict(value) if isinstance(value, dict) else {}
    holder, key = _place(document, str(operation.get("key")))
    if holder is None:
        return document
    old = _get(holder, key)
    if kind == "delete":
        if isinstance(holder, dict):
            holder.pop(key, None)
    else:
        _put(holder, key, _changed(str(kind), old, value))
    return document


def _changed(kind: str, old: Any, value: Any) -> Any:
    match kind:
        case "set":
            return value
        case "append":
            items = old if isinstance(old, list) else [] if old is None else [old]
            return [*items, value]
        case "remove":
            return [item for item in old if item != value] if isinstance(old, list) else old
        case "increment":
            start = old if isinstance(old, int | float) else 0
            return start + (value if isinstance(value, int | float) else 1)
        case _:
            raise refused(400, f"Validation error: unknown operation {kind!r}")


def _place(document: dict[str, Any], key: str) -> tuple[Any, Any]:
    """The container and the last key; `$.a.b[0]` goes down, making objects on the way."""
    if not key.startswith("$."):
        return document, key
    parts = [name or int(index) for name, index in _PART.findall(key[2:])]
    if not parts:
        return None, None
    holder: Any = document
    for part in parts[:-1]:
        below = _get(holder, part)
        if not isinstance(below, dict | list):
            below = {}
            _put(holder, part, below)
        holder = below
    return holder, parts[-1]


def _get(holder: Any, key: Any) -> Any:
    if isinstance(holder, dict):
        return holder.get(key)
    if isinstance(holder, list) and isinstance(key, int) and key < len(holder):
        return holder[key]
    return None


def _put(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder, dict):
        holder[key] = value
    elif isinstance(holder, list) and isinstance(key, int):
        holder.extend([None] * (key + 1 - len(holder)))
        holder[key] = value
