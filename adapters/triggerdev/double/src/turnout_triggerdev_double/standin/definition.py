"""Reads the definition file, and checks it by its schema's rules."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from turnout_triggerdev_double.standin.settings import address_fault

PROTOCOL = 1
MAX_TASKS = 1000
LARGEST = 4 * 1024 * 1024
DEFAULT_ATTEMPTS = 5

_DIGEST = re.compile(r"^[0-9a-f]{64}$")
LONGEST_ADDRESS = 2048
_QUEUE = re.compile(r"^[A-Za-z0-9_/-]{1,128}$")
_TASK_FIELDS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "schedule": bool,
    "probe": bool,
    "queue": str,
    "concurrency": dict,
    "maxAttempts": int,
    "maxDuration": int,
    "ttl": (str, int),
}


class WrongDefinition(Exception):
    """The definition file cannot be used; the text names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """One task to register."""

    id: str
    schedule: bool = False
    probe: bool = False
    queue: str | None = None
    per_key: int | None = None
    total: int | None = None
    max_attempts: int = DEFAULT_ATTEMPTS
    max_duration: int | None = None
    ttl: str | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """All tasks, the digest that the service knows them by, and the service's origin."""

    digest: str
    service: str
    tasks: tuple[TaskDefinition, ...]


def read_definition(path: Path) -> Definition:
    """The definition in the file. Raises WrongDefinition."""
    try:
        if path.stat().st_size > LARGEST:
            raise WrongDefinition(f"{path}: larger than {LARGEST} bytes")
        value = orjson.loads(path.read_bytes())
    except OSError as error:
        raise WrongDefinition(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise WrongDefinition(f"{path}: is not JSON: {error}") from error
    return definition(value)


def definition(value: Any) -> Definition:
    """The definition that a JSON value holds. Raises WrongDefinition."""
    fields = _object(value, "definition", ("protocol", "definition", "service", "tasks"))
    if fields.get("protocol") != PROTOCOL or isinstance(fields.get("protocol"), bool):
        raise WrongDefinition(f"protocol: this worker speaks {PROTOCOL}")
    digest, service, tasks = fields.get("definition"), fields.get("service"), fields.get("tasks")
    if not isinstance(digest, str) or not _DIGEST.match(digest):
        raise WrongDefinition("definition: must be a sha256 in hex")
    if not isinstance(service, str) or len(service) > LONGEST_ADDRESS:
        raise WrongDefinition("service: must be an http or https address")
    if fault := address_fault(service):
        raise WrongDefinition(f"service: {fault}")
    if not isinstance(tasks, list) or not 0 < len(tasks) <= MAX_TASKS:
        raise WrongDefinition(f"tasks: must be a list of 1 to {MAX_TASKS}")
    read = tuple(_task(task, f"tasks[{index}]") for index, task in enumerate(tasks))
    names = [task.id for task in read]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise WrongDefinition(f"tasks: two have the id {twice!r}")
    return Definition(digest=digest, service=service.rstrip("/"), tasks=read)


def _object(value: Any, path: str, field_names: Iterable[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WrongDefinition(f"{path}: must be an object")
    unknown = sorted(set(value) - set(field_names))
    if unknown:
        raise WrongDefinition(f"{path}: has no field {unknown[0]!r}")
    return value


def _task(value: Any, path: str) -> TaskDefinition:
    fields = _object(value, path, _TASK_FIELDS)
    for name, kind in _TASK_FIELDS.items():
        field_value = fields.get(name)
        wrong = not isinstance(field_value, kind) or (
            isinstance(field_value, bool) and kind is not bool
        )
        if name in fields and wrong:
            raise WrongDefinition(f"{path}.{name}: has the wrong type")
    if not 0 < len(fields.get("id", "")) <= 128:  # noqa: PLR2004 the vendor's limit
        raise WrongDefinition(f"{path}.id: must have 1 to 128 characters")
    if "queue" in fields and not _QUEUE.match(fields["queue"]):
        raise WrongDefinition(f"{path}.queue: may have letters, digits, '_', '/', '-'")
    shape = _object(fields.get("concurrency", {}), f"{path}.concurrency", ("perKey", "total"))
    return TaskDefinition(
        id=fields["id"],
        schedule=fields.get("schedule", False),
        probe=fields.get("probe", False),
        queue=fields.get("queue"),
        per_key=_limit(shape, "perKey", path),
        total=_limit(shape, "total", path),
        max_attempts=fields.get("maxAttempts", DEFAULT_ATTEMPTS),
        max_duration=fields.get("maxDuration"),
        ttl=fields.get("ttl"),
    )


def _limit(shape: dict[str, Any], name: str, path: str) -> int | None:
    value = shape.get(name)
    if value is not None and (not isinstance(value, int) or value < 1):
        raise WrongDefinition(f"{path}.concurrency.{name}: must be a number, 1 or more")
    return value
