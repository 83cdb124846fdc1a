"""Checks the way from the worker to the service by a vendor run: `doctor --through-worker`."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from turnout.model.providers import ProbeResult
from turnout_triggerdev.api import Api, text_of
from turnout_triggerdev.definition import PROBE_TASK
from turnout_triggerdev.statuses import status_of

POLL_SECONDS: Final = 0.25
SLOW: Final = 1_000.0
"""Milliseconds; slower calls notably prolong a run's steps."""
APART: Final = 60_000
"""Milliseconds; clocks that differ by more are reported. Five minutes would refuse every call."""
UNAUTHORISED: Final = 401
MISMATCH: Final = 426


async def probe(
    api: Api, definition: str, patience: float, *, version: str | None = None
) -> Sequence[ProbeResult]:
    """Start the worker's probe task, wait for its end and read its report.

    version: of the worker, when it is not the current one.
    """
    started = time.monotonic()
    options = {} if version is None else {"lockToVersion": version}
    body = {"payload": {}, "options": options}
    triggered = await api.post(f"/api/v1/tasks/{PROBE_TASK}/trigger", body)
    run_id = text_of(triggered or {}, "id")
    run = await _ended(api, run_id, started + patience)
    if run is None:
        await api.post(f"/api/v2/runs/{run_id}/cancel")
        return [_nobody(patience)]
    report = run.get("output")
    if not isinstance(report, dict):
        return [_failed(run)]
    return [_picked_up(time.monotonic() - started), *judged(report, definition)]


async def _ended(api: Api, run_id: str, until: float) -> dict[str, Any] | None:
    while time.monotonic() < until:
        run = await api.get(f"/api/v3/runs/{run_id}")
        if run is not None and status_of(text_of(run, "status")).terminal:
            return dict(run)
        await asyncio.sleep(POLL_SECONDS)
    return None


def judged(report: dict[str, Any], definition: str) -> list[ProbeResult]:
    """Read the worker's report, check by check, up to the first failure that hides the others."""
    url, status = str(report.get("service")), report.get("status")
    if not isinstance(status, int):
        return [_unreachable(url, str(report.get("message")))]
    checks = [_latency(url, report.get("latency_ms")), *_clock(report.get("clock_ms"))]
    if status == UNAUTHORISED:
        return [*checks, _unsigned(str(report.get("message")))]
    text = "the service takes the worker's key"
    checks.append(ProbeResult(subject="signature", ok=True, text=text))
    worker_definition = str(report.get("definition", ""))
    if status == MISMATCH or (definition and worker_definition != definition):
        return [*checks, _stale(worker_definition, definition)]
    if not 200 <= status < 300:  # noqa: PLR2004 - success
        return [*checks, _refused(status, str(report.get("message")))]
    return [
        *checks,
        ProbeResult(subject="definition", ok=True, text=f"{worker_definition[:12]} on both sides"),
    ]


def _nobody(patience: float) -> ProbeResult:
    return ProbeResult(
        subject="worker",
        ok=False,
        text=f"no worker took the probe within {patience:.0f} s",
        fix="start the worker (trigger dev) or deploy it: turnout triggerdev deploy",
    )


def _failed(run: dict[str, Any]) -> ProbeResult:
    error = run.get("error")
    message = error.get("message") if isinstance(error, dict) else None
    return ProbeResult(
        subject="worker",
        ok=False,
        text=f"the probe ended {run.get('status')}: {message or 'without an answer'}",
        fix="is TURNOUT_SIGNING_KEYS set in the worker's environment? turnout triggerdev deploy"
        " pushes it; then start or deploy the worker again",
    )


def _picked_up(seconds: float) -> ProbeResult:
    text = f"took the probe and ended it in {seconds:.1f} s"
    return ProbeResult(subject="worker", ok=True, text=text)


def _unreachable(url: str, reason: str) -> ProbeResult:
    return ProbeResult(
        subject="network",
        ok=False,
        text=f"the worker cannot reach {url}: {reason}",
        fix="set TURNOUT_SERVICE_URL to an address that the worker reaches, and start the service"
        " there; a tunnel in development (adapters/triggerdev/docs/network.md)",
    )


def _latency(url: str, latency: Any) -> ProbeResult:
    slow = isinstance(latency, (int, float)) and latency > SLOW
    text = f"{url} answers the worker in {latency} ms"
    if not slow:
        return ProbeResult(subject="network", ok=True, text=text)
    fix = "bring worker and service into one region: each step takes one such call"
    return ProbeResult(subject="network", ok=False, text=f"{text}: slow", fix=fix)


def _clock(ahead: Any) -> list[ProbeResult]:
    if not isinstance(ahead, (int, float)):
        return []
    fine = abs(ahead) <= APART
    word = "ahead of" if ahead >= 0 else "behind"
    text = f"the service is {abs(ahead) / 1000:.1f} s {word} the worker"
    fix = "" if fine else "set the clocks by NTP: beyond 300 s every call is refused"
    return [ProbeResult(subject="clock", ok=fine, text=text, fix=fix)]


def _unsigned(reason: str) -> ProbeResult:
    return ProbeResult(
        subject="signature",
        ok=False,
        text=f"the service refuses the worker's signature: {reason}",
        fix="give both the same TURNOUT_SIGNING_KEYS: turnout triggerdev deploy pushes the"
        " service's to the worker's environment",
    )


def _stale(worker_definition: str, app_definition: str) -> ProbeResult:
    return ProbeResult(
        subject="definition",
        ok=False,
        text=f"the worker has definition {worker_definition[:12]}, the app {app_definition[:12]}",
        fix="turnout triggerdev build, then start or deploy the worker again",
    )


def _refused(status: int, reason: str) -> ProbeResult:
    return ProbeResult(
        subject="service",
        ok=False,
        text=f"the service answers {status}: {reason}",
        fix="is TURNOUT_SERVICE_URL the service's own address, and its version the adapter's?",
    )
