"""Triggers of one run, or of many in batches of versions 1 to 3."""

from typing import Any

import orjson
from starlette.responses import Response

from turnout_triggerdev_double.server import batching, waiting
from turnout_triggerdev_double.server.access import new_jwt, use_once
from turnout_triggerdev_double.server.answers import batch_answer
from turnout_triggerdev_double.server.engine import release_key
from turnout_triggerdev_double.server.errors import ApiRefusal, not_found, refused
from turnout_triggerdev_double.server.ids import bare
from turnout_triggerdev_double.server.records import Batch, RunRecord
from turnout_triggerdev_double.server.rest.validation import checked_trigger
from turnout_triggerdev_double.server.triggering import Origin, new_batch_id, trigger
from turnout_triggerdev_double.server.wiring import ApiCall, answer

MAX_ITEMS = 500
MAX_STREAMED = 1000


def trigger_task(call: ApiCall) -> Response:
    """`POST /api/v1/tasks/{task}/trigger`."""
    body = checked_trigger(call.json())
    options = body.get("options") or {}
    use_once(call.world, call.token, f"trigger {call.params['task']}")
    run, cached = trigger(
        call.world,
        call.env,
        str(call.params["task"]),
        body,
        Origin(
            parent=options.get("parentRunId"),
            resume_parent=bool(options.get("resumeParentOnCompletion")),
            batch=options.get("parentBatch"),
            traceparent=call.headers.get("traceparent"),
            key=call.headers.get("idempotency-key"),
            key_ttl=call.headers.get("idempotency-key-ttl"),
        ),
    )
    scopes = [f"read:runs:{run.id}", f"write:inputStreams:{run.id}"]
    return answer({"id": run.id, "isCached": cached}, 200, token_headers(call, scopes))


def token_headers(call: ApiCall, scopes: list[str] | None = None) -> dict[str, str]:
    """Headers with a public token for the new run or batch, and with the token's claims."""
    claims: dict[str, Any] = {"sub": bare(call.env.id), "pub": True}
    if scopes:
        claims["scopes"] = scopes
    return {
        "x-trigger-jwt": new_jwt(call.world, call.env, claims),
        "x-trigger-jwt-claims": orjson.dumps(claims).decode(),
    }


def batch_tasks(call: ApiCall) -> Response:
    """`POST /api/v2/tasks/batch`: all items in one body."""
    use_once(call.world, call.token, "batch trigger")
    batch, _ = _whole_batch(call, generation=2)
    return answer(
        {"id": batch.id, "isCached": False, "runCount": batch.run_count},
        202,
        token_headers(call, [f"read:batch:{batch.id}"]),
    )


def batch_tasks_v1(call: ApiCall) -> Response:
    """`POST /api/v1/tasks/batch`: like version 2, but the answer lists the runs."""
    batch, runs = _whole_batch(call, generation=1)
    view = [{"id": run.id, "isCached": cached, "taskIdentifier": run.task} for run, cached in runs]
    headers = token_headers(call, [f"read:batch:{batch.id}"])
    return answer({"id": batch.id, "isCached": False, "runs": view}, 202, headers)


def batch_one_task(call: ApiCall) -> Response:
    """`POST /api/v1/tasks/{task}/batch`: items of one task."""
    batch, runs = _whole_batch(call, generation=1, task=str(call.params["task"]))
    return answer({"batchId": batch.id, "runs": [run.id for run, _ in runs]}, 200)


def _whole_batch(
    call: ApiCall, *, generation: int, task: str | None = None
) -> tuple[Batch, list[tuple[RunRecord, bool]]]:
    body = call.fields()
    items = body.get("items")
    if not isinstance(items, list) or not items:
        raise refused(400, 'Validation error: Required at "items"')
    if len(items) > MAX_ITEMS:
        count = len(items)
        raise refused(
            413, f"Batch size of {count} is too large. Maximum allowed batch size is {MAX_ITEMS}."
        )
    checked = [checked_trigger(item, f"items[{index}].") for index, item in enumerate(items)]
    batch = _new_batch(call, body, len(items), generation)
    runs = [
        _add_item(call, batch, index, task or str(item.get("task")), item)
        for index, item in enumerate(checked)
    ]
    _seal(call, batch)
    return batch, runs


