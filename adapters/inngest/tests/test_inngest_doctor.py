"""What the doctor tells of the server, and registrations that are refused."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import fastapi
import httpx
import inngest
import inngest.fast_api
import inngest_tasks
import pytest
from inngest_lab import free_port, serving
from inngest_stage import Stage, ended, start, until
from turnout_operator.doctor.examine import examine

import turnout
from turnout import App, Context, Schedule, Task
from turnout.errors import PolicyRefused, ProviderRefused
from turnout.model.runs import RunFilter

KEY = "ab" * 16


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage without anything on it."""
    return Stage(tmp_path)


def mine(stage: Stage, *more: Task, **options: Any) -> App:
    """An app with a task and names of its own: a real server remembers those of other tests."""
    plain = turnout.task("plain", on=event(stage))(inngest_tasks.plain.function)
    return turnout.app(f"mine-{stage.port}", plain, *more, **options)


def event(stage: Stage) -> str:
    """The event that starts the task."""
    return f"do/plain-{stage.port}"


@contextlib.asynccontextmanager
async def sdk_app(stage: Stage, app_id: str, fn_id: str, event: str) -> AsyncIterator[None]:
    """Another deployable: an application of the official SDK with one function."""
    client = inngest.Inngest(
        app_id=app_id,
        api_base_url=stage.url,
        event_api_base_url=stage.url,
        is_production=False,
    )

    @client.create_function(fn_id=fn_id, trigger=inngest.TriggerEvent(event=event))
    async def function(ctx: inngest.Context) -> str:
        return "theirs"

    application, port = fastapi.FastAPI(), free_port()
    inngest.fast_api.serve(application, client, [function])
    async with serving(application, port), httpx.AsyncClient() as http:
        answer = await http.put(f"http://127.0.0.1:{port}/api/inngest")
        assert answer.json()["ok"] is True, answer.text
        yield


async def told(stage: Stage, app: App, **environ: str) -> list[str]:
    """The doctor's warnings of the vendor's server."""
    live = turnout.open_turnout(app, {**stage.environ, **environ}, serve=False)

    async def knows(run_id: str) -> bool:
        return run_id in {run.run_id for run in await live.store.runs.find(_ALL)}

    try:
        caller: Any = live.callers["inngest"]
        return [each.text for each in await caller.notices(knows)]
    finally:
        await live.close()


# -- what is told ---------------------------------------------------------------------------------


async def test_a_tidy_server_gives_no_warning(stage: Stage) -> None:
    """On a laptop, with the service up and after runs of its own."""
    async with stage.server(), stage.service(mine(stage)) as live:
        await ended(live, await start(live, event(stage)))
        assert await told(stage, mine(stage)) == []


async def test_a_self_hosted_server_has_open_doors(stage: Stage) -> None:
    """Everything that answers without a key is told, with what it means."""
    stage.options = ("--signing-key", KEY, "--event-key", "e")
    keyed = {
        "INNGEST_DEV": "0",
        "INNGEST_BASE_URL": stage.url,
        "INNGEST_SIGNING_KEY": KEY,
        "INNGEST_EVENT_KEY": "e",
    }
    async with stage.server():
        texts = await told(stage, mine(stage), **keyed)
        assert any("/v0/gql" in text and "cancel" in text for text in texts)
        assert any("/invoke/" in text for text in texts)
        assert not any("/v2/apps" in text for text in texts)


async def test_other_senders_are_found(stage: Stage) -> None:
    """An event at the server that our tasks subscribe to is none of ours; named, it comes in."""
    async with stage.server(), stage.service(mine(stage)):
        sender = inngest.Inngest(app_id="x", event_api_base_url=stage.url, is_production=False)
        await sender.send(inngest.Event(name=event(stage), data={}))
        (text,) = await until(lambda: _found(stage))
        assert event(stage) in text
        late = await told(stage, mine(stage), TURNOUT_INNGEST_INGRESS="subscribed")
        assert late == [f"TURNOUT_INNGEST_INGRESS is not registered yet for {event(stage)}"]


