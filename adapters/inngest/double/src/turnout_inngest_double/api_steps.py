"""What applications say beside their answers: steps of a call under way, and signals.

What the vendor's server offers beside these and this one does not is refused in words.
"""

import orjson
from starlette.requests import Request
from starlette.responses import Response

from turnout_inngest_double.outcome import RESULT_OPS, read_op
from turnout_inngest_double.replies import BadBody, engine_of, json_of, reply

SYNC_OPS = RESULT_OPS | {"StepPlanned"}


async def post_checkpoint(request: Request) -> Response:
    """`POST /v1/checkpoint/{run}/async`: keep the steps; 404 for a run that is not under way."""
    engine = engine_of(request)
    body = await json_of(request)
    run = engine.world.runs.get(request.path_params["run"])
    if run is None or run.ended:
        return reply({"error": "run not found", "status": 404}, 404)
    try:
        ops = [read_op(raw) for raw in body["steps"]]
    except (KeyError, TypeError, AttributeError):
        raise BadBody("steps that cannot be read") from None
    if not all(op.op in SYNC_OPS for op in ops):
        return reply({"error": "cannot checkpoint async steps", "status": 500}, 500)
    engine.runner.checkpoint(run, ops)
    await engine.store.settled()
    return reply({})


async def post_signal(request: Request) -> Response:
    """`POST /v1/signals`: the run that waits for it goes on; 404 if none does."""
    engine = engine_of(request)
    body = await json_of(request)
    if not isinstance(body, dict) or not isinstance(body.get("signal"), str):
        raise BadBody("no signal")
    run = engine.runner.signal_came(body["signal"], orjson.dumps(body.get("data")))
    if run is None:
        return reply({"error": "No signal found", "status": 404}, 404)
    await engine.store.settled()
    return reply({"data": {"run_id": run}, "metadata": {}})


async def refuse(request: Request) -> Response:
    """What is not served, at once; 501, as the vendor's own server says of some."""
    path = f"{request.method} {request.url.path}"
    return reply({"error": f"the offline server does not serve {path}", "status": 501}, 501)
