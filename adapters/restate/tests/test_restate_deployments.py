"""Who may call the service, and which of its addresses stay registered, on the vendor's server."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from restate_keys import PUBLIC_KEY, SEED, key_file
from turnout_dev.supervisor import free_port
from turnout_restate.api import RestateApi
from turnout_restate.caller import RestateCaller
from turnout_restate.schedules import object_name
from turnout_restate.settings import MOUNT, RestateSettings, read_settings
from turnout_testing.backends import open_backend
from turnout_testing.conformance.world import World

import turnout
from turnout import Context, Event, Schedule
from turnout.errors import ProviderUnavailable
from turnout.model.status import RunStatus
from turnout.ports.caller import Surroundings

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

OTHER_KEY = "publickeyv1_w7YHemBctH5Ck2nQRQ47iBBqhNHy4FV7t2Usbye2A6f"


@turnout.task("short", on="do/short")
async def short(ctx: Context, payload: Any) -> int:
    """Have one step."""
    return await ctx.step("one", _one)


async def _one() -> int:
    return 1


@turnout.task("waiting", on="do/waiting")
async def waiting(ctx: Context, payload: Any) -> Any:
    """Wait for an event."""
    return await ctx.wait_for_event("go/on", timeout="1h")


APP = turnout.app("restate-deployments", short, waiting)
NIGHTLY = Schedule(id="nightly", task="short", cron="30 2 * * *")


async def test_a_service_with_keys_is_called_by_their_server_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server signs its calls: unsigned calls, and those of another server, are refused."""
    key = key_file(tmp_path / "identity.pem", SEED)
    monkeypatch.setenv("RESTATE_REQUEST_IDENTITY_PRIVATE_KEY_PEM_FILE", str(key))
    environ = {"RESTATE_IDENTITY_KEYS": f"{OTHER_KEY},{PUBLIC_KEY}", "TURNOUT_ENV": "development"}
    async with open_backend("restate", app=APP, environ=environ) as world:
        assert await _ended(world, await _start(world, "do/short")) is RunStatus.COMPLETED
        caller = world.caller
        assert isinstance(caller, RestateCaller)
        async with httpx.AsyncClient(timeout=30) as client:
            at = caller._settings.served_at
            for path in ("/discover", "/invoke/turnout.restate-deployments.runs/run"):
                answer = await client.post(at + path, content=b"")
                assert answer.status_code == httpx.codes.UNAUTHORIZED, path
        async with _at_another_address(world, RESTATE_IDENTITY_KEYS=OTHER_KEY) as other:
            with pytest.raises(ProviderUnavailable, match=r"RESTATE_IDENTITY_KEYS.*401"):
                await other.define(APP)


async def test_an_earlier_address_goes_once_nothing_is_pinned_to_it() -> None:
    """The deployment that a parked run is pinned to stays; new runs go to the new one."""
    async with open_backend("restate", app=APP) as world:
        parked = await _start(world, "do/waiting")
        await _until_parked(world, parked)
        async with _at_another_address(world) as other, _api_of(other) as api:
            first = await _addresses(api)
            await other.define(APP)
            both = await _addresses(api)
            assert len(first) == 1
            assert both == {*first, _settings_of(other).served_at}, "a run is pinned to it"
            assert await _ended(world, await _start(world, "do/short")) is RunStatus.COMPLETED
            await world.orchestrator.emit(Event(name="go/on", payload=None))
            assert await _ended(world, parked) is RunStatus.COMPLETED
            await _until_completed(api)
            await other.define(APP)
            assert await _addresses(api) == both - first, "drained, and removed"
            assert await other.defined() == ["short", "waiting"]
            assert await _ended(world, await _start(world, "do/short")) is RunStatus.COMPLETED


async def test_an_address_that_was_registered_later_stays() -> None:
    """A process that is slow to look for earlier addresses does not remove its successor's."""
    async with open_backend("restate", app=APP) as world:
        assert isinstance(world.caller, RestateCaller)
        async with _at_another_address(world) as other, _api_of(other) as api:
            first = await _addresses(api)
            (earlier,) = (await api.admin("GET", "/deployments"))["deployments"]
            later = await other._deployments._post()
            both = {*first, _settings_of(other).served_at}
            await world.caller._deployments._remove_drained(earlier["id"])
            assert await _addresses(api) == both
            await other._deployments._remove_drained(later["id"])
            assert await _addresses(api) == both - first