async def test_other_listeners_are_found(stage: Stage) -> None:
    """A function of another app that the same event starts is named, with its app."""
    async with stage.server(), stage.service(mine(stage)):
        async with sdk_app(stage, "theirs", "old-way", event(stage)):
            (text,) = await told(stage, mine(stage))
        assert "'old-way'" in text
        assert "'theirs'" in text


async def test_a_run_started_by_hand_is_found_and_refused(stage: Stage) -> None:
    """It fails at once with what to do instead, runs no step, and the doctor counts it."""
    invoke = f"/v2/apps/{mine(stage).name}/functions/plain/invoke"
    async with stage.server(), stage.service(mine(stage)) as live:
        answer = await stage.api.post(invoke, json={"data": {"hand": "made"}})
        vendor_run = answer.json()["data"]["runId"]
        run = await until(lambda: _ended(stage, vendor_run))
        assert run["status"] == "FAILED"
        assert "turnout emit" in str(run["output"])
        forged = {"run_id": "none-such", "delivery": 1, "task": "plain", "definition": "x"}
        answer = await stage.api.post(invoke, json={"data": forged})
        run = await until(lambda: _ended(stage, answer.json()["data"]["runId"]))
        assert run["status"] == "COMPLETED"
        report = await ended(live, await start(live, event(stage)))
        again = await stage.api.post(
            f"/v2/runs/{report.deliveries[-1].provider_run_id}/rerun", json={}
        )
        run = await until(lambda: _ended(stage, again.json()["data"]["runId"]))
        assert run["status"] == "COMPLETED"
        texts = await told(stage, mine(stage))
        assert [text[:9] for text in texts] == ["2 run(s) "]


async def test_what_is_registered_and_not_defined_is_told(stage: Stage) -> None:
    """Code that lacks a task is told of what it would remove."""
    async with stage.server(), stage.service(mine(stage, inngest_tasks.retried)):
        (text,) = await told(stage, mine(stage))
        assert "retried" in text


async def test_no_worker_is_connected(stage: Stage) -> None:
    """With the transport by socket, runs fail where nobody holds one."""
    async with stage.server(), stage.service(mine(stage)):
        (text,) = await told(stage, mine(stage), TURNOUT_INNGEST_TRANSPORT="connect")
        assert "no worker" in text


async def test_the_command_shows_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As warnings, each with its fix; a server that is away gives none."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.chdir(stage.folder)
    async with stage.server(), stage.service(inngest_tasks.everything):
        sender = inngest.Inngest(app_id="x", event_api_base_url=stage.url, is_production=False)
        await sender.send(inngest.Event(name="do/plain", data={}))
        checks = await examine(stage.environ, "inngest_tasks:everything")
        fixes = [each.fix for each in checks if each.name == "at inngest"]
        assert any("TURNOUT_INNGEST_INGRESS=do/plain" in fix for fix in fixes)
        await stage.kill_server()
        checks = await examine(stage.environ, "inngest_tasks:everything")
        assert not [each for each in checks if each.name == "at inngest"]


# -- what is refused ------------------------------------------------------------------------------


async def _define(stage: Stage, app: App, **environ: str) -> None:
    """Register as a service does; each app has a store of its own."""
    store = {"TURNOUT_DATABASE_URL": f"sqlite:///{stage.folder}/{app.name}.db"}
    live = turnout.open_turnout(app, {**stage.environ, **store, **environ}, serve=False)
    try:
        await live.callers["inngest"].define(app)
    finally:
        await live.close()


