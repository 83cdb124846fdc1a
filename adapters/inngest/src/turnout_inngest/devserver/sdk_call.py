"""Builds and sends one call to an application."""

import secrets
from dataclasses import dataclass
from typing import Any

import orjson

from turnout_inngest.devserver import ids, outcome, signing
from turnout_inngest.devserver.functions import Function
from turnout_inngest.devserver.http_client import HttpClient, NoAnswer
from turnout_inngest.devserver.options import Options
from turnout_inngest.devserver.state import ROOT_STEP, Job, Run
from turnout_inngest.devserver.world import World, batch_payloads

MAX_INLINE = 4 * 1024 * 1024
"""Larger requests leave events and steps out; the SDK fetches them from the API."""
TIMEOUT_S = 7_200.0


@dataclass(frozen=True, kw_only=True)
class Call:
    url: str
    headers: dict[str, str]
    body: bytes


def build(world: World, function: Function, run: Run, job: Job, now_ms: int) -> Call:
    """The request that asks the application for the run's next step, or for a certain one."""
    batch = batch_payloads(world, run.events) or [b'{"name":"","data":{}}']
    size = sum(map(len, batch)) + sum(map(len, run.memos.values()))
    is_large = size > MAX_INLINE
    body: dict[str, Any] = {
        "ctx": _context(function, run, job, now_ms, use_api=is_large),
        "defers": {},
        "event": orjson.Fragment(batch[0]),
        "events": None if is_large else [orjson.Fragment(event) for event in batch],
        "steps": {} if is_large else {k: orjson.Fragment(v) for k, v in run.memos.items()},
        "use_api": is_large,
        "version": run.version,
    }
    return Call(
        url=function.url.replace(f"stepId={ROOT_STEP}", f"stepId={job.step}"),
        headers={
            "Content-Type": "application/json",
            "User-Agent": "Inngest",
            "traceparent": f"00-{run.trace}-{job.group}-01",
            "x-inngest-req-version": str(run.version),
            "x-inngest-job-id": job.id,
            "x-request-id": body["ctx"]["request_id"],
            "x-run-id": run.id,
        },
        body=orjson.dumps(body),
    )


def _context(
    function: Function, run: Run, job: Job, now_ms: int, *, use_api: bool
) -> dict[str, Any]:
    return {
        "attempt": job.attempt,
        "disable_immediate_execution": job.step != ROOT_STEP or bool(run.pending),
        "env": "",
        "fn_id": function.uuid,
        "generation_id": 1,
        "job_id": job.id,
        "max_attempts": function.retries + 1,
        "qi_id": job.id,
        "request_id": ids.ulid(now_ms),
        "run_id": run.id,
        "stack": {"current": len(run.stack), "stack": run.stack},
        "step_id": ROOT_STEP,
        "use_api": use_api,
    }


async def send(http: HttpClient, options: Options, call: Call, now_ms: int) -> outcome.Outcome:
    """What came back; an application that cannot be reached is a failed attempt."""
    headers = {**call.headers, "x-inngest-server-kind": options.kind}
    if options.signing_key:
        headers["x-inngest-signature"] = signing.request_signature(
            options.signing_key, call.body, now_ms
        )
    try:
        reply = await http.send("POST", call.url, headers, call.body, TIMEOUT_S)
    except NoAnswer as error:
        return outcome.unreachable(str(error))
    signature = reply.headers.get("x-inngest-signature")
    if options.signing_key and signature is not None:  # noqa: SIM102 - two questions
        if not signing.is_signed(options.signing_key, reply.body, signature):
            return outcome.unreachable("the reply's signature is wrong")
    return outcome.read(reply)


def new_trace() -> str:
    return secrets.token_hex(16)
