"""Checks the way to the service: whether it answers, latency, clock, definition."""

import time
from typing import Any

from turnout_triggerdev_double.standin.http_client import HttpAnswer, NoResponse
from turnout_triggerdev_double.standin.loop import now_ms
from turnout_triggerdev_double.standin.service import StepService

TRIES = 5


async def probe(service: StepService, url: str, definition: str) -> dict[str, Any]:
    """Call the service a few times; the quickest call is the latency."""
    message = {"protocol": 1, "op": "probe", "definition": definition}
    about = {"service": url, "definition": definition}
    tries: list[tuple[float, int, HttpAnswer]] = []
    for _ in range(TRIES):
        sent_at, began = now_ms(), time.perf_counter()
        try:
            answer = await service.once(message)
        except NoResponse as error:
            if not tries:
                return {**about, **_outcome(None, code="unreachable", message=str(error))}
            break
        tries.append((time.perf_counter() - began, sent_at, answer))
    took, sent_at, answer = min(tries, key=lambda attempt: attempt[0])
    fields = answer.fields()
    at = fields.get("at")
    upcoming = at - (sent_at + took * 500) if isinstance(at, int) else None
    return {
        **about,
        **_outcome(answer.status, code=fields.get("code"), message=fields.get("message")),
        "latency_ms": round(took * 1000, 1),
        "clock_ms": None if upcoming is None else round(upcoming),
    }


def _outcome(status: int | None, *, code: object, message: object) -> dict[str, Any]:
    return {
        "status": status,
        "code": code,
        "message": message,
        "latency_ms": None,
        "clock_ms": None,
    }
