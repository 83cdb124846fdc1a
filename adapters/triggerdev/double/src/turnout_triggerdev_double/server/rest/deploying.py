"""The calls of `trigger deploy`: begin, index the tasks, finalize or fail.

There is no image: a caller of `finalize` is believed to have pushed one. Source: a self-hosted
4.5.12 server, to which the unmodified CLI 4.8.3 deployed in this way.
"""

import orjson
from starlette.responses import Response

from turnout_triggerdev_double.server import workers
from turnout_triggerdev_double.server.answers import deployment_begun
from turnout_triggerdev_double.server.errors import refused
from turnout_triggerdev_double.server.ids import bare, new_id
from turnout_triggerdev_double.server.records import Deployment
from turnout_triggerdev_double.server.rest.deployments import named
from turnout_triggerdev_double.server.wiring import ApiCall, answer

REGISTRY = "registry.invalid/offline"
"""A name only: there is no registry."""
RUNTIME = "node-24"
ENDED = frozenset({"DEPLOYED", "FAILED", "CANCELED", "TIMED_OUT"})


def initialize(call: ApiCall) -> Response:
    """`POST /api/v1/deployments`."""
    world, env, body = call.world, call.env, call.fields()
    if not isinstance(body.get("contentHash"), str):
        raise refused(400, "Invalid body")
    deployment = Deployment(
        id=new_id("deployment", world.now()),
        env=env.id,
        version=workers.next_version(world, env),
        content_hash=body["contentHash"],
        created_at=world.now(),
        runtime=str(body.get("runtime") or RUNTIME),
    )
    tag = f"{deployment.version}.{env.type.lower()}.{bare(deployment.id)[-8:]}"
    deployment.image = f"{REGISTRY}/{world.project.ref}:{tag}"
    _keep(call, deployment)
    return answer(deployment_begun(deployment))


def index(call: ApiCall) -> Response:
    """`POST /api/v1/deployments/{deployment}/background-workers`: the tasks that the image has."""
    deployment, metadata = named(call), call.fields().get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("tasks"), list):
        raise refused(400, "Invalid body")
    if deployment.status != "BUILDING":
        raise refused(400, "Worker deployment is not in BUILDING status")
    worker = workers.prepare(call.world, call.env, metadata, deployment.version)
    deployment.worker, deployment.status = worker.id, "DEPLOYING"
    _keep(call, deployment)
    return answer({"id": worker.id, "version": worker.version, "contentHash": worker.content_hash})


def finalize(call: ApiCall) -> Response:
    """`POST /api/v3/deployments/{deployment}/finalize`: answered by a stream of one event."""
    deployment, body = named(call), call.fields()
    worker = call.world.workers.get(deployment.worker or "")
    if worker is None:
        return _event("error", {"error": "Worker deployment does not have a worker"})
    if deployment.status == "DEPLOYED":
        return _event("complete", {"id": deployment.id})
    if deployment.status != "DEPLOYING":
        return _event("error", {"error": "Worker deployment is not in DEPLOYING status"})
    digest = body.get("imageDigest")
    if digest:
        deployment.image = f"{deployment.image}@{digest}"
    deployment.status, deployment.deployed_at = "DEPLOYED", call.world.now()
    _keep(call, deployment)
    if not body.get("skipPromotion"):
        workers.promote(call.world, call.env, worker)
    return _event("complete", {"id": deployment.id})


def fail(call: ApiCall) -> Response:
    """`POST /api/v1/deployments/{deployment}/fail`; one that has ended stays as it is."""
    deployment = named(call)
    if deployment.status not in ENDED:
        deployment.status, deployment.error = "FAILED", call.fields().get("error")
        _keep(call, deployment)
    return answer({"id": deployment.id})


def _keep(call: ApiCall, deployment: Deployment) -> None:
    call.world.add(deployment)
    call.world.store.put(deployment)


def _event(name: str, data: dict[str, str]) -> Response:
    text = f"event: {name}\ndata: {orjson.dumps(data).decode()}\n\n"
    return Response(text, media_type="text/event-stream", headers={"cache-control": "no-cache"})
