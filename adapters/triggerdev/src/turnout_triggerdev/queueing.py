"""Why runs stand in line at the vendor: the environment is full, or no worker takes them."""

from typing import Any, Final

from turnout.model.providers import Notice
from turnout.model.time import Millis
from turnout_triggerdev.api import Api, items_of
from turnout_triggerdev.moments import moment_of

LATE: Final[Millis] = 20_000
"""How long a run may be queued: the vendor's list lags, and a worker needs time to start."""
PAGE: Final = 100
"""Runs of each status that are read."""


async def queueing(api: Api, slots: int | None, now: Millis) -> list[Notice]:
    """Say why runs are queued for long; nothing where none are."""
    queued = await _listed(api, "QUEUED")
    late = [run for run in queued if now - (moment_of(run.get("createdAt")) or now) >= LATE]
    if not late:
        return []
    executing = len(await _listed(api, "EXECUTING,DEQUEUED"))
    line = f"{_count(late)} run(s) have been queued for more than {LATE // 1_000} s"
    if slots is not None and executing >= slots:
        return [
            Notice(
                text=f"the environment is full: all of its {slots} slots are taken, and {line}",
                fix="wait, or raise the environment's concurrency limit; where runs that wait hold"
                " the slots, see TURNOUT_TRIGGER_RELEASE_AFTER",
            )
        ]
    of = "" if slots is None else f" of {slots}"
    return [
        Notice(
            text=f"no worker takes runs: {line}, and {executing}{of} slots are taken",
            fix="start the worker (npx trigger dev), or deploy it, and see its log",
        )
    ]


async def _listed(api: Api, status: str) -> list[Any]:
    params = {"filter[status]": status, "page[size]": PAGE}
    return list(items_of(await api.get("/api/v1/runs", params=params) or {}))


def _count(runs: list[Any]) -> str:
    return f"{PAGE} or more" if len(runs) >= PAGE else str(len(runs))
