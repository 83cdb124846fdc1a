"""All that Inngest sees of a fixed app: what is registered, sent, and answered, at the wire.

`python visible.py` serves the app beside the double, has each task run once, and prints what went
between the two as JSON, without what differs from run to run. It uses only what every version of
Turnout offers, so that it shows the previous version's side as well as today's.
"""

import asyncio
import datetime as dt
import json
import logging
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import inngest
import orjson
from local_ports import free_port, serving
from turnout_inngest.adoption import adopt

import turnout
from turnout import (
    App,
    CancelOn,
    Concurrency,
    Context,
    Event,
    Retries,
    Schedule,
    StepFailed,
    Timeouts,
    Turnout,
    task,
)

try:
    from turnout_inngest.devserver.app import create_app  # where the previous version has it
    from turnout_inngest.devserver.options import Options
except ModuleNotFoundError:
    from turnout_inngest_double.app import create_app
    from turnout_inngest_double.options import Options

SERVED_AT = "/turnout/inngest/functions"
_RUN_ID = re.compile(r"\b[0-9a-hjkmnp-tv-z]{26}\b")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^\s\"]*")
_WAKE = re.compile(r"\bturnout/wake\.\d{4}\b")
"""One of many names, by the run's id; a wake that is sent again goes under the old name, too."""
_SECONDS = re.compile(r"^3[56]\d\ds$")
"""What is left of a wait of an hour when it is handed over."""
_FIRST_MOMENT = 1_000_000_000_000


async def value(result: Any) -> Any:
    """Be a step."""
    return result


async def fail_once(seen: list[int]) -> str:
    """Be a step that fails the first time."""
    seen.append(1)
    if len(seen) == 1:
        raise ValueError("not yet")
    return "at last"


async def refuse() -> None:
    """Be a step that always fails."""
    raise ValueError("never")


async def after_left(result: Any) -> Any:
    """Be a step that ends once the other branch is recorded: which is last must not be chance."""
    await _left_recorded.wait()
    return result


_tries: list[int] = []
_left_recorded = asyncio.Event()


@task("plain", on="golden/plain", timeouts=Timeouts(queue="1m", run="5m", step="30s"))
async def plain(ctx: Context, payload: dict[str, Any]) -> list[int]:
    """Have two steps."""
    return [await ctx.step("one", value, 1), await ctx.step("two — другий", value, 2)]


@task("retried", on="golden/retried", retries=Retries(max_attempts=2, min_delay="2s", jitter=0))
async def retried(ctx: Context, payload: dict[str, Any]) -> str:
    """Wait longer for a second try than a call waits in process."""
    return await ctx.step("shaky", fail_once, _tries)


@task("asleep", on="golden/asleep")
async def asleep(ctx: Context, payload: dict[str, Any]) -> int:
    """Sleep between two steps."""
    await ctx.step("before", value, 1)
    await ctx.sleep("nap", "2s")
    return await ctx.step("after", value, 2)


@task(
    "waiting",
    on="golden/waiting",
    concurrency=Concurrency(limit=1, key="payload.who"),
    cancel_on=CancelOn(event="golden/stop", match="payload.who"),
)
async def waiting(ctx: Context, payload: dict[str, Any]) -> Any:
    """Wait for an event between two steps."""
    await ctx.step("asked", value, 1)
    met = await ctx.wait_for_event("golden/answer", match="payload.who", timeout="1h")
    return [met, await ctx.step("heard", value, 2)]


@task("parallel", on="golden/parallel")
async def parallel(ctx: Context, payload: dict[str, Any]) -> list[Any]:
    """Have two branches."""
    return await ctx.parallel(ctx.step("left", value, "l"), ctx.step("right", after_left, "r"))


@task("parent", on="golden/parent")
async def parent(ctx: Context, payload: dict[str, Any]) -> Any:
    """Wait for another task."""
    return await ctx.invoke("child", {"n": 1}, id="call")


@task("child", on=())
async def child(ctx: Context, payload: dict[str, Any]) -> int:
    """Be waited for."""
    await ctx.sleep("a while", "2s")
    return await ctx.step("work", value, 3)


async def regret(ctx: Context, payload: dict[str, Any]) -> None:
    """Be a failure hook."""
    await ctx.step("told", value, payload["task"])


@task("failing", on="golden/failing", retries=Retries(max_attempts=1), on_failure=regret)
async def failing(ctx: Context, payload: dict[str, Any]) -> None:
    """Fail, once one failure was caught."""
    try:
        await ctx.step("caught", refuse)
    except StepFailed:
        await ctx.step("uncaught", refuse)


NATIVE = App(
    name="golden",
    tasks=(plain, retried, asleep, waiting, parallel, parent, child, failing),
    schedules=(
        Schedule(id="nightly", task="plain", cron="30 2 * * MON-FRI", zone="Europe/Kyiv"),
        Schedule(id="hourly", task="asleep", cron="0 * * * *"),
    ),
)


