"""Run background tasks on one orchestrator or another, and move between them.

What a service author writes comes from here; nothing is imported until it is used.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if sys.version_info < (3, 11):  # noqa: UP036 - installed past pip, which refuses it, too
    raise SystemExit("turnout: needs Python 3.11 or later; this is " + sys.version.split()[0])

if TYPE_CHECKING:
    from turnout.bootstrap.live import open_turnout
    from turnout.bootstrap.settings import read_settings
    from turnout.driver.context import Context
    from turnout.errors import NonRetryable, RetryAfter, StepFailed, TurnoutError
    from turnout.model.events import Event
    from turnout.model.policies import CancelOn, Concurrency, Retries, Timeouts
    from turnout.model.schedules import Schedule
    from turnout.model.tasks import App, Task, app, define_task, task
    from turnout.service.process import Turnout
    from turnout.service.settings import Settings
    from turnout.sync import SyncDoor, sync_door
    from turnout.web.app import asgi, lifespan, routes

_MODULES = {
    "App": "turnout.model.tasks",
    "CancelOn": "turnout.model.policies",
    "Concurrency": "turnout.model.policies",
    "Context": "turnout.driver.context",
    "Event": "turnout.model.events",
    "NonRetryable": "turnout.errors",
    "Retries": "turnout.model.policies",
    "RetryAfter": "turnout.errors",
    "Schedule": "turnout.model.schedules",
    "Settings": "turnout.service.settings",
    "StepFailed": "turnout.errors",
    "SyncDoor": "turnout.sync",
    "Task": "turnout.model.tasks",
    "Timeouts": "turnout.model.policies",
    "Turnout": "turnout.service.process",
    "TurnoutError": "turnout.errors",
    "app": "turnout.model.tasks",
    "asgi": "turnout.web.app",
    "define_task": "turnout.model.tasks",
    "lifespan": "turnout.web.app",
    "open_turnout": "turnout.bootstrap.live",
    "read_settings": "turnout.bootstrap.settings",
    "routes": "turnout.web.app",
    "sync_door": "turnout.sync",
    "task": "turnout.model.tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'turnout' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


__all__ = [
    "App",
    "CancelOn",
    "Concurrency",
    "Context",
    "Event",
    "NonRetryable",
    "Retries",
    "RetryAfter",
    "Schedule",
    "Settings",
    "StepFailed",
    "SyncDoor",
    "Task",
    "Timeouts",
    "Turnout",
    "TurnoutError",
    "app",
    "asgi",
    "define_task",
    "lifespan",
    "open_turnout",
    "read_settings",
    "routes",
    "sync_door",
    "task",
]
