"""The definition file that a worker reads: which tasks to register, where the service is.

Its schema is `definition.schema.json`; the TypeScript worker and the stand-in follow it.
"""

import json
import re
from pathlib import Path
from typing import Any

from turnout.model.protocol import PROTOCOL
from turnout.model.tasks import App, Task
from turnout.model.time import millis

FILE = "turnout.definition.json"
TICK_TASK = "turnout-tick"
"""The task that every schedule starts: its run only reports the due time to the service."""
PROBE_TASK = "turnout-probe"
"""The task that checks the way from the worker to the service, for `turnout doctor`."""
PROBE_TTL = "5m"
MARGIN = 60
"""Seconds by which the vendor's limit on a run's time is longer than ours."""
SHORTEST_LIMIT = 5
LARGEST = 4 * 1024 * 1024
"""Bytes; a worker reads no larger definition file."""
DIGEST = re.compile(r"[0-9a-f]{64}")
NOT_IN_QUEUES = re.compile(r"[^A-Za-z0-9_/-]")


def definition_of(app: App, service_url: str) -> dict[str, Any]:
    """The definition of an app whose service has this origin.

    We keep a run's deadlines. So the vendor's limits come later than ours. Its time to live is
    switched off where a run is triggered; a server ignores the 0 here.
    """
    return {
        "protocol": PROTOCOL,
        "definition": app.definition,
        "service": service_url.rstrip("/"),
        "tasks": [
            *(_task(task) for task in app.all_tasks),
            {"id": TICK_TASK, "queue": queue_of(TICK_TASK), "schedule": True, "ttl": 0},
            {"id": PROBE_TASK, "queue": queue_of(PROBE_TASK), "probe": True, "ttl": PROBE_TTL},
        ],
    }


def queue_of(task: str) -> str:
    """The name of a task's own queue.

    Two ids that differ only in a full stop share a queue. It has no limit, so sharing is harmless.
    """
    return f"turnout/{NOT_IN_QUEUES.sub('-', task)}"


def _task(task: Task) -> dict[str, Any]:
    defined: dict[str, Any] = {"id": task.id, "queue": queue_of(task.id), "ttl": 0}
    limit = task.policies.timeouts.run
    if limit is not None:
        seconds = -(-millis(limit) // 1000) + MARGIN
        defined["maxDuration"] = max(SHORTEST_LIMIT, seconds)
    return defined


def write_definition(folder: Path, app: App, service_url: str) -> Path:
    """Write the definition into the folder, atomically; returns the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(definition_of(app, service_url), indent=2) + "\n", encoding="utf-8")
    fresh.replace(path)
    return path


def stale(folder: Path, app: App) -> str | None:
    """Say how the definition file differs from the app; None without a difference or a file.

    A file that cannot be read is a difference. The service's address may differ, because
    TURNOUT_SERVICE_URL overrides it.
    """
    path = folder / FILE
    try:
        definition = _read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except ValueError as error:
        return f"{path} is no definition: {error}"
    return _difference(path, definition, app)


def _difference(path: Path, definition: Any, app: App) -> str | None:
    if not isinstance(definition, dict):
        return f"{path} is no definition: it holds no object"
    service, digest = definition.get("service"), definition.get("definition")
    if not isinstance(service, str) or not isinstance(digest, str):
        return f"{path} is no definition: it names no service, or no digest"
    if definition == definition_of(app, service):
        return None
    if digest != app.definition:
        label = digest[:12] if DIGEST.fullmatch(digest) else "another kind"
        return f"{path} is of definition {label}, the app of {app.definition[:12]}"
    return f"{path} was built by another version of this adapter"


def _read(path: Path) -> Any:
    """Read a JSON file; ValueError or OSError when that is not possible."""
    stat = path.stat()
    if not path.is_file():
        raise ValueError("it is no file")
    if stat.st_size > LARGEST:
        raise ValueError(f"it is larger than {LARGEST} bytes")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8, at byte {error.start}") from None
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"it is not JSON: {error.msg}, at {at}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
