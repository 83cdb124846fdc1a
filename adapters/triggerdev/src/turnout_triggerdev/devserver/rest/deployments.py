"""Deployments: what was registered in an environment other than dev, and which one is current.

Nothing is built here: a worker that registers with a deployed environment's key counts as deployed,
and as promoted, since that is what a deploy does.
"""

from typing import Any

from starlette.responses import Response

from turnout_triggerdev.devserver import engine
from turnout_triggerdev.devserver.errors import Refusal, refused
from turnout_triggerdev.devserver.ids import bare
from turnout_triggerdev.devserver.records import Worker
from turnout_triggerdev.devserver.rest.listing import page_size
from turnout_triggerdev.devserver.times import iso
from turnout_triggerdev.devserver.wiring import Call, answer

FEWEST = 5


def list_deployments(call: Call) -> Response:
    """`GET /api/v1/deployments`, newest first; a page has 5 to 100."""
    size = max(FEWEST, page_size(call.query, default=20))
    wanted = call.query.get("status") or "DEPLOYED"
    known = _known(call) if wanted == "DEPLOYED" else []
    after = call.query.get("page[after]")
    if after:
        known = [each for each in known if _id(each) < after]
    links = {"next": _id(known[size - 1])} if len(known) > size else {}
    return answer({"data": [_shown(each) for each in known[:size]], "pagination": links})


def retrieve(call: Call) -> Response:
    """`GET /api/v1/deployments/{deployment}`."""
    for each in _known(call):
        if _id(each) == str(call.params["deployment"]):
            return answer(_shown(each))
    raise refused(404, "Deployment not found")


def current(call: Call) -> Response:
    """`GET /api/v1/deployments/current`: the promoted one."""
    worker = call.world.current.get(call.env.id)
    if worker is None or not _known(call):
        raise Refusal(404, {"error": "Not found"}, headers={"x-should-retry": "false"})
    return answer(_shown(worker))


def latest(call: Call) -> Response:
    """`GET /api/v1/deployments/latest`: the newest one, promoted or not."""
    known = _known(call)
    if not known:
        raise refused(404, "Deployment not found")
    return answer(_shown(known[0]) | {"contentHash": known[0].content_hash})


def promote(call: Call) -> Response:
    """`POST /api/v1/deployments/{version}/promote`: runs that start from now on are of it."""
    world, version = call.world, str(call.params["deployment"])
    worker = next((each for each in _known(call) if each.version == version), None)
    if worker is None:
        raise refused(404, "Deployment not found")
    before = world.current.get(call.env.id)
    if before is worker:
        raise refused(400, "Deployment is already the current deployment.")
    older = before is not None and _age(worker) < _age(before)
    if older and call.query.get("allowRollbacks") != "true":
        raise refused(400, "Cannot promote a deployment that is older than the current deployment.")
    worker.current_since = world.now()
    world.current[call.env.id] = worker
    world.store.put(worker)
    engine.version_arrived(world, call.env.id)
    return answer({"id": _id(worker), "version": version, "shortCode": _short(worker)})


def _known(call: Call) -> list[Worker]:
    if call.env.type == "DEVELOPMENT":
        return []
    mine = [each for each in call.world.workers.values() if each.env == call.env.id]
    return sorted(mine, key=_age, reverse=True)


def _age(worker: Worker) -> tuple[int, str]:
    return worker.created_at, worker.id


def _id(worker: Worker) -> str:
    return f"deployment_{bare(worker.id)}"


def _short(worker: Worker) -> str:
    return bare(worker.id)[-8:]


def _shown(worker: Worker) -> dict[str, Any]:
    return {
        "id": _id(worker),
        "createdAt": iso(worker.created_at),
        "shortCode": _short(worker),
        "version": worker.version,
        "runtime": "node",
        "runtimeVersion": None,
        "status": "DEPLOYED",
        "deployedAt": iso(worker.created_at),
    }
