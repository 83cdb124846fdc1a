"""A conversation in step protocol 1: every message and every refusal, with a clock that stands."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

import httpx
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook
from starlette.applications import Starlette
from starlette.routing import Route

from turnout import Context, NonRetryable, Retries, task
from turnout.errors import Overloaded
from turnout.model.admission import new_run
from turnout.model.canonical import canonical_bytes
from turnout.model.events import StoredEvent
from turnout.model.protocol import Tick, Ticked
from turnout.model.runs import Emission
from turnout.model.status import RunStatus
from turnout.model.tasks import app
from turnout.model.transitions import end
from turnout.stores.sql import open_run_store
from turnout.web.steps import StepEndpoint
from turnout.worker.options import WorkerOptions
from turnout.worker.worker import TaskWorker

KEY = "whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
NOW = 1_800_000_000_000

Message: TypeAlias = dict[str, Any]


class StandingClock:
    """Always the same time."""

    def now(self) -> int:
        """Tell it."""
        return NOW

    async def sleep(self, duration: int) -> None:
        """Wait for nothing."""


@task("work", on="work/go", retries=Retries(max_attempts=2, min_delay="10s"))
async def work(ctx: Context, payload: dict[str, Any]) -> Any:
    """Stream, do one step, then wait."""
    ctx.progress({"at": "the start", "share": 0.5})
    ctx.stream("words", "Привіт")
    first = await ctx.step("first", double, payload["n"])
    if payload["n"] == 1:
        await ctx.sleep("nap", "1h")
    return first


@task("broken", on="broken/go", retries=Retries(max_attempts=2, min_delay="10s"))
async def broken(ctx: Context, payload: dict[str, Any]) -> None:
    """Fail, and be tried again or not."""
    await ctx.step("fails", fail, payload["n"])


async def double(number: int) -> int:
    """Double it."""
    return number * 2


async def fail(number: int) -> None:
    """Raise an error that is tried again, or one that is not."""
    if number == 1:
        raise ValueError("not yet")
    raise NonRetryable("never")


APP = app("spoken", work, broken)


@dataclass
class Conversation:
    """The service, what it is asked, and what it answers."""

    service: httpx.AsyncClient
    store: Any
    worker: TaskWorker
    recorded: list[dict[str, Any]] = field(default_factory=list)

    async def say(self, name: str, message: Message | str, *, key: str = KEY) -> Message:
        """Send a signed message; keep what is answered."""
        body = message if isinstance(message, str) else json.dumps(message)
        now = datetime.now(UTC)
        headers = {
            "webhook-id": "m1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(key).sign("m1", now, body),
        }
        answer = await self.service.post("/turnout/v1/step", content=body, headers=headers)
        self.recorded.append(
            {
                "name": name,
                "message": message if len(body) < 10_000 else f"{len(body)} bytes",
                "status": answer.status_code,
                "type": answer.headers.get("content-type"),
                "answer": answer.text,
            }
        )
        return dict(answer.json()) if answer.text else {}

    async def end(self, run_id: str, state: RunStatus) -> None:
        """End a run from outside."""
        journal = await self.store.journals.load(run_id)
        change = end(journal.run, state, NOW, by_us=True)
        assert change is not None
        assert await self.store.journals.apply(change)

    async def start(self, run_id: str, made: Any, number: int) -> Message:
        """Record a run; what each of its messages carries."""
        event = StoredEvent(
            event_id=f"event-of-{run_id}",
            name=f"{made.id}/go",
            payload=canonical_bytes({"n": number}),
            emitted_at=NOW,
        )
        new = new_run(APP, made, event, run_id=run_id, provider="local")
        await self.store.events.emit([Emission(event=event, runs=(new,))])
        return {
            "protocol": 1,
            "task": made.id,
            "definition": APP.definition,
            "run_id": run_id,
            "delivery": 1,
            "provider_run_id": f"vendor-{run_id}",
            "provider_attempt": 1,
        }


async def converse(talk: Conversation) -> None:
    """Say everything."""
    await _life_of_a_run(talk)
    await _failures(talk)
    await _refusals(talk)
    await _without_a_run(talk)


async def _life_of_a_run(talk: Conversation) -> None:
    run = await talk.start("run-1", work, 1)
    await talk.say("advance: a step to start", {**run, "op": "advance"})
    step = {"op": "execute", "step": "first", "attempt": 1}
    executed = await talk.say("execute: completed, then parked", {**run, **step})
    await talk.say("execute: recorded", {**run, **step})
    await talk.say("execute: not what comes next", {**run, **step, "attempt": 3})
    await talk.say("advance: parked", {**run, "op": "advance"})
    seq = executed["next"]["seq"]
    await talk.say("park: look again", {**run, "op": "park", "seq": seq - 1, "token": "t"})
    await talk.say("park: go", {**run, "op": "park", "seq": seq, "token": "t"})
    await talk.say("follow: from the start", {**run, "op": "follow"})
    await talk.say("follow: nothing new", {**run, "op": "follow", "streamed": 1})
    await talk.say("report", {**run, "op": "report", "event": "crashed", "at": NOW})
    second = await talk.start("run-2", work, 2)
    await talk.say("advance: a second run", {**second, "op": "advance"})
    await talk.say("execute: completes the run", {**second, **step})
    await talk.say("advance: completed", {**second, "op": "advance"})


async def _failures(talk: Conversation) -> None:
    run = await talk.start("run-3", broken, 1)
    step = {"op": "execute", "step": "fails", "attempt": 1}
    await talk.say("advance: a step that will fail", {**run, "op": "advance"})
    await talk.say("execute: failed, tried again", {**run, **step})
    await talk.say("execute: the next try is not due", {**run, **step, "attempt": 2})
    final = await talk.start("run-4", broken, 2)
    await talk.say("advance: a step that will fail for good", {**final, "op": "advance"})
    await talk.say("execute: failed for good", {**final, **step})
    await talk.say("advance: failed", {**final, "op": "advance"})


async def _refusals(talk: Conversation) -> None:
    run = await talk.start("run-5", work, 1)
    advance = {**run, "op": "advance"}
    await talk.say("advance: claimed", advance)
    for name, message in {
        "refused: not JSON": "{",
        "refused: no object": "[]",
        "refused: a field is missing": {**advance, "run_id": None},
        "refused: a field too many": {**advance, "more": 1},
        "refused: a number out of its bounds": {**advance, "delivery": 0},
        "refused: an unknown op": {**advance, "op": "dance"},
        "refused: too large": {**advance, "more": "x" * 1_100_000},
        "refused: an unknown run": {**advance, "run_id": "run-9"},
        "refused: another definition": {**advance, "definition": "f" * 64},
        "refused: another task": {**advance, "task": "broken"},
        "refused: another vendor run": {**advance, "provider_run_id": "vendor-other"},
        "refused: a delivery to come": {**advance, "delivery": 2},
        "refused: another protocol": {**advance, "protocol": 2},
        "refused: protocol zero": {**advance, "protocol": 0},
    }.items():
        await talk.say(name, message)
    await talk.say(
        "refused: another key", advance, key="whsec_WllYV1ZVVFNSUVBPTk1MS0pJSEdGRURDQkFmZWRjYmE="
    )
    await _ended(talk, advance)
    second = await talk.start("run-6", work, 2)
    await talk.say("advance: before the end", {**second, "op": "advance"})
    await talk.worker.close(0)
    step = {"op": "execute", "step": "first", "attempt": 1}
    await talk.say("refused: the worker stops", {**second, **step})


async def _ended(talk: Conversation, advance: Message) -> None:
    await talk.end("run-5", RunStatus.CANCELLED)
    await talk.say("advance: cancelled", advance)
    await talk.say("refused: held by another", {**advance, "provider_run_id": "vendor-other"})
    for state in (RunStatus.CANCELLED, RunStatus.FAILED):
        run = await talk.start(f"run-{state}", work, 1)
        await talk.end(f"run-{state}", state)
        await talk.say(f"refused: {state} before it was called", {**run, "op": "advance"})


async def _without_a_run(talk: Conversation) -> None:
    tick = {"op": "tick", "protocol": 1, "slot": NOW, "provider": "x", "provider_run_id": "p"}
    for schedule in ("started", "claimed", "not_owner", "paused", "removed", "overloaded"):
        await talk.say(f"tick: {schedule}", {**tick, "schedule": schedule})
    await talk.say("tick: a defect", {**tick, "schedule": "defect"})
    await talk.say("probe", {"op": "probe", "protocol": 1, "definition": APP.definition})
    await talk.say("probe: another definition", {"op": "probe", "definition": "f" * 64})


async def on_tick(call: Tick) -> Ticked:
    """Answer as a control plane does; the schedule's name says how."""
    if call.schedule == "overloaded":
        raise Overloaded("too much to do")
    if call.schedule == "defect":
        raise ValueError("a secret")
    run_id = "run-of-the-slot" if call.schedule == "started" else None
    return Ticked.model_validate({"run_id": run_id, "reason": call.schedule})


async def on_report(_report: Any) -> None:
    """Look at nothing."""


@asynccontextmanager
async def conversation() -> AsyncIterator[Conversation]:
    """Open a service that has nothing recorded."""
    logging.getLogger("turnout.web.steps").disabled = True
    store = open_run_store("sqlite://")
    worker = TaskWorker(
        app=APP,
        store=store,
        clock=StandingClock(),
        options=WorkerOptions(worker_id="w"),
        on_tick=on_tick,
        on_report=on_report,
    )
    endpoint = StepEndpoint(worker, [SecretStr(KEY)])
    served = Starlette(routes=[Route("/turnout/v1/step", endpoint.answer, methods=["POST"])])
    transport = httpx.ASGITransport(app=served)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as service:
        yield Conversation(service, store, worker)
    await worker.close(0)
    await store.close()
    logging.getLogger("turnout.web.steps").disabled = False


Say: TypeAlias = Callable[[Conversation], Awaitable[None]]


async def exchanges(say: Say = converse) -> list[dict[str, Any]]:
    """Have a conversation; give every exchange of it."""
    async with conversation() as talk:
        await say(talk)
        return talk.recorded
