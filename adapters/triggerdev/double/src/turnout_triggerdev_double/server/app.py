"""The server as an ASGI application: its paths, its start and its end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial

from starlette.responses import HTMLResponse
from starlette.routing import Route, Router, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocketClose

from turnout_triggerdev_double.server import batching, concerns, engine, scheduler, waiting
from turnout_triggerdev_double.server.dev import presence, protocol, sockets
from turnout_triggerdev_double.server.rates import TokenBuckets
from turnout_triggerdev_double.server.rest import (
    bulk,
    control,
    deploying,
    deployments,
    inputs,
    listing,
    packets,
    pages,
    projects,
    public_tokens,
    queues,
    realtime,
    runs,
    schedules,
    streams,
    telemetry,
    tokens,
    triggers,
    unserved,
)
from turnout_triggerdev_double.server.wiring import MAX_STREAM, ApiMethod, Resource
from turnout_triggerdev_double.server.world import OfflineWorld

Paths = Mapping[str, Mapping[str, ApiMethod]]

_ENGINE = "/engine/v1/dev/runs/{run}"

_key = ApiMethod
"""For an environment's key."""
_of_run = partial(ApiMethod, concerns=concerns.run_of_path)
"""For whoever may read the run, too."""
_worker = partial(ApiMethod, limited=False)
_deploy = partial(ApiMethod, limited=False, max_body=MAX_STREAM)
_user = partial(ApiMethod, caller="user")
_public = partial(ApiMethod, caller="anyone", max_body=MAX_STREAM)
_schedule = partial(ApiMethod, complaint="Invalid or Missing API Key")
_realtime = partial(ApiMethod, limited=False)


ENGINE: Paths = {
    "/engine/v1/dev/dequeue": {"POST": _worker(protocol.dequeue)},
    f"{_ENGINE}/snapshots/{{snapshot}}/attempts/start": {"POST": _worker(protocol.start)},
    f"{_ENGINE}/snapshots/{{snapshot}}/attempts/complete": {"POST": _deploy(protocol.complete)},
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
        "POST": _key(
            triggers.trigger_task,
            action="trigger",
            concerns=concerns.named("tasks", "task"),
            plain_405=True,
        )
    },
    "/api/v3/runs/{run}": {"GET": _of_run(runs.retrieve)},
    "/api/v1/runs": {"GET": _key(listing.list_runs, concerns=concerns.listed_runs)},
    "/api/v2/runs/{run}/cancel": {"POST": _of_run(runs.cancel, action="write")},
    "/api/v1/runs/{run}/metadata": {
        "GET": _key(runs.read_metadata),
        "PUT": _key(runs.write_metadata),
    },
    "/api/v1/runs/{run}/result": {"GET": _key(runs.result)},
    "/api/v1/runs/{run}/replay": {"POST": _key(runs.replay_run)},
    "/api/v1/runs/{run}/reschedule": {"POST": _key(runs.reschedule)},
    "/api/v1/runs/{run}/tags": {"POST": _key(runs.add_tags)},
    "/api/v1/runs/{run}/trace": {"GET": _of_run(telemetry.trace)},
    "/api/v1/runs/{run}/events": {"GET": _of_run(telemetry.events)},
    "/api/v1/runs/{run}/spans/{span}": {"GET": _of_run(telemetry.span)},
    "/api/v3/batches": {
        "POST": _key(triggers.create_batch, action="batchTrigger", concerns=concerns.tasks_of_batch)
    },
    "/api/v3/batches/{batch}/items": {
        "POST": _deploy(
            triggers.batch_items, action="batchTrigger", concerns=concerns.tasks_of_items
        )
    },
    "/api/v2/tasks/batch": {
        "POST": _key(
            triggers.batch_tasks,
            max_body=MAX_STREAM,
            action="batchTrigger",
            concerns=concerns.tasks_of_body,
        )
    },
    "/api/v1/tasks/batch": {"POST": _key(triggers.batch_tasks_v1, max_body=MAX_STREAM)},
    "/api/v1/tasks/{task:path}/batch": {"POST": _key(triggers.batch_one_task, max_body=MAX_STREAM)},
    "/api/v1/batches/{batch}": {
        "GET": _key(triggers.retrieve_batch, concerns=concerns.batch_of_path)
    },
    "/api/v2/batches/{batch}": {
        "GET": _key(triggers.retrieve_batch_v2, concerns=concerns.batch_of_path)
    },
    "/api/v1/batches/{batch}/results": {"GET": _key(triggers.batch_results)},
    "/api/v1/idempotencyKeys/{key:path}/reset": {"POST": _key(triggers.reset_key)},
}