async def test_another_deployables_functions_are_never_replaced(stage: Stage) -> None:
    """Functions that Turnout did not register are named, and stay; unless it is said otherwise."""
    async with stage.server(), sdk_app(stage, mine(stage).name, "theirs", "their/event"):
        with pytest.raises(ProviderRefused, match=r"theirs.*TURNOUT_INNGEST_REPLACE"):
            await _define(stage, mine(stage))
        assert await _functions(stage) == ["theirs"]
        (text,) = [each for each in await told(stage, mine(stage)) if "holds the app id" in each]
        assert "theirs" in text
        await _define(stage, mine(stage), TURNOUT_INNGEST_REPLACE="1")
        assert await _functions(stage) == ["plain"]


async def test_two_deployables_of_one_name(stage: Stage) -> None:
    """The second one, with other tasks, is refused while the first one is up; one may move."""
    other = turnout.app(mine(stage).name, inngest_tasks.retried)
    elsewhere = {"TURNOUT_SERVICE_URL": "http://127.0.0.1:1"}
    async with stage.server():
        async with stage.service(mine(stage)):
            with pytest.raises(ProviderRefused, match=r"another deployable.*plain"):
                await _define(stage, other, **elsewhere)
            assert await _functions(stage) == ["plain"]
            await _define(stage, mine(stage), **elsewhere)
            await _define(stage, mine(stage))
        await _define(stage, other, **elsewhere)
        assert await _functions(stage) == ["retried"]


async def test_ids_that_the_server_cannot_tell_apart(stage: Stage) -> None:
    """It joins app and function with a hyphen: a-b and c are a and b-c."""

    @turnout.task("c", on="do/c")
    async def c(ctx: Context, payload: Any) -> None: ...

    @turnout.task("b-c", on="do/bc")
    async def bc(ctx: Context, payload: Any) -> None: ...

    async with stage.server():
        a = f"a{stage.port}"
        await _define(stage, turnout.app(f"{a}-b", c))
        with pytest.raises(ProviderRefused, match=f"'{a}-b-c'"):
            await _define(stage, turnout.app(a, bc))


async def test_a_task_with_the_id_of_a_failure_hook(stage: Stage) -> None:
    """One function would silently win over the other."""

    @turnout.task("hooked.on-failure", on="do/c")
    async def collides(ctx: Context, payload: Any) -> None: ...

    app = turnout.app("a", inngest_tasks.hooked, collides)
    live = turnout.open_turnout(app, stage.environ, serve=False)
    with pytest.raises(PolicyRefused, match=r"hooked\.on-failure"):
        live.callers["inngest"].check(collides)
    await live.close()


async def test_a_refused_function_has_the_servers_reason(stage: Stage) -> None:
    """One bad function refuses the whole; the reason is the server's own, and nothing changes."""
    async with stage.server():
        await _define(stage, mine(stage))
        live = turnout.open_turnout(mine(stage), stage.environ, serve=False)
        caller: Any = live.callers["inngest"]
        with pytest.raises(ProviderRefused, match=r"no such zone|Nowhere"):
            await caller._sync({"bad": "TZ=Nowhere/None 0 * * * *"})
        await live.close()
        assert await _functions(stage) == ["plain"]


async def test_a_registration_is_repeated_without_loss(stage: Stage) -> None:
    """Replicas that register at once leave all functions and schedules as they are."""
    hourly = Schedule(id="hourly", task="plain", cron="0 * * * *")
    timely = mine(stage, schedules=[hourly])
    async with stage.server(), stage.service(timely):
        for _ in range(3):
            await _define(stage, timely)
        assert await _functions(stage) == ["_schedule.hourly", "plain"]


async def _found(stage: Stage) -> list[str] | None:
    return await told(stage, mine(stage)) or None


async def _functions(stage: Stage) -> list[str]:
    answer = await stage.api.get(f"/v2/apps/{mine(stage).name}/functions")
    return sorted(each["id"] for each in answer.json()["data"])


async def _ended(stage: Stage, run_id: str) -> dict[str, Any] | None:
    answer = await stage.api.get(f"/v2/runs/{run_id}?includeOutput=true")
    run: dict[str, Any] = answer.json()["data"]
    return run if run.get("endedAt") else None


_ALL = RunFilter(limit=100)
