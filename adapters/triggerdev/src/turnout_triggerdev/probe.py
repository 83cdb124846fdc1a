"""The way from the worker to the service, looked at by a vendor run: `doctor --through-worker`."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

from turnout.model.providers import Probing
from turnout_triggerdev.api import Api, text_of
from turnout_triggerdev.definition import PROBE_TASK
from turnout_triggerdev.statuses import status_of

EVERY: Final = 0.25
SLOW: Final = 1_000.0
"""Milliseconds of one call after which a run's steps take notably longer than their work."""
APART: Final = 60_000
"""Milliseconds between two clocks that are worth a word; five minutes refuse every call."""
UNAUTHORISED: Final = 401
MISMATCH: Final = 426


async def probe(
    api: Api, definition: str, patience: float, *, version: str | None = None
) -> Sequence[Probing]:
    """Start the worker's probe task, wait for its end and read what it saw.

    version: of the worker, where it is not the current one.
    """
    started = time.monotonic()
    options = {} if version is None else {"lockToVersion": version}
    body = {"payload": {}, "options": options}
    made = await api.post(f"/api/v1/tasks/{PROBE_TASK}/trigger", body)
    run_id = text_of(made or {}, "id")
    found = await _ended(api, run_id, started + patience)
    if found is None:
        await api.post(f"/api/v2/runs/{run_id}/cancel")
        return [_nobody(patience)]
    seen = found.get("output")
    if not isinstance(seen, dict):
        return [_failed(found)]
    return [_picked_up(time.monotonic() - started), *judged(seen, definition)]


async def _ended(api: Api, run_id: str, until: float) -> dict[str, Any] | None:
    while time.monotonic() < until:
        found = await api.get(f"/api/v3/runs/{run_id}")
        if found is not None and status_of(text_of(found, "status")).terminal:
            return dict(found)
        await asyncio.sleep(EVERY)
    return None


def judged(seen: dict[str, Any], definition: str) -> list[Probing]:
    """Say what the worker saw, check by check, up to the one that the others rest on."""
    url, status = str(seen.get("service")), seen.get("status")
    if not isinstance(status, int):
        return [_unreachable(url, str(seen.get("message")))]
    found = [_latency(url, seen.get("latency_ms")), *_clock(seen.get("clock_ms"))]
    if status == UNAUTHORISED:
        return [*found, _unsigned(str(seen.get("message")))]
    found.append(Probing(what="signature", ok=True, text="the service takes the worker's key"))
    theirs = str(seen.get("definition", ""))
    if status == MISMATCH or (definition and theirs != definition):
        return [*found, _stale(theirs, definition)]
    if not 200 <= status < 300:  # noqa: PLR2004 - success
        return [*found, _refused(status, str(seen.get("message")))]
    return [*found, Probing(what="definition", ok=True, text=f"{theirs[:12]} on both sides")]


def _nobody(patience: float) -> Probing:
    return Probing(
        what="worker",
        ok=False,
        text=f"no worker took the probe within {patience:.0f} s",
        fix="start the worker (trigger dev) or deploy it: turnout triggerdev deploy",
    )


def _failed(found: dict[str, Any]) -> Probing:
    error = found.get("error")
    told = error.get("message") if isinstance(error, dict) else None
    return Probing(
        what="worker",
        ok=False,
        text=f"the probe ended {found.get('status')}: {told or 'without an answer'}",
        fix="is TURNOUT_SIGNING_KEYS set in the worker's environment? turnout triggerdev deploy"
        " pushes it; then start or deploy the worker again",
    )


def _picked_up(seconds: float) -> Probing:
    return Probing(what="worker", ok=True, text=f"took the probe and ended it in {seconds:.1f} s")


def _unreachable(url: str, why: str) -> Probing:
    return Probing(
        what="network",
        ok=False,
        text=f"the worker cannot reach {url}: {why}",
        fix="set TURNOUT_SERVICE_URL to an address that the worker reaches, and start the service"
        " there; a tunnel in development (adapters/triggerdev/docs/network.md)",
    )


def _latency(url: str, latency: Any) -> Probing:
    slow = isinstance(latency, (int, float)) and latency > SLOW
    text = f"{url} answers the worker in {latency} ms"
    if not slow:
        return Probing(what="network", ok=True, text=text)
    fix = "bring worker and service into one region: each step takes one such call"
    return Probing(what="network", ok=False, text=f"{text}: slow", fix=fix)


def _clock(ahead: Any) -> list[Probing]:
    if not isinstance(ahead, (int, float)):
        return []
    fine = abs(ahead) <= APART
    word = "ahead of" if ahead >= 0 else "behind"
    text = f"the service is {abs(ahead) / 1000:.1f} s {word} the worker"
    fix = "" if fine else "set the clocks by NTP: beyond 300 s every call is refused"
    return [Probing(what="clock", ok=fine, text=text, fix=fix)]


def _unsigned(why: str) -> Probing:
    return Probing(
        what="signature",
        ok=False,
        text=f"the service refuses the worker's signature: {why}",
        fix="give both the same TURNOUT_SIGNING_KEYS: turnout triggerdev deploy pushes the"
        " service's to the worker's environment",
    )


def _stale(theirs: str, ours: str) -> Probing:
    return Probing(
        what="definition",
        ok=False,
        text=f"the worker has definition {theirs[:12]}, the app {ours[:12]}",
        fix="turnout triggerdev build, then start or deploy the worker again",
    )


def _refused(status: int, why: str) -> Probing:
    return Probing(
        what="service",
        ok=False,
        text=f"the service answers {status}: {why}",
        fix="is TURNOUT_SERVICE_URL the service's own address, and its version the adapter's?",
    )
