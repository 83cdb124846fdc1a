"""Deployments of the environments other than dev, and which one is current.

Besides the deployments of `trigger deploy`, a worker that registers with the key of a deployed
environment counts as deployed and promoted: so the stand-in can serve one.
"""

from starlette.responses import Response

from turnout_triggerdev_double.server import workers
from turnout_triggerdev_double.server.answers import deployment_listed, deployment_shown
from turnout_triggerdev_double.server.errors import ApiRefusal, refused
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.records import Deployment, WorkerVersion
from turnout_triggerdev_double.server.rest.listing import page_size
from turnout_triggerdev_double.server.wiring import ApiCall, answer

FEWEST = 5


def list_deployments(call: ApiCall) -> Response:
    """`GET /api/v1/deployments`, newest first; a page has 5 to 100."""
    size = max(FEWEST, page_size(call.query, default=20))
    status, after = call.query.get("status"), call.query.get("page[after]")
    deployments = [
        deployment for deployment in _deployments(call) if status in {None, deployment.status}
    ]
    deployments = [deployment for deployment in deployments if not after or deployment.id < after]
    links = {"next": deployments[size - 1].id} if len(deployments) > size else {}
    return answer(
        {
            "data": [deployment_listed(deployment) for deployment in deployments[:size]],
            "pagination": links,
        }
    )


def retrieve(call: ApiCall) -> Response:
    """`GET /api/v1/deployments/{deployment}`."""
    deployment = named(call)
    worker = call.world.workers.get(deployment.worker or "")
    return answer(deployment_shown(deployment, worker))


def current(call: ApiCall) -> Response:
    """`GET /api/v1/deployments/current`: the promoted one."""
    worker = call.world.current.get(call.env.id)
    deployment = next(
        (
            deployment
            for deployment in _deployments(call)
            if worker and deployment.worker == worker.id
        ),
        None,
    )
    if deployment is None:
        raise ApiRefusal(404, {"error": "Not found"}, headers={"x-should-retry": "false"})
    return answer({k: v for k, v in deployment_listed(deployment).items() if k != "git"})


def latest(_: ApiCall) -> Response:
    """`GET /api/v1/deployments/latest`: of workers that the CLI no longer makes."""
    raise refused(404, "Deployment not found")


def promote(call: ApiCall) -> Response:
    """`POST /api/v1/deployments/{version}/promote`: runs that start from now on are of it."""
    world, version = call.world, str(call.params["deployment"])
    deployment = next(
        (deployment for deployment in _deployments(call) if deployment.version == version), None
    )
    worker = world.workers.get(deployment.worker or "") if deployment else None
    if deployment is None:
        raise refused(404, "Deployment not found")
    if worker is None:
        raise refused(400, "Deployment is not associated with a worker and cannot be promoted.")
    if deployment.status != "DEPLOYED":
        raise refused(400, "Deployment must be in the DEPLOYED state to be promoted.")
    before = world.current.get(call.env.id)
    if before is worker:
        raise refused(400, "Deployment is already the current deployment.")
    older = before is not None and _age(worker) < _age(before)
    if older and call.query.get("allowRollbacks") != "true":
        raise refused(400, "Cannot promote a deployment that is older than the current deployment.")
    workers.promote(world, call.env, worker)
    return answer({"id": deployment.id, "version": version, "shortCode": bare(deployment.id)[-8:]})


def named(call: ApiCall) -> Deployment:
    """The deployment in the path."""
    for deployment in _deployments(call):
        if deployment.id == str(call.params["deployment"]):
            return deployment
    raise refused(404, "Deployment not found")


def _deployments(call: ApiCall) -> list[Deployment]:
    deployments = [
        deployment
        for deployment in call.world.deployments.values()
        if deployment.env == call.env.id
    ]
    deployed = {deployment.worker for deployment in deployments}
    registers = call.env.type != "DEVELOPMENT"
    workers = [
        worker for worker in call.world.workers.values() if registers and worker.env == call.env.id
    ]
    deployments += [_registered(worker) for worker in workers if worker.id not in deployed]
    return sorted(
        deployments, key=lambda deployment: (deployment.created_at, deployment.id), reverse=True
    )


def _registered(worker: WorkerVersion) -> Deployment:
    return Deployment(
        id=f"deployment_{bare(worker.id)}",
        env=worker.env,
        version=worker.version,
        content_hash=worker.content_hash,
        created_at=worker.created_at,
        status="DEPLOYED",
        worker=worker.id,
        deployed_at=worker.created_at,
    )


def _age(worker: WorkerVersion) -> tuple[int, str]:
    return worker.created_at, worker.id
