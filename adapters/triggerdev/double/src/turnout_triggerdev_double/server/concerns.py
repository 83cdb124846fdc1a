"""What a call concerns: the resources on which a public token must allow it."""

from collections.abc import Iterable
from typing import Any

import orjson

from turnout_triggerdev_double.server.wiring import ApiCall, Resources


def anything(_call: ApiCall) -> None:
    """Nothing that a public token must name."""


def named(kind: str, param: str) -> Resources:
    """The one that the path names."""
    return lambda call: [f"{kind}:{call.params[param]}"]


def run_of_path(call: ApiCall) -> list[str]:
    """The run that the path names, its task, its tags and its batch."""
    run = call.world.runs.get(str(call.params["run"]))
    if run is None:
        return [f"runs:{call.params['run']}"]
    batch = [] if run.batch is None else [f"batch:{run.batch}"]
    return [f"runs:{run.id}", f"tasks:{run.task}", *(f"tags:{tag}" for tag in run.tags), *batch]


def batch_of_path(call: ApiCall) -> list[str]:
    """The batch that the path names; who may read runs may read batches."""
    return [f"batch:{call.params['batch']}", "runs"]


def listed_runs(call: ApiCall) -> list[str]:
    """Runs of tasks: all, or those of the tasks that the filter names."""
    return ["runs", *_tasks(call, (call.query.get("filter[taskIdentifier]") or "").split(","))]


def tagged_runs(call: ApiCall) -> list[str]:
    """Runs with tags."""
    tags = [tag for tag in (call.query.get("tags") or "").split(",") if tag]
    return ["runs", "tags", *(f"tags:{tag}" for tag in tags)]


def tasks_of_batch(call: ApiCall) -> list[str]:
    """The tasks of a new batch."""
    return ["batch", *_tasks(call, call.fields().get("taskIdentifiers") or [])]


def tasks_of_items(call: ApiCall) -> list[str]:
    """The batch that the path names, and the tasks of the items."""
    items = [orjson.loads(line) for line in call.body.splitlines() if line.strip()]
    return [f"batch:{call.params['batch']}", *_tasks(call, [item["task"] for item in items])]


def tasks_of_body(call: ApiCall) -> list[str]:
    """The tasks of a batch that is in one body."""
    return ["batch", *_tasks(call, [item.get("task") for item in call.fields().get("items") or []])]


def _tasks(call: ApiCall, tasks: Iterable[Any]) -> list[str]:
    """All tasks; these, if the token allows every one of them."""
    named_tasks = [f"tasks:{task}" for task in tasks if task]
    token, action = call.token, call.action
    every = token is not None and all(token.allows(action, [task]) for task in named_tasks)
    return ["tasks", *(named_tasks if every else ())]
