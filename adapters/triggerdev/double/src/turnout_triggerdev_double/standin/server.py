"""The vendor's server: its dev-worker protocol, and the few REST calls of a task."""

import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson

from turnout_triggerdev_double.standin.definition import Definition, TaskDefinition
from turnout_triggerdev_double.standin.http_client import HttpAnswer, HttpClient, NoResponse
from turnout_triggerdev_double.standin.limits import ServerLimits

VERSION = "4.8.3"
POLL_MS = 20_000
SILENCE = 15.0
"""Seconds; a connected server sends something every few."""
OK, CONFLICT, FAULT = 200, 409, 500


class ServerRefused(Exception):
    """The server refused a request."""

    def __init__(self, operation: str, answer: HttpAnswer) -> None:
        super().__init__(f"{operation}: {answer.status} {answer.body[:300]!r}")
        self.status = answer.status


class VendorServer:
    """One environment of the server, as a connected worker sees it."""

    def __init__(self, http: HttpClient, project: str, owner: str) -> None:
        self._http = http
        self._project = project
        self._owner = owner
        self._limits = ServerLimits()

    async def register(self, definition: Definition) -> str:
        """Make the definition's tasks the current version; returns the worker's id."""
        metadata = manifest(definition)
        path = f"/api/v1/projects/{self._project}/background-workers"
        body = {
            "localOnly": True,
            "metadata": metadata,
            "engine": "V2",
            "supportsLazyAttempts": True,
        }
        answer = await self._post(path, body)
        return str(_ok("register", answer)["id"])

    async def holds_polls(self) -> bool:
        """Whether the server is the double, which has long polls and notices of changed runs."""
        return (await self._get("/double/health")).status == OK

    async def dequeue(self, worker: str, count: int) -> list[dict[str, Any]]:
        """Wait for runs and take up to `count`."""
        body = {
            "currentWorker": worker,
            "oldWorkers": [],
            "maxRuns": count,
            "waitMs": POLL_MS,
            "owner": self._owner,
        }
        answer = await self._post("/engine/v1/dev/dequeue", body, seconds=POLL_MS / 1000 + 10)
        messages = _ok("dequeue", answer).get("dequeuedMessages")
        return messages if isinstance(messages, list) else []

    async def start(self, run: str, snapshot: str) -> dict[str, Any]:
        """Begin the next attempt."""
        path = f"/engine/v1/dev/runs/{run}/snapshots/{snapshot}/attempts/start"
        return _ok("start", await self._post(path, {"isWarmStart": True}))

    async def complete(self, run: str, snapshot: str, completion: dict[str, Any]) -> HttpAnswer:
        """End the attempt."""
        path = f"/engine/v1/dev/runs/{run}/snapshots/{snapshot}/attempts/complete"
        return await self._post(path, {"completion": completion})

    def read(self, operation: str, answer: HttpAnswer) -> dict[str, Any]:
        """The fields of a good answer. Raises NoResponse and ServerRefused."""
        return _ok(operation, answer)

    async def latest(self, run: str) -> dict[str, Any]:
        """The run's latest snapshot."""
        answer = await self._get(f"/engine/v1/dev/runs/{run}/snapshots/latest")
        execution = _ok("latest", answer).get("execution")
        return execution if isinstance(execution, dict) else {}

    async def heartbeat(self, run: str, snapshot: str) -> None:
        """Report that the run is still worked on."""
        await self._post(f"/engine/v1/dev/runs/{run}/snapshots/{snapshot}/heartbeat", {})

    async def new_token(self, key: str, until_ms: int) -> str:
        """A waitpoint token; the same key gives the same token."""
        until = datetime.fromtimestamp(until_ms / 1000, UTC).isoformat()
        body = {"idempotencyKey": key, "timeout": until, "tags": ["turnout"]}
        return str(_ok("token", await self._post("/api/v1/waitpoints/tokens", body))["id"])

    async def wait_for_token(self, run: str, token: str) -> None:
        """Block the run until the token is completed or timed out."""
        path = f"/engine/v1/runs/{run}/waitpoints/tokens/{token}/wait"
        _ok("wait", await self._post(path, {}))

    async def write_metadata(self, run: str, metadata: dict[str, Any]) -> None:
        """Replace the run's metadata."""
        path = f"/api/v1/runs/{run}/metadata"
        body = orjson.dumps({"metadata": metadata})
        await self._limits.within_limits(path, lambda: self._http.request("PUT", path, body))

    async def send_spans(self, export: dict[str, Any]) -> None:
        """Export spans as OTLP in JSON."""
        await self._http.post("/otel/v1/traces", export)

    async def disconnect(self, runs: list[str]) -> None:
        """Report that this worker does not work on these runs any more."""
        await self._http.post("/engine/v1/dev/disconnect", {"runFriendlyIds": runs}, seconds=3)

    async def _get(self, path: str) -> HttpAnswer:
        return await self._limits.within_limits(path, lambda: self._http.get(path))

    async def _post(self, path: str, value: object, *, seconds: float = 30.0) -> HttpAnswer:
        return await self._limits.within_limits(
            path, lambda: self._http.post(path, value, seconds=seconds)
        )

    async def moves(self) -> AsyncIterator[str]:
        """Stay present; yields ids of changed runs, and an empty text when a connection begins."""
        path = f"/engine/v1/dev/presence?owner={self._owner}"
        async with self._http.lines(path, silence=SILENCE) as lines:
            event = b""
            async for line in lines:
                name, _, value = line.strip().partition(b":")
                if name == b"event":
                    event = value.strip()
                elif name == b"data" and event == b"moved":
                    yield value.strip().decode()
                elif name == b"data" and event == b"start":
                    yield ""


def _ok(operation: str, answer: HttpAnswer) -> dict[str, Any]:
    if answer.status >= FAULT:
        raise NoResponse(f"{operation}: {answer.status}")
    if answer.status >= 300:  # noqa: PLR2004 anything but success
        raise ServerRefused(operation, answer)
    return dict(answer.fields())


def manifest(definition: Definition) -> dict[str, Any]:
    """The manifest that a worker of this definition registers."""
    tasks = [_task(task) for task in definition.tasks]
    queues = {task.queue for task in definition.tasks if task.queue}
    shape = orjson.dumps([tasks, definition.digest], option=orjson.OPT_SORT_KEYS)
    return {
        "packageVersion": VERSION,
        "cliPackageVersion": VERSION,
        "contentHash": hashlib.sha256(shape).hexdigest(),
        "tasks": tasks,
        "queues": [{"name": name} for name in sorted(queues)],
        "concurrencyLimits": [],
        "runtime": "python-standin",
    }


def _task(task: TaskDefinition) -> dict[str, Any]:
    shape = {"perKey": task.per_key, "total": task.total}
    inline = {name: value for name, value in shape.items() if value is not None}
    optional = {
        "queue": {"name": task.queue} if task.queue else None,
        "concurrency": {"inline": inline} if inline else None,
        "maxDuration": task.max_duration,
        "ttl": task.ttl,
        "triggerSource": "schedule" if task.schedule else None,
    }
    retry = {
        "maxAttempts": task.max_attempts,
        "factor": 2,
        "minTimeoutInMs": 500,
        "maxTimeoutInMs": 20_000,
        "randomize": True,
    }
    present = {name: value for name, value in optional.items() if value is not None}
    return {"id": task.id, "filePath": "turnout.definition.json", "retry": retry, **present}