def adopted() -> App:
    """Functions of the vendor's SDK, taken over."""
    client = inngest.Inngest(app_id="golden-adopted", is_production=False)
    order = client.create_function(
        fn_id="order",
        trigger=[
            inngest.TriggerEvent(event="golden/order", expression="event.data.shop == 's'"),
            inngest.TriggerCron(cron="TZ=Asia/Seoul 0 9 * * *"),
        ],
        retries=2,
        concurrency=[inngest.Concurrency(limit=2, key="event.data.shop")],
        cancel=[inngest.Cancel(event="golden/stop", if_exp="event.data.n == async.data.n")],
        timeouts=inngest.Timeouts(start=dt.timedelta(minutes=1), finish=dt.timedelta(minutes=5)),
    )(_order)
    told = client.create_function(
        fn_id="told", trigger=inngest.TriggerEvent(event="golden/told"), retries=0
    )(_told)
    return adopt(client, [order, told]).app()


async def _order(ctx: inngest.Context) -> dict[str, Any]:
    async def charge() -> int:
        return int(str(ctx.event.data["n"]))

    async def charge_after_left() -> int:
        return int(str(await after_left(ctx.event.data["n"])))

    paid = [await ctx.step.run("charge", charge), await ctx.step.run("charge", charge)]
    await ctx.step.sleep("nap", dt.timedelta(seconds=2))
    packed = await ctx.group.parallel(
        (lambda: ctx.step.run("left", charge), lambda: ctx.step.run("right", charge_after_left))
    )
    answer = await ctx.step.wait_for_event(
        "answer",
        event="golden/answer",
        if_exp="event.data.n == async.data.n",
        timeout=dt.timedelta(hours=1),
    )
    await ctx.step.send_event("tell", inngest.Event(name="golden/told", data={"n": 1}))
    return {"paid": paid, "packed": list(packed), "answered": answer is not None}


def _told(ctx: inngest.ContextSync) -> object:
    return ctx.step.run("note", lambda: ctx.event.data["n"])


class Recorder:
    """An ASGI application's requests and answers, beside the application itself."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.exchanges: list[tuple[str, dict[str, str], Any, Any]] = []
        """Path, query, and the two bodies, of every request with JSON in it."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request, and write it down."""
        asked, answered = bytearray(), bytearray()

        async def receiving() -> Any:
            message = await receive()
            asked.extend(message.get("body", b""))
            return message

        async def sending(message: Any) -> None:
            answered.extend(message.get("body", b""))
            await send(message)

        await self._app(scope, receiving, sending)
        if scope["type"] == "http":
            query = {name: values[0] for name, values in parse_qs(scope["query_string"]).items()}
            read = {name.decode(): text.decode() for name, text in query.items()}
            self.exchanges.append((scope["path"], read, _json(asked), _json(answered)))


def _json(body: bytearray) -> Any:
    try:
        return orjson.loads(bytes(body))
    except orjson.JSONDecodeError:
        return None


async def shown(app: App, events: Mapping[str, Any], answer: str, folder: Path) -> dict[str, Any]:
    """Have every event start its task, and say what the vendor saw."""
    options = Options(port=free_port(), retry_interval_s=1)
    service_port = free_port()
    server = Recorder(create_app(options))
    environ = {
        "ORCHESTRATOR_PROVIDER": "inngest",
        "INNGEST_DEV": f"http://127.0.0.1:{options.port}",
        "TURNOUT_SERVICE_URL": f"http://127.0.0.1:{service_port}",
        "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/{app.name}.db",
        "TURNOUT_ARTIFACTS": "none",
        "TURNOUT_INNGEST_INGRESS": "subscribed",
    }
    _left_recorded.clear()
    live = turnout.open_turnout(app, environ)
    service = Recorder(turnout.asgi(live))
    runs: dict[str, str] = {}
    async with serving(server, options.port), serving(service, service_port):
        while not live.registrar.ready("inngest"):
            await asyncio.sleep(0.05)
        emitted = [Event(name=name, payload=payload) for name, payload in events.items()]
        for started in await live.orchestrator.emit(*emitted):
            await _over(live, service, started.runs[0].run_id, answer)
        async with asyncio.timeout(60):
            while not _ran(app) <= _ended(service):
                await asyncio.sleep(0.05)
        await _quiet(service)
    for each in _sent(server):
        data = each.get("data", {})
        if each["name"].startswith("turnout/deliver."):
            runs.setdefault(data["run_id"], f"<run of {data['task']}>")
    seen = {
        "definition": app.definition,
        "registered": _registered(server),
        "events": _events(server),
        "functions": _functions(service),
    }
    plain = _plain(seen, runs)
    plain["events"].sort(key=json.dumps)
    return plain


