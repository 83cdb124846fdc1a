"""The server as an ASGI application: its paths, its start and its end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from starlette.responses import HTMLResponse
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from turnout_triggerdev_double.server import engine, scheduler, waiting
from turnout_triggerdev_double.server.dev import presence, protocol, sockets
from turnout_triggerdev_double.server.rates import TokenBuckets
from turnout_triggerdev_double.server.rest import (
    bulk,
    control,
    deploying,
    deployments,
    listing,
    packets,
    pages,
    projects,
    queues,
    runs,
    schedules,
    streams,
    telemetry,
    tokens,
    triggers,
)
from turnout_triggerdev_double.server.wiring import MAX_STREAM, ApiMethod, Resource
from turnout_triggerdev_double.server.world import OfflineWorld

Paths = Mapping[str, Mapping[str, ApiMethod]]

_ENGINE = "/engine/v1/dev/runs/{run}"


def _key(handler: object, *scopes: str) -> ApiMethod:
    return ApiMethod(handler=handler, scopes=scopes)  # type: ignore[arg-type]


def _worker(handler: object) -> ApiMethod:
    return ApiMethod(handler=handler, limited=False)  # type: ignore[arg-type]


def _deploy(handler: object) -> ApiMethod:
    return ApiMethod(handler=handler, limited=False, max_body=MAX_STREAM)  # type: ignore[arg-type]


def _user(handler: object) -> ApiMethod:
    return ApiMethod(handler=handler, caller="user")  # type: ignore[arg-type]


def _public(handler: object, max_body: int = MAX_STREAM) -> ApiMethod:
    return ApiMethod(handler=handler, caller="anyone", max_body=max_body)  # type: ignore[arg-type]


def _schedule(handler: object) -> ApiMethod:
    return ApiMethod(handler=handler, complaint="Invalid or Missing API Key")  # type: ignore[arg-type]


ENGINE: Paths = {
    "/engine/v1/dev/dequeue": {"POST": _worker(protocol.dequeue)},
    f"{_ENGINE}/snapshots/{{snapshot}}/attempts/start": {"POST": _worker(protocol.start)},
    f"{_ENGINE}/snapshots/{{snapshot}}/attempts/complete": {
        "POST": ApiMethod(handler=protocol.complete, limited=False, max_body=MAX_STREAM)
    },
    f"{_ENGINE}/snapshots/latest": {"GET": _worker(protocol.latest_snapshot)},
    f"{_ENGINE}/snapshots/{{snapshot}}/heartbeat": {"POST": _worker(protocol.heartbeat)},
    f"{_ENGINE}/logs/debug": {"POST": _worker(protocol.debug_log)},
    "/engine/v1/runs/{run}/waitpoints/tokens/{token}/wait": {
        "POST": _worker(tokens.wait_for_token)
    },
    "/engine/v1/runs/{run}/wait/duration": {"POST": _worker(tokens.wait_for_duration)},
    "/engine/v1/dev/config": {"GET": _worker(protocol.config)},
    "/engine/v1/dev/presence": {"GET": _worker(presence.presence)},
    "/engine/v1/dev/disconnect": {"POST": _worker(protocol.disconnect)},
    "/otel/v1/traces": {"POST": _public(telemetry.take_traces)},
    "/otel/v1/logs": {"POST": _public(telemetry.take_logs)},
    "/otel/v1/metrics": {"POST": _public(telemetry.take_metrics)},
}

RUNS: Paths = {
    "/api/v1/tasks/{task:path}/trigger": {
        "POST": ApiMethod(
            handler=triggers.trigger_task,
            scopes=("write:tasks", "write:tasks:{task}", "trigger:tasks"),
            plain_405=True,
        )
    },
    "/api/v3/runs/{run}": {"GET": _key(runs.retrieve, "read:runs", "read:runs:{run}")},
    "/api/v1/runs": {"GET": _key(listing.list_runs, "read:runs")},
    "/api/v2/runs/{run}/cancel": {"POST": _key(runs.cancel, "write:runs", "write:runs:{run}")},
    "/api/v1/runs/{run}/metadata": {
        "GET": _key(runs.read_metadata),
        "PUT": _key(runs.write_metadata),
    },
    "/api/v1/runs/{run}/result": {"GET": _key(runs.result)},
    "/api/v1/runs/{run}/replay": {"POST": _key(runs.replay_run)},
    "/api/v1/runs/{run}/reschedule": {"POST": _key(runs.reschedule)},
    "/api/v1/runs/{run}/tags": {"POST": _key(runs.add_tags)},
    "/api/v1/runs/{run}/trace": {"GET": _key(telemetry.trace)},
    "/api/v1/runs/{run}/events": {"GET": _key(telemetry.events)},
    "/api/v1/runs/{run}/spans/{span}": {"GET": _key(telemetry.span)},
    "/api/v3/batches": {"POST": _key(triggers.create_batch, "write:batch")},
    "/api/v3/batches/{batch}/items": {
        "POST": ApiMethod(handler=triggers.batch_items, limited=False, max_body=MAX_STREAM)
    },
    "/api/v2/tasks/batch": {"POST": ApiMethod(handler=triggers.batch_tasks, max_body=MAX_STREAM)},
    "/api/v1/tasks/batch": {
        "POST": ApiMethod(handler=triggers.batch_tasks_v1, max_body=MAX_STREAM)
    },
    "/api/v1/tasks/{task:path}/batch": {
        "POST": ApiMethod(handler=triggers.batch_one_task, max_body=MAX_STREAM)
    },
    "/api/v1/batches/{batch}": {"GET": _key(triggers.retrieve_batch, "read:batch:{batch}")},
    "/api/v2/batches/{batch}": {"GET": _key(triggers.retrieve_batch_v2, "read:batch:{batch}")},
    "/api/v1/batches/{batch}/results": {"GET": _key(triggers.batch_results)},
    "/api/v1/idempotencyKeys/{key:path}/reset": {"POST": _key(triggers.reset_key)},
}

STREAMS: Paths = {
    "/realtime/v1/streams/{run}/{stream}": {
        "GET": ApiMethod(
            handler=streams.read, scopes=("read:runs", "read:runs:{run}"), limited=False
        )
    },
    "/realtime/v1/streams/{run}/{target}/{stream}": {
        "PUT": _worker(streams.create),
        "POST": ApiMethod(handler=streams.ingest, limited=False, max_body=MAX_STREAM),
        "HEAD": _worker(streams.last_chunk),
    },
    "/realtime/v1/streams/{run}/{target}/{stream}/append": {"POST": _worker(streams.append)},
}

NOUNS: Paths = {
    "/api/v1/waitpoints/tokens": {
        "POST": _key(tokens.create, "write:waitpoints"),
        "GET": _key(tokens.list_tokens),
    },
    "/api/v1/waitpoints/tokens/{token}": {"GET": _key(tokens.retrieve)},
    "/api/v1/waitpoints/tokens/{token}/complete": {
        "POST": _key(tokens.complete, "write:waitpoints", "write:waitpoints:{token}")
    },
    "/api/v1/waitpoints/tokens/{token}/callback/{seal}": {"POST": _public(tokens.callback)},
    "/api/v1/schedules": {
        "GET": _schedule(schedules.list_schedules),
        "POST": _schedule(schedules.create),
    },
    "/api/v1/schedules/{schedule}": {
        "GET": _schedule(schedules.retrieve),
        "PUT": _schedule(schedules.update),
        "DELETE": _schedule(schedules.delete),
    },
    "/api/v1/schedules/{schedule}/activate": {"POST": _schedule(schedules.activate)},
    "/api/v1/schedules/{schedule}/deactivate": {"POST": _schedule(schedules.deactivate)},
    "/api/v1/timezones": {"GET": _public(schedules.timezones)},
    "/api/v1/queues": {"GET": _key(queues.list_queues)},
    "/api/v1/queues/{queue:path}/pause": {"POST": _key(queues.pause)},
    "/api/v1/queues/{queue:path}/concurrency/override": {"POST": _key(queues.override)},
    "/api/v1/queues/{queue:path}/concurrency/reset": {"POST": _key(queues.reset)},
    "/api/v1/queues/{queue:path}": {"GET": _key(queues.retrieve)},
    "/api/v1/concurrency-limits": {"GET": _key(queues.list_limits)},
    "/api/v1/concurrency-limits/{limit:path}/override": {"POST": _key(queues.override_limit)},
    "/api/v1/concurrency-limits/{limit:path}/reset": {"POST": _key(queues.reset_limit)},
    "/api/v1/concurrency-limits/{limit:path}/pause": {"POST": _key(queues.pause_limit)},
    "/api/v1/concurrency-limits/{limit:path}": {"GET": _key(queues.retrieve_limit)},
    "/api/v1/deployments": {
        "GET": _key(deployments.list_deployments),
        "POST": _deploy(deploying.initialize),
    },
    "/api/v1/deployments/current": {"GET": _key(deployments.current)},
    "/api/v1/deployments/latest": {"GET": _key(deployments.latest)},
    "/api/v1/deployments/{deployment}": {"GET": _key(deployments.retrieve)},
    "/api/v1/deployments/{deployment}/promote": {"POST": _key(deployments.promote)},
    "/api/v1/deployments/{deployment}/background-workers": {"POST": _deploy(deploying.index)},
    "/api/v1/deployments/{deployment}/fail": {"POST": _deploy(deploying.fail)},
    "/api/v3/deployments/{deployment}/finalize": {"POST": _deploy(deploying.finalize)},
    "/api/v1/bulk-actions": {"POST": _key(bulk.create), "GET": _key(bulk.list_actions)},
    "/api/v1/bulk-actions/{bulk}": {"GET": _key(bulk.retrieve)},
    "/api/v1/bulk-actions/{bulk}/abort": {"POST": _key(bulk.abort)},
    "/api/v1/whoami": {"GET": _key(projects.whoami_environment)},
    "/api/v2/whoami": {"GET": _user(projects.whoami_user)},
    "/api/v1/platform-notifications": {"GET": _user(projects.notifications)},
    "/api/v1/packets/{name:path}": {
        "GET": _key(packets.where_to_fetch),
        "PUT": _key(packets.where_to_put),
    },
    "/api/v2/packets/{name:path}": {"PUT": _key(packets.where_to_put)},
    "/packets/{seal}/{name:path}": {"PUT": _public(packets.put), "GET": _public(packets.fetch)},
}

PROJECTS: Paths = {
    "/api/v1/projects/{ref}/background-workers": {
        "POST": ApiMethod(handler=protocol.register_worker, limited=False, max_body=MAX_STREAM)
    },
    "/api/v1/projects/{ref}/envvars": {"GET": _key(projects.cli_variables)},
    "/api/v1/projects/{ref}/dev-status": {"GET": _user(projects.dev_status)},
    "/api/v1/projects/{ref}/{slug}": {"GET": _user(projects.project_environment)},
    "/api/v1/projects/{ref}/{slug}/workers/{tag}": {"GET": _user(projects.current_worker)},
    "/api/v1/projects/{ref}/envvars/{slug}": {
        "GET": _user(projects.list_variables),
        "POST": _user(projects.create_variable),
    },
    "/api/v1/projects/{ref}/envvars/{slug}/import": {"POST": _user(projects.import_variables)},
    "/api/v1/projects/{ref}/envvars/{slug}/{name}": {
        "GET": _user(projects.retrieve_variable),
        "PUT": _user(projects.update_variable),
        "DELETE": _user(projects.delete_variable),
    },
    "/double/health": {"GET": _public(control.health)},
    "/double/worker": {"GET": _public(control.worker)},
    "/double/runs": {"GET": _public(pages.runs)},
    "/double/runs/{run}": {"GET": _public(pages.run)},
}

CLOCK: Paths = {"/double/clock": {"POST": _worker(control.turn_clock)}}


def build(world: OfflineWorld, rates: TokenBuckets, *, turnable: bool = False) -> Router:
    """The application over this world; `turnable` lets callers turn its clock.

    A bare router: a framework's layers around it would cost a third of every request.
    """
    paths = {**ENGINE, **RUNS, **STREAMS, **PROJECTS, **NOUNS, **(CLOCK if turnable else {})}
    routes = [Route(path, Resource(world, rates, methods)) for path, methods in paths.items()]
    socket = WebSocketRoute("/socket.io/", sockets.endpoint(world))

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        resume(world)
        ringing = asyncio.create_task(world.alarms.run())
        yield
        world.stop()
        ringing.cancel()
        with suppress(asyncio.CancelledError):
            await ringing
        world.store.close()

    return Router([*routes, socket], default=_page, redirect_slashes=False, lifespan=lifespan)


async def _page(scope: Scope, receive: Receive, send: Send) -> None:
    """The real server's answer to an unknown path: an HTML page."""
    if scope["type"] == "websocket":
        await WebSocketClose()(scope, receive, send)
        return
    page = HTMLResponse("<!DOCTYPE html><title>Not found</title>", 404)
    await page(scope, receive, send)


def resume(world: OfflineWorld) -> None:
    """Load the records from the store, and set their timers."""
    for record in world.store.records():
        world.add(record)
    runs = list(world.runs.values())
    for run in runs:
        if run.execution_status == "QUEUED":
            world.queued[(run.env, run.queue)] += 1
        engine.adopt(world, run)
    for point in world.waitpoints.values():
        waiting.watch(world, point)
    for schedule in world.schedules.values():
        scheduler.arm(world, schedule)
    for action in world.bulk_actions.values():
        bulk.resume(world, action)
    for owner in {run.owner for run in runs if run.owner and run.execution_status != "FINISHED"}:
        presence.expect(world, owner, presence.GRACE_AFTER_START)
