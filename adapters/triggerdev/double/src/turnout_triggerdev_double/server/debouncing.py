"""Debounced triggers: one delayed run answers for all that come while it waits.

Source: a self-hosted 4.5.12 server. Each later trigger pushes the run back by its delay, rounded
down to a second, until an hour (or `maxDelay`) after the first; `trailing` also takes the later
payload, tags and metadata. The answer is the same run, with `isCached: false`.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from turnout_triggerdev_double.server import engine
from turnout_triggerdev_double.server.errors import refused
from turnout_triggerdev_double.server.records import RunRecord
from turnout_triggerdev_double.server.superjson import JSON, text_of
from turnout_triggerdev_double.server.times import duration
from turnout_triggerdev_double.server.world import OfflineWorld

LONGEST = 3_600_000
SECOND = 1_000


def pushed(world: OfflineWorld, env: str, task: str, body: Mapping[str, Any]) -> RunRecord | None:
    """The delayed run that this trigger pushes back; None when it starts a run of its own."""
    debounce = (body.get("options") or {}).get("debounce")
    if debounce is None:
        return None
    delay, longest = _lengths(debounce)
    run = world.runs.get(world.debounced.get((env, task, debounce["key"]), ""))
    if run is None or run.status != "DELAYED":
        return None
    until = (world.now() + delay) // SECOND * SECOND
    if until > run.created_at + longest:
        return None
    if debounce.get("mode") == "trailing":
        _take(world, run, body)
    if until > (run.delayed_until or 0):
        run.delayed_until = until
        engine.enqueue(world, run)
    return run


def _lengths(debounce: Mapping[str, Any]) -> tuple[int, int]:
    delay = duration(debounce["delay"])
    if delay is None or delay < SECOND:
        raise refused(
            422, f"Debounce requires a valid delay duration. Provided: {debounce['delay']}"
        )
    longest = LONGEST
    if debounce.get("maxDelay") is not None:
        longest = duration(str(debounce["maxDelay"])) or LONGEST
        if longest <= delay:
            raise refused(
                422,
                f"debounce.maxDelay ({debounce['maxDelay']}) must be longer than debounce.delay"
                f" ({debounce['delay']}). A debounced run is only pushed back while it stays inside"
                " maxDelay, so with these values every trigger would create its own run.",
            )
    return delay, longest


def _take(world: OfflineWorld, run: RunRecord, body: Mapping[str, Any]) -> None:
    """Give the run the payload, tags and metadata of the later trigger."""
    options = body.get("options") or {}
    if "payload" in body:
        run.payload_type = options.get("payloadType") or JSON
        run.payload = text_of(body["payload"], run.payload_type)
    if options.get("metadata") is not None:
        metadata = options["metadata"]
        run.metadata = metadata if isinstance(metadata, str) else orjson.dumps(metadata).decode()
    tags = options.get("tags")
    if tags is not None:
        run.tags = sorted({tags} if isinstance(tags, str) else set(tags))
        world.tag(run, run.tags)
    world.store.put(run)