async def _over(live: Turnout, service: Recorder, run_id: str, answer: str) -> None:
    """Emit the answer once the vendor waits for it, and come back when the run has ended.

    The journal is ahead of the vendor: what comes in between is answered in another way.
    """
    async with asyncio.timeout(60):
        while True:
            journal = (await live.orchestrator.status(run_id)).journal
            if journal.run.state.terminal:
                return
            ops = {(op["op"], op["displayName"]) for op in _ops(service, run_id)}
            if ("StepRun", "left #1") in ops:
                _left_recorded.set()
            waits = any(op == "WaitForEvent" for op, _ in ops)
            if waits and "event" in journal.run.parked_for:
                await live.orchestrator.emit(Event(name=answer, payload={"who": "me", "n": 7}))
            await asyncio.sleep(0.2)


def _calls(service: Recorder) -> list[tuple[str, dict[str, Any], Any]]:
    """The vendor's calls: the function's id, the delivery's event data, and what was answered."""
    return [
        (query["fnId"], asked["event"]["data"], answered)
        for path, query, asked, answered in service.exchanges
        if path == SERVED_AT and asked is not None and "fnId" in query
    ]


def _ops(service: Recorder, run_id: str) -> list[dict[str, Any]]:
    return [
        op
        for _, data, answered in _calls(service)
        if data.get("run_id") == run_id and isinstance(answered, list)
        for op in answered
    ]


def _ran(app: App) -> set[str]:
    """The tasks that run: those of the app, and what they start when they fail."""
    hooks = {f"{task.id}.on-failure" for task in app.tasks if task.on_failure is not None}
    return {task.id for task in app.tasks} | hooks


def _ended(service: Recorder) -> set[str]:
    """The tasks whose vendor runs have ended, as the vendor was answered."""
    return {data["task"] for _, data, answered in _calls(service) if isinstance(answered, dict)}


async def _quiet(service: Recorder) -> None:
    """Wait until the vendor has nothing more to ask."""
    before = -1
    while len(service.exchanges) != before:
        before = len(service.exchanges)
        await asyncio.sleep(2.5)


def _sent(server: Recorder) -> list[dict[str, Any]]:
    bodies = [asked for path, _, asked, _ in server.exchanges if path.startswith("/e/")]
    return [_without_stamp(each) for body in bodies for each in body or ()]


def _without_stamp(event: dict[str, Any]) -> dict[str, Any]:
    """Leave out what only reconciliation reads; a version before did not send it."""
    data = event.get("data")
    if isinstance(data, dict) and event["name"].startswith("turnout/deliver."):
        data = {name: part for name, part in data.items() if name not in {"store", "proof"}}
        return {**event, "data": data}
    return event


def _registered(server: Recorder) -> Any:
    """The last registration: the functions with all that is asked of the vendor for them."""
    bodies = [asked for path, _, asked, _ in server.exchanges if path == "/fn/register"]
    functions = bodies[-1]["functions"]
    for each in functions:
        for step in each["steps"].values():
            step["runtime"]["url"] = step["runtime"]["url"].partition(SERVED_AT)[2]
    return {"app": bodies[-1]["appname"], "functions": sorted(functions, key=lambda f: f["id"])}


def _events(server: Recorder) -> list[Any]:
    """The events, each once: of equal ones it is chance how often they are sent."""
    kept = {json.dumps(each, sort_keys=True): each for each in _sent(server)}
    return list(kept.values())


def _functions(service: Recorder) -> dict[str, Any]:
    """By function: its vendor steps by their ids, as they were answered, and how its runs ended."""
    functions: dict[str, Any] = {}
    for function_id, _, answered in _calls(service):
        function = functions.setdefault(function_id, {"steps": {}, "ends": []})
        if isinstance(answered, list):
            for op in answered:
                if (op["opts"] or {}).get("parallelMode"):
                    op["data"] = sorted(op["data"] or ())  # which branch is first is chance
                function["steps"].setdefault(op["id"], {}).setdefault(op["op"], op)
        elif answered not in function["ends"]:
            function["ends"].append(answered)
    return functions


def _plain(seen: Any, runs: Mapping[str, str]) -> Any:
    """Put names in the place of what differs from one time to the next."""
    match seen:
        case dict():
            return {
                name: "<ms>" if name == "duration_ms" else _plain(part, runs)
                for name, part in seen.items()
                if name not in {"stack", "userland"}
            }
        case list():
            return [_plain(part, runs) for part in seen]
        case str():
            named = _RUN_ID.sub(lambda run: runs.get(run.group(), "<run>"), seen)
            unnamed = _WAKE.sub("turnout/wake", _MOMENT.sub("<moment>", named))
            return _SECONDS.sub("<up to an hour>", unnamed)
        case int() if seen >= _FIRST_MOMENT:
            return "<moment>"
    return seen


async def _main() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        native = await shown(
            NATIVE,
            {f"golden/{each.id}": {"who": "me"} for each in NATIVE.tasks if each.id != "child"},
            "golden/answer",
            Path(folder),
        )
        taken_over = await shown(
            adopted(), {"golden/order": {"n": 7, "shop": "s"}}, "golden/answer", Path(folder)
        )
    return {"native": native, "adopted": taken_over}


if __name__ == "__main__":
    logging.disable()
    json.dump(asyncio.run(_main()), sys.stdout, indent=1, sort_keys=True, ensure_ascii=False)