REALTIME: Paths = {
    "/realtime/v1/runs/{run}": {"GET": _realtime(realtime.run_feed, concerns=concerns.run_of_path)},
    "/realtime/v1/runs": {"GET": _realtime(realtime.tag_feed, concerns=concerns.tagged_runs)},
    "/realtime/v1/batches/{batch}": {
        "GET": _realtime(realtime.batch_feed, concerns=concerns.batch_of_path)
    },
    "/realtime/v1/streams/{run}/{stream}": {
        "GET": _realtime(streams.read, concerns=concerns.run_of_path)
    },
    "/realtime/v1/streams/{run}/input/{stream}": {
        "GET": _realtime(inputs.read, concerns=concerns.run_of_path),
        "POST": _realtime(
            inputs.send,
            max_body=inputs.MAX_INPUT,
            action="write",
            concerns=concerns.named("inputStreams", "run"),
        ),
    },
    "/realtime/v1/streams/{run}/{target}/{stream}": {
        "PUT": _realtime(streams.create),
        "POST": _realtime(streams.ingest, max_body=MAX_STREAM),
        "HEAD": _realtime(streams.last_chunk),
    },
    "/realtime/v1/streams/{run}/{target}/{stream}/append": {"POST": _realtime(streams.append)},
    "/api/v1/runs/{run}/input-streams/wait": {"POST": _key(inputs.wait)},
}

NOUNS: Paths = {
    "/api/v1/auth/jwt/claims": {"POST": _key(public_tokens.claims)},
    "/api/v1/auth/public-tokens": {"POST": _key(public_tokens.mint)},
    "/api/v1/waitpoints/tokens": {"POST": _key(tokens.create), "GET": _key(tokens.list_tokens)},
    "/api/v1/waitpoints/tokens/{token}": {"GET": _key(tokens.retrieve)},
    "/api/v1/waitpoints/tokens/{token}/complete": {
        "POST": _key(
            tokens.complete, action="write", concerns=concerns.named("waitpoints", "token")
        )
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
        "GET": _key(packets.where_to_fetch, concerns=concerns.anything),
        "PUT": _key(packets.where_to_put),
    },
    "/api/v2/packets/{name:path}": {"PUT": _key(packets.where_to_put)},
    "/packets/{seal}/{name:path}": {"PUT": _public(packets.put), "GET": _public(packets.fetch)},
}

PROJECTS: Paths = {
    "/api/v1/projects/{ref}/background-workers": {"POST": _deploy(protocol.register_worker)},
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
    paths = {**ENGINE, **RUNS, **REALTIME, **PROJECTS, **NOUNS, **(CLOCK if turnable else {})}
    served = [Route(path, Resource(world, rates, methods)) for path, methods in paths.items()]
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

    return Router(
        [*unserved.routes(), *served, socket],
        default=_page,
        redirect_slashes=False,
        lifespan=lifespan,
    )


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
    for batch in world.batches.values():
        if batch.items:
            batching.expect(world, batch)
    for schedule in world.schedules.values():
        scheduler.arm(world, schedule)
    for action in world.bulk_actions.values():
        bulk.resume(world, action)
    for owner in {run.owner for run in runs if run.owner and run.execution_status != "FINISHED"}:
        presence.expect(world, owner, presence.GRACE_AFTER_START)
