"""The vendor's alert webhooks: they report what a dead worker could not report itself.

The vendor sends them for failed runs only, and signs neither a time nor an id. So an alert is a
hint, like every report: we read the run, and a replayed alert costs one more read.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from turnout.errors import InvalidJson, TurnoutError
from turnout.model.canonical import parse
from turnout.model.protocol import Report, ReportEvent
from turnout.model.runs import read_delivery_key
from turnout.model.time import Millis
from turnout.ports.clock import Clock
from turnout.ports.worker import Worker
from turnout_triggerdev.settings import ALERT_SECRETS

MOUNT: Final = "/turnout/triggerdev"
SIGNATURE: Final = "x-trigger-signature-hmacsha256"
LARGEST: Final = 1024 * 1024
READ_SECONDS: Final = 20
"""How long an alert may take to come."""
TAG: Final = "turnout:"
EVENTS: Final[Mapping[str, ReportEvent]] = {
    "CRASHED": ReportEvent.CRASHED,
    "SYSTEM_FAILURE": ReportEvent.CRASHED,
    "TIMED_OUT": ReportEvent.TIMED_OUT,
    "CANCELED": ReportEvent.CANCELLED,
}
"""Vendor status → event of the report; every other status is reported as `failed`."""

log = logging.getLogger(__name__)


def secrets_of(settings: Mapping[str, str]) -> tuple[str, ...]:
    """Read the alert channel's secrets, separated by commas: several while one is replaced."""
    secrets = settings.get(ALERT_SECRETS, "").split(",")
    return tuple(secret.strip() for secret in secrets if secret.strip())


def alerts(secrets: Sequence[str], worker: Worker, clock: Clock) -> Starlette:
    """Make the application that receives alerts at `<mount>/alerts`."""

    async def take(request: Request) -> Response:
        signature = request.headers.get(SIGNATURE, "")
        unsigned = not signature or not secrets
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = b"" if unsigned else await _bounded(request)
        except TimeoutError:
            return _message(408, f"the alert did not come within {READ_SECONDS} seconds")
        refused = _refusal(body, signature, secrets)
        if refused is not None:
            return refused
        try:
            report = report_of(parse(body or b"", max_bytes=LARGEST), clock.now())
        except (InvalidJson, ValueError, TypeError, KeyError, AttributeError):
            return _message(400, "the body is not an alert")
        if report is None:
            return _message(200, "not a run of this service")
        try:
            await worker.answer(report)
        except TurnoutError as error:
            log.warning("alert not taken", extra={"action": "alert", "error": str(error)})
            return _message(503, str(error))
        return _message(202, f"run {report.run_id} is looked at")

    return Starlette(routes=[Route("/alerts", take, methods=["POST"])])


def _refusal(body: bytes | None, signature: str, secrets: Sequence[str]) -> Response | None:
    if body is None:
        return _message(413, f"an alert has at most {LARGEST:,} bytes")
    if not secrets:
        return _message(401, f"this service has no {ALERT_SECRETS}, so it takes no alerts")
    if not signed(body, signature, secrets):
        return _message(401, f"the header {SIGNATURE} is missing or wrong")
    return None


def signed(body: bytes, signature: str, secrets: Sequence[str]) -> bool:
    """Whether one of the secrets signed the body; compares in constant time."""
    claimed = signature.strip().lower().encode()
    signatures = (hmac.new(secret.encode(), body, hashlib.sha256).hexdigest() for secret in secrets)
    return any([hmac.compare_digest(expected.encode(), claimed) for expected in signatures])  # noqa: C419 - all of them


def report_of(alert: Any, now: Millis) -> Report | None:
    """Make a report of an alert; None when it is not of a failed run, or not of a run of ours."""
    if alert["type"] != "alert.run.failed":
        return None
    run, task = alert["object"]["run"], alert["object"]["task"]
    tags = [str(tag) for tag in run.get("tags") or ()]
    key = next((tag.removeprefix(TAG) for tag in tags if tag.startswith(TAG)), None)
    if key is None:
        return None
    run_id, number = read_delivery_key(key)
    return Report(
        task=str(task["id"]),
        run_id=run_id,
        delivery=number,
        provider_run_id=str(run["id"]),
        event=EVENTS.get(str(run["status"]), ReportEvent.FAILED),
        at=now,
    )


async def _bounded(request: Request) -> bytes | None:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            return None
    return bytes(body)


def _message(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status_code=status)
