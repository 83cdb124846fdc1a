"""The example service, unchanged, under each value of the flag."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from turnout_demo.client import ServiceClient
from turnout_demo.journey import MODES
from turnout_demo.stage import DemoStage, stage
from turnout_demo.tasks import AgentRequest
from turnout_dev.devserver import Process
from turnout_dev.supervisor import Supervisor

from turnout.model.routing import DUAL

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(200)]
PATIENCE = 90


@pytest.mark.parametrize("flag", ["local", "old", "new", DUAL])
async def test_every_kind_of_run_ends_under_each_flag(flag: str, tmp_path: Path) -> None:
    """Plain, sleeping, waiting, parallel and parent runs complete, whoever calls."""
    found = stage(tmp_path, seed=3, lag="30s")
    provider = {"old": found.old.name, "new": found.new.name}.get(flag, flag)
    async with Supervisor(tmp_path / "logs") as processes:
        await asyncio.gather(*(processes.start(each) for each in _needed(found, provider)))
        await processes.start(found.service(provider))
        client = ServiceClient(found.service_url)
        try:
            states = await asyncio.gather(*(_run(client, mode) for mode in MODES))
        finally:
            await client.close()
    assert {state for state, _ in states} == {"completed"}
    expected = found.old.name if provider == DUAL else provider
    assert {by for _, by in states} == {expected}


def _needed(found: DemoStage, provider: str) -> Sequence[Process]:
    """What the flag needs: the language service always, the doubles only of those it names."""
    wanted = {"nlm"}
    for server in (found.old, found.new):
        if provider in {DUAL, server.name}:
            wanted |= {each.name for each in server.processes(found.setup(server))}
    return [each for each in found.servers() if each.name in wanted]


async def _run(client: ServiceClient, mode: str) -> tuple[str, str]:
    request = AgentRequest(agent_id=f"agent-{mode}", mode=mode)  # type: ignore[arg-type]
    run_id = await client.start(request, key=mode)
    for _ in range(PATIENCE * 5):
        found = await client.show(run_id)
        if found["waits_for"] == "agent/approved":
            await client.emit("agent/approved", {"agent_id": request.agent_id})
        if found["state"] not in {"queued", "running"}:
            return found["state"], found["provider"]
        await asyncio.sleep(0.2)
    raise AssertionError(f"the run in mode {mode!r} did not end: {found}")