def create_batch(call: ApiCall) -> Response:
    """`POST /api/v3/batches`: an empty batch, filled by its items."""
    body = call.fields()
    count = body.get("runCount")
    if not isinstance(count, int) or not 0 < count <= MAX_STREAMED:
        raise refused(400, 'Validation error: Number must be between 1 and 1000 at "runCount"')
    use_once(call.world, call.token, "create batch")
    key = body.get("idempotencyKey") or call.headers.get("idempotency-key")
    existing = call.world.batches.get(call.world.batch_keys.get((call.env.id, key or ""), ""))
    batch = existing or _new_batch(call, body, count, 3, key)
    view: dict[str, Any] = {
        "id": batch.id,
        "runCount": batch.run_count,
        "isCached": existing is not None,
    }
    if key:
        view["idempotencyKey"] = key
    scopes = [f"read:batch:{batch.id}"]
    if call.headers.get("x-trigger-client") == "browser":
        scopes.append(f"write:batch:{batch.id}")
    return answer(view, 202, token_headers(call, scopes))


def batch_items(call: ApiCall) -> Response:
    """`POST /api/v3/batches/{batch}/items`: one JSON object a line, each taken once."""
    batch = _batch(call)
    items = [_item(line, batch) for line in call.body.splitlines() if line.strip()]
    traceparent = call.headers.get("traceparent")
    accepted = sum(batching.take(batch, item, traceparent) for item in items)
    batching.expect(call.world, batch)
    view: dict[str, Any] = {
        "id": batch.id,
        "itemsAccepted": accepted,
        "itemsDeduplicated": len(items) - accepted,
        "sealed": batch.sealed,
        "runCount": batch.run_count,
    }
    if not batch.sealed:
        view |= {"enqueuedCount": len(batch.indexes), "expectedCount": batch.run_count}
    return answer(view)


def _item(line: bytes, batch: Batch) -> dict[str, Any]:
    try:
        item = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise refused(400, "Invalid JSON") from error
    checked = checked_trigger(item)
    if not isinstance(checked.get("index"), int) or not isinstance(checked.get("task"), str):
        raise refused(400, 'Validation error: Required at "index" or "task"')
    if checked["index"] >= batch.run_count:
        text = f"Item index {checked['index']} exceeds batch runCount {batch.run_count}"
        raise refused(422, text)
    return checked


def _new_batch(
    call: ApiCall, body: dict[str, Any], count: int, generation: int, key: str | None = None
) -> Batch:
    now = call.world.now()
    batch = Batch(
        id=new_batch_id(call.world),
        env=call.env.id,
        created_at=now,
        updated_at=now,
        run_count=count,
        generation=generation,
        parent=body.get("parentRunId"),
        resume_parent=bool(body.get("resumeParentOnCompletion")),
        idempotency_key=key,
    )
    call.world.add(batch)
    call.world.store.put(batch)
    return batch


def _add_item(
    call: ApiCall, batch: Batch, index: int, task: str, item: dict[str, Any]
) -> tuple[RunRecord, bool]:
    run, cached = trigger(
        call.world,
        call.env,
        task,
        item,
        Origin(
            batch=batch.id,
            batch_index=index,
            parent=batch.parent,
            resume_parent=batch.resume_parent,
            traceparent=call.headers.get("traceparent"),
        ),
    )
    batch.runs.append(run.id)
    return run, cached


def _seal(call: ApiCall, batch: Batch) -> None:
    batch.sealed = True
    waiting.batch_moved(call.world, batch.id)
    parent = call.world.runs.get(batch.parent or "")
    if parent is not None and batch.resume_parent:
        waiting.resume_if_unblocked(call.world, parent)


def _batch(call: ApiCall) -> Batch:
    batch = call.world.batches.get(str(call.params["batch"]))
    if batch is None or batch.env != call.env.id:
        raise not_found()
    return batch


def retrieve_batch(call: ApiCall) -> Response:
    """`GET /api/v1/batches/{batch}`."""
    return answer(batch_answer(_batch(call), processing=False))


def retrieve_batch_v2(call: ApiCall) -> Response:
    """`GET /api/v2/batches/{batch}`."""
    return answer(batch_answer(_batch(call), processing=True))


def batch_results(call: ApiCall) -> Response:
    """`GET /api/v1/batches/{batch}/results`: always empty, as on the real server."""
    return answer({"id": _batch(call).id, "items": []})


def reset_key(call: ApiCall) -> Response:
    """`POST /api/v1/idempotencyKeys/{key}/reset`."""
    task, key = call.fields().get("taskIdentifier"), str(call.params["key"])
    run_id = call.world.keys.get((call.env.id, str(task), key))
    if run_id is None:
        error = f"No runs found with idempotency key: {key} and task: {task}"
        raise ApiRefusal(404, {"error": error})
    run = call.world.runs[run_id]
    release_key(call.world, run)
    run.idempotency_key = None
    call.world.store.put(run)
    return answer({"id": key})
