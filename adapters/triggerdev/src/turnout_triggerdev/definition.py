"""Writes the definition file that workers read: which tasks to register, where the service is.

Its schema is `standin/definition.schema.json`; the stand-in and the TypeScript worker follow it.
"""

import json
from pathlib import Path
from typing import Any

from turnout.model.protocol import PROTOCOL
from turnout.model.tasks import App, Task, failure_hook
from turnout.model.time import millis

TICK_TASK = "turnout-tick"
"""The task that all schedules start: its runs only tell the service of a slot."""
MARGIN = 60
"""Seconds by which the vendor's own limit on a run comes later than ours."""
SHORTEST_LIMIT = 5


def definition_of(app: App, service_url: str) -> dict[str, Any]:
    """The definition of an app whose service has this origin.

    The vendor's limits are ceilings: they come later than ours, and its own time to live is off,
    because a run's deadlines are kept by us.
    """
    hooks = [failure_hook(each) for each in app.tasks if each.on_failure is not None]
    tasks = [_task(each) for each in (*app.tasks, *hooks)]
    return {
        "protocol": PROTOCOL,
        "definition": app.definition,
        "service": service_url.rstrip("/"),
        "tasks": [*tasks, {"id": TICK_TASK, "schedule": True, "ttl": 0}],
    }


def _task(task: Task) -> dict[str, Any]:
    defined: dict[str, Any] = {"id": task.id, "ttl": 0}
    limit = task.policies.timeouts.run
    if limit is not None:
        seconds = -(-millis(limit) // 1000) + MARGIN
        defined["maxDuration"] = max(SHORTEST_LIMIT, seconds)
    return defined


def write_definition(folder: Path, app: App, service_url: str) -> Path:
    """Put the definition into the folder, whole or not at all; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "turnout.definition.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(definition_of(app, service_url), indent=2), encoding="utf-8")
    fresh.replace(path)
    return path
