"""The suite opens an adapter with its offline server, or with a server that is there already."""

import base64
import sys
from pathlib import Path
from typing import Any

import pytest
from turnout_dev.devserver import Process
from turnout_dev.supervisor import Supervisor, free_port
from turnout_testing.backends import open_backend
from turnout_testing.conformance.world import World, result_of

from tests.acme_installed import ACME
from turnout import Context, app, task
from turnout.errors import InvalidSettings

pytestmark = pytest.mark.usefixtures("made_up_adapters")

KEY = "whsec_" + base64.b64encode(b"of this test and no other one").decode()


@task("errand", on="errand/go")
async def errand(ctx: Context, _payload: Any) -> Any:
    """A step, and a wait for an event."""
    one = await ctx.step("one", lambda: 1)
    event = await ctx.wait_for_event("errand/two", timeout="1h")
    return [one, event["two"]]


ERRANDS = app("errands", errand)


async def completes(world: World) -> None:
    """Run the task to its end on a provider."""
    (run_id,) = await world.emit("errand/go")
    await world.parked(run_id, "event")
    await world.emit("errand/two", two=2)
    assert result_of(await world.ended(run_id)) == [1, 2]


async def test_an_offline_server_is_started_for_its_adapter() -> None:
    """Runs go over it."""
    async with open_backend("acme", environ={}, app=ERRANDS) as world:
        await completes(world)


async def test_an_adapter_without_an_offline_server_is_used_with_its_settings(
    tmp_path: Path,
) -> None:
    """The server that the environment names is used."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = (sys.executable, str(ACME / "acme_server.py"), str(port), "right", KEY)
    environ = {"BOLT_URL": url, "BOLT_KEY": "right", "TURNOUT_SIGNING_KEYS": KEY}
    async with Supervisor(tmp_path) as processes:
        await processes.start(Process(name="server", argv=command, ready_url=f"{url}/up"))
        async with open_backend("bolt", environ=environ, app=ERRANDS) as world:
            await completes(world)


async def test_what_an_adapter_without_an_offline_server_needs_is_named() -> None:
    """Without its settings it cannot be opened."""
    with pytest.raises(InvalidSettings, match="BOLT_URL and BOLT_KEY"):
        async with open_backend("bolt", environ={}):
            pass


async def test_a_provider_that_is_not_installed_is_named() -> None:
    """With those that are."""
    with pytest.raises(InvalidSettings, match="installed:"):
        async with open_backend("nobody", environ={}):
            pass
