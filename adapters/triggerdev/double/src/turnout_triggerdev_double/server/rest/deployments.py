"""Deployments of an environment other than dev: which there are, and which one is current.

Beside those that `trigger deploy` makes, a worker that registers with a deployed environment's key
counts as deployed and promoted: that is how the stand-in serves one.
"""

from starlette.responses import Response

from turnout_triggerdev_double.server import workers
from turnout_triggerdev_double.server.answers import deployment_listed, deployment_shown
from turnout_triggerdev_double.server.errors import Refusal, refused
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.records import Deployment, Worker
from turnout_triggerdev_double.server.rest.listing import page_size
from turnout_triggerdev_double.server.wiring import Call, answer

FEWEST = 5


def list_deployments(call: Call) -> Response:
    """`GET /api/v1/deployments`, newest first; a page has 5 to 100."""
    size = max(FEWEST, page_size(call.query, default=20))
    wanted, after = call.query.get("status"), call.query.get("page[after]")
    known = [each for each in _known(call) if wanted in {None, each.status}]
    known = [each for each in known if not after or each.id < after]
    links = {"next": known[size - 1].id} if len(known) > size else {}
    return answer({"data": [deployment_listed(each) for each in known[:size]], "pagination": links})


def retrieve(call: Call) -> Response:
    """`GET /api/v1/deployments/{deployment}`."""
    deployment = named(call)
    worker = call.world.workers.get(deployment.worker or "")
    return answer(deployment_shown(deployment, worker))


def current(call: Call) -> Response:
    """`GET /api/v1/deployments/current`: the promoted one."""
    worker = call.world.current.get(call.env.id)
    found = next((each for each in _known(call) if worker and each.worker == worker.id), None)
    if found is None:
        raise Refusal(404, {"error": "Not found"}, headers={"x-should-retry": "false"})
    return answer({k: v for k, v in deployment_listed(found).items() if k != "git"})


def latest(_: Call) -> Response:
    """`GET /api/v1/deployments/latest`: of workers that the CLI no longer makes."""
    raise refused(404, "Deployment not found")


def promote(call: Call) -> Response:
    """`POST /api/v1/deployments/{version}/promote`: runs that start from now on are of it."""
    world, version = call.world, str(call.params["deployment"])
    found = next((each for each in _known(call) if each.version == version), None)
    worker = world.workers.get(found.worker or "") if found else None
    if found is None:
        raise refused(404, "Deployment not found")
    if worker is None:
        raise refused(400, "Deployment is not associated with a worker and cannot be promoted.")
    if found.status != "DEPLOYED":
        raise refused(400, "Deployment must be in the DEPLOYED state to be promoted.")
    before = world.current.get(call.env.id)
    if before is worker:
        raise refused(400, "Deployment is already the current deployment.")
    older = before is not None and _age(worker) < _age(before)
    if older and call.query.get("allowRollbacks") != "true":
        raise refused(400, "Cannot promote a deployment that is older than the current deployment.")
    workers.promote(world, call.env, worker)
    return answer({"id": found.id, "version": version, "shortCode": bare(found.id)[-8:]})


def named(call: Call) -> Deployment:
    """The deployment that the path names."""
    for each in _known(call):
        if each.id == str(call.params["deployment"]):
            return each
    raise refused(404, "Deployment not found")


def _known(call: Call) -> list[Deployment]:
    made = [each for each in call.world.deployments.values() if each.env == call.env.id]
    deployed = {each.worker for each in made}
    registers = call.env.type != "DEVELOPMENT"
    mine = [each for each in call.world.workers.values() if registers and each.env == call.env.id]
    made += [_registered(each) for each in mine if each.id not in deployed]
    return sorted(made, key=lambda each: (each.created_at, each.id), reverse=True)


def _registered(worker: Worker) -> Deployment:
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


def _age(worker: Worker) -> tuple[int, str]:
    return worker.created_at, worker.id
