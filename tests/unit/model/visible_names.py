"""What a vendor sees of a run that the core chose, computed for an app that uses all of it.

A run in flight carries these values across an upgrade: a vendor that remembers a step by its label
must find the same label in the next version.
"""

from datetime import timedelta
from typing import Any

from scripts.published_schemas import PUBLISHED
from turnout.driver.effects import LiveEffects
from turnout.driver.replay import replay
from turnout.model import ids, keys, routing
from turnout.model.canonical import canonical_bytes
from turnout.model.events import Only
from turnout.model.policies import CancelOn, Concurrency, Retries, Timeouts
from turnout.model.runs import Delivery, Journal, Run
from turnout.model.schedules import Schedule
from turnout.model.status import RunStatus, StepKind, StepState
from turnout.model.tasks import App, Task, app, task
from turnout.model.transitions import failure
from turnout.worker.protocol_answers import next_of

NOW = 1_800_000_000_000
RUN_ID = "01jq0000000000000000000000"


async def hook(ctx: Any, payload: Any) -> None:
    """Take notice of a failure."""
    del ctx, payload


@task("plain", on="plain/go")
async def plain(ctx: Any, payload: Any) -> Any:
    """Do nothing."""
    del ctx
    return payload


@task(
    "full.task",
    on=("full/go", "full/again"),
    retries=Retries(max_attempts=5, min_delay="2s", factor=3.0, max_delay="1h", jitter=0.2),
    concurrency=Concurrency(limit=3, key="payload.customer", counts="steps"),
    timeouts=Timeouts(queue="1h", run=timedelta(hours=2), step=30),
    cancel_on=[CancelOn(event="full/stop", match="payload.customer"), CancelOn(event="stop")],
    on_failure=hook,
)
async def full(ctx: Any, payload: Any) -> None:
    """Ask for every kind of command at once."""
    del payload
    await ctx.parallel(
        ctx.step("Загрузка / load", len, "a"),
        ctx.sleep("nap", "90s"),
        ctx.wait_for_event("full/answer", match="payload.customer", timeout="1d"),
        ctx.invoke("plain", {"n": 1}, id="child", timeout="2h"),
        ctx.emit("plain/go", {"n": 2}, id="tell", key="k-1"),
    )


def conditional(made: Task) -> Task:
    """Start a task only by events whose payload has a value."""
    return Task(
        id="conditional",
        function=made.function,
        on=("plain/go",),
        only=(Only(event="plain/go", match=(("payload.kind", "a"), ("payload.n", 1))),),
    )


APP: App = app(
    "visible", plain, full, schedules=[Schedule(id="nightly", task="plain", cron="0 3 * * *")]
)


def visible_names() -> dict[str, Any]:
    """Compute every value, as JSON."""
    return {
        "definitions": {
            "plain": app("one", plain).definition,
            "full": APP.definition,
            "conditional": app("one", conditional(plain)).definition,
        },
        "delivery_keys": [
            Delivery(run_id=run_id, number=number, provider="local", task="plain").key
            for run_id, number in ((RUN_ID, 1), (f"{RUN_ID}-dryrun", 12))
        ],
        "replay": _replayed(),
        "failure_hook": _hooked(),
        "ids": _ids(),
        "artifact_keys": _keys(),
        "retry_delays": [
            [retries.delay(number, seed=f"{RUN_ID}/load") for number in range(1, 5)]
            for retries in (Retries(), full.policies.retries)
        ],
        "ramp": [_ramped(f"customer-{number}") for number in range(20)],
        "schemas": {
            name: _shape(make()) for name, make in PUBLISHED.items() if "protocol" not in name
        },
    }