async def test_the_doctor_is_told_of_another_service_of_the_same_name() -> None:
    """It gets all new invocations, and its own runs are unknown here."""

    async def has_run(run_id: str) -> bool:
        return run_id == parked

    async def has_none(_run_id: str) -> bool:
        return False

    async with open_backend("restate", app=APP) as world:
        assert isinstance(world.caller, RestateCaller)
        parked = await _start(world, "do/waiting")
        await _until_parked(world, parked)
        assert not await world.caller.notices(has_run)
        async with _at_another_address(world) as other:
            await other.define(APP)
            elsewhere, foreign = await world.caller.notices(has_none)
            assert _settings_of(other).served_at in elsewhere.text
            assert foreign.text.startswith("1 of the 1 newest")
            assert parked in foreign.text


async def test_the_doctor_is_told_of_a_schedule_whose_call_fails_again_and_again() -> None:
    """Nobody serves the address where the call began; once it is killed, the schedule is armed."""

    async def has_run(_run_id: str) -> bool:
        return True

    async with open_backend("restate", app=APP) as world:
        caller = world.caller
        assert isinstance(caller, RestateCaller)
        await caller.arm([NIGHTLY])
        (armed,) = await caller.armed()
        assert not await caller.notices(has_run)
        async with _at_another_address(world) as other:
            await other.define(APP)
        async with _api_of(caller) as api:
            tick = f"/{object_name(APP)}/{NIGHTLY.id}/tick/send"
            call = (await api.ingress(tick, {"digest": "", "at": 0}))["invocationId"]
            async with asyncio.timeout(60):
                while not (stuck := await caller._schedules.stuck()):
                    await asyncio.sleep(0.05)
            assert stuck == [NIGHTLY.id]
            *_, notice = await caller.notices(has_run)
            assert notice.text.startswith("1 schedule(s) do not fire, like nightly")
            assert [item.id for item in await caller.armed()] == [NIGHTLY.id]
            await api.admin("PATCH", f"/invocations/{call}/kill")
            await api.admin("PATCH", f"/invocations/{armed.provider_id}/kill")
            await caller.define(APP)
            await caller.arm([NIGHTLY])
        assert [item.id for item in await caller.armed()] == [NIGHTLY.id]
        assert not await caller.notices(has_run)


@contextlib.asynccontextmanager
async def _at_another_address(world: World, **environ: str) -> AsyncIterator[RestateCaller]:
    """Serve the same worker once more, at an address of its own."""
    assert isinstance(world.caller, RestateCaller)
    port, served = free_port(), _settings_of(world.caller)
    variables = {"RESTATE_INGRESS_URL": served.ingress, "RESTATE_ADMIN_URL": served.admin}
    settings = read_settings({**variables, **environ}, f"http://127.0.0.1:{port}")
    surroundings = Surroundings(settings={}, app=APP, worker=world.worker, clock=world.clock)
    caller = RestateCaller(surroundings, settings)
    server = uvicorn.Server(uvicorn.Config(_mounted(caller), log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", port)) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield caller
        finally:
            server.should_exit = True
            await serving
            await caller.close()


def _mounted(caller: RestateCaller) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].removeprefix(MOUNT)
        await caller.asgi()({**scope, "path": path}, receive, send)

    return app


def _settings_of(caller: RestateCaller) -> RestateSettings:
    return caller._settings


@contextlib.asynccontextmanager
async def _api_of(caller: RestateCaller) -> AsyncIterator[RestateApi]:
    api = RestateApi(_settings_of(caller))
    try:
        yield api
    finally:
        await api.close()


async def _addresses(api: RestateApi) -> set[str]:
    """List the addresses that are registered at the server."""
    listed = await api.admin("GET", "/deployments")
    return {deployment["uri"].rstrip("/") for deployment in listed["deployments"]}


async def _start(world: World, name: str) -> str:
    (emission,) = await world.orchestrator.emit(Event(name=name, payload=None))
    return emission.runs[0].run_id


async def _ended(world: World, run_id: str) -> RunStatus:
    async with asyncio.timeout(60):
        while not (run := (await world.orchestrator.status(run_id)).journal.run).state.terminal:
            await asyncio.sleep(0.05)
    return run.state


async def _until_parked(world: World, run_id: str) -> None:
    async with asyncio.timeout(60):
        while not (await world.orchestrator.status(run_id)).deliveries[-1].token:
            await asyncio.sleep(0.05)


async def _until_completed(api: RestateApi) -> None:
    """Wait until the server itself has no invocation that goes on."""
    async with asyncio.timeout(60):
        while await api.query("SELECT id FROM sys_invocation WHERE status != 'completed' LIMIT 1"):
            await asyncio.sleep(0.05)
