"""Builds and sends one call to an application."""

import secrets
from dataclasses import dataclass
from typing import Any

import orjson

from turnout_inngest_double import connect_wire as wire
from turnout_inngest_double import ids, outcome, signing
from turnout_inngest_double.clock import Clock
from turnout_inngest_double.functions import Function
from turnout_inngest_double.gateway import Gateway, NoWorker
from turnout_inngest_double.http_client import ApplicationClient, NoAnswer, Reply
from turnout_inngest_double.options import Options
from turnout_inngest_double.state import ROOT_STEP, Job, Run
from turnout_inngest_double.world import World, batch_payloads

MAX_INLINE = 4 * 1024 * 1024
"""Larger requests leave events and steps out; the SDK fetches them from the API."""
TIMEOUT_S = 7_200.0


@dataclass(frozen=True, kw_only=True)
class SdkRequest:
    """One request, ready to be sent."""

    url: str
    headers: dict[str, str]
    body: bytes
    request: wire.Request
    """The same for a worker that holds a socket."""


def build(world: World, function: Function, run: Run, job: Job, now_ms: int) -> SdkRequest:
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
    payload = orjson.dumps(body)
    return SdkRequest(
        request=wire.Request(
            request_id=body["ctx"]["request_id"],
            app=run.app,
            slug=function.slug,
            step=job.step,
            run_id=run.id,
            job_id=job.id,
            lease=body["ctx"]["request_id"],
            payload=payload,
        ),
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
        body=payload,
    )


def _context(
    function: Function, run: Run, job: Job, now_ms: int, *, use_api: bool
) -> dict[str, Any]:
    return {
        "attempt": job.attempt,
        "disable_immediate_execution": run.plans_all,
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


class Caller:
    """Sends calls by HTTP, or down the socket of a connected worker."""

    def __init__(
        self, http: ApplicationClient, gateway: Gateway, options: Options, clock: Clock
    ) -> None:
        self.http = http
        self._gateway = gateway
        self._options = options
        self._clock = clock

    async def send(self, call: SdkRequest) -> outcome.Outcome:
        """What came back; an application that cannot be reached is a failed attempt."""
        try:
            if call.url.startswith(("ws://", "wss://")):
                return outcome.read(await self._gateway.send(call.request))
            return outcome.read(await self._post(call))
        except NoWorker as error:
            return outcome.no_worker(str(error))
        except NoAnswer as error:
            return outcome.unreachable(str(error))

    async def _post(self, call: SdkRequest) -> Reply:
        headers = {**call.headers, "x-inngest-server-kind": self._options.kind}
        key = self._options.signing_key
        if key is None:
            return await self.http.send("POST", call.url, headers, call.body, TIMEOUT_S)
        headers["x-inngest-signature"] = signing.request_signature(
            key, call.body, self._clock.now()
        )
        reply = await self.http.send("POST", call.url, headers, call.body, TIMEOUT_S)
        signature = reply.headers.get("x-inngest-signature")
        if signature is not None and not signing.is_signed(key, reply.body, signature):
            raise NoAnswer("the reply's signature is wrong")
        return reply


def new_trace() -> str:
    """A fresh trace id."""
    return secrets.token_hex(16)