def _replayed() -> dict[str, Any]:
    run = _run(full, {"customer": "acme"})
    decision = replay(full, Journal(run=run), NOW, LiveEffects(APP))
    answer = next_of(run, decision, decision.ready, full.policies.timeouts, inline=65_536)
    return {
        "next": answer.model_dump(mode="json", by_alias=True),
        "asked": [
            {
                "step": asked.step.step,
                "kind": asked.step.kind,
                "position": asked.step.position,
                "due_at": asked.step.due_at,
                "child": asked.step.child,
                "output": None if asked.step.output is None else asked.step.output.decode(),
                "wait": None if asked.wait is None else _wait(asked.wait),
                "emission": None if asked.emission is None else _emission(asked.emission),
            }
            for asked in decision.new_steps
        ],
    }


def _hooked() -> Any:
    run = _run(full, {"customer": "acme"})
    values = {name: getattr(run, name) for name in ("run_id", "task", "provider", "payload")}
    failed = Run(
        **values,
        event=run.event,
        event_id=run.event_id,
        emitted_at=NOW,
        due_at=NOW,
        state=RunStatus.FAILED,
        error=failure(ValueError("no")),
    )
    return _emission(LiveEffects(APP).ended(failed, NOW))


def _run(made: Task, payload: Any) -> Run:
    return Run(
        run_id=RUN_ID,
        task=made.id,
        provider="local",
        payload=canonical_bytes(payload),
        event="full/go",
        event_id="event-1",
        emitted_at=NOW,
        due_at=NOW,
        state=RunStatus.RUNNING,
        started_at=NOW,
    )


def _wait(wait: Any) -> dict[str, Any]:
    match = [[path, value.decode()] for path, value in wait.match]
    return {"event": wait.event, "match": match, "whole": wait.whole}


def _emission(emission: Any) -> dict[str, Any]:
    event = emission.event
    return {
        "event_id": event.event_id,
        "name": event.name,
        "payload": event.payload.decode(),
        "key": event.key,
        "caused_by": event.caused_by,
        "runs": [
            {
                "run_id": new.run.run_id,
                "task": new.run.task,
                "definition": new.run.definition,
                "key": new.run.key,
                "limit_key": new.run.limit_key,
                "parent": [new.run.parent_run_id, new.run.parent_step],
                "cancel_on": [_wait(wait) for wait in new.cancel_on],
            }
            for new in emission.runs
        ],
    }


def _ids() -> dict[str, Any]:
    return {
        "run_id": ids.new_run_id(NOW, draw=bytes(range(10))),
        "shadow": ids.shadow_id(RUN_ID),
        "stream_of_progress": ids.OWN_STREAM,
        "states": [[state.value for state in kind] for kind in (RunStatus, StepState, StepKind)],
    }


def _keys() -> list[str]:
    return [
        keys.run_folder(RUN_ID) + keys.STATUS,
        keys.run_folder(f"{RUN_ID}-dryrun") + keys.MANIFEST,
        keys.run_folder(RUN_ID) + keys.step_path(3, "Загрузка / load"),
        keys.run_folder(RUN_ID) + keys.step_path(12_345, "x" * 200 + "я"),
        keys.run_folder(RUN_ID) + keys.value_path("0" * 64),
    ]


def _ramped(sticky: str) -> int:
    """The smallest percentage at which a key goes to the new provider."""
    selection = routing.Selection(provider="dual", primary="old", shadow="new")
    for percentage in range(1, 101):
        route = routing.Route(stage=routing.Stage.RAMP, old="old", new="new", percentage=percentage)
        if (
            routing.choose(selection, {"plain": route}, task="plain", sticky=sticky).provider
            == "new"
        ):
            return percentage
    raise AssertionError("a ramp of 100 % is for every key")


def _shape(schema: Any) -> Any:
    """A schema without its prose: what a document must look like."""
    if isinstance(schema, dict):
        prose = {"description", "title", "$comment"}
        return {
            name: _shape(value)
            for name, value in sorted(schema.items())
            if name not in prose or isinstance(value, dict)
        }
    return [_shape(value) for value in schema] if isinstance(schema, list) else schema
