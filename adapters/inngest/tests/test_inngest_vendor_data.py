"""What the server is told of the user's data."""

from pathlib import Path
from typing import Any

import pytest
from inngest_stage import Stage, ended, start

import turnout
from turnout import Context, Retries
from turnout.model.status import RunStatus

SECRET = "sesame"


async def shout(secret: str) -> str:
    """Fail with what it was given."""
    raise ValueError(f"no {secret} here")


async def swell(secret: str) -> str:
    """Give more than the vendor takes of a step's output."""
    return secret * (4 * 1024 * 1024 // len(secret) - 64)


@turnout.task("bad", on="do/bad", retries=Retries(max_attempts=2, min_delay="10ms"))
async def bad(ctx: Context, payload: dict[str, Any]) -> str:
    """Fail."""
    return await ctx.step("shout", shout, payload["secret"])


@turnout.task("big", on="do/big")
async def big(ctx: Context, payload: dict[str, Any]) -> int:
    """Pass on a large value."""
    found = await ctx.step("swell", swell, payload["secret"])
    return len(await ctx.step("again", swell, found[: len(SECRET)]))


@pytest.mark.parametrize("vendor_data", ["inline", "reference"])
async def test_what_the_server_is_told(tmp_path: Path, vendor_data: str) -> None:
    """Payloads and outputs never, whatever their size; errors' messages unless by reference."""
    stage = Stage(tmp_path)
    app = turnout.app(f"data-{stage.port}", bad, big)
    given = {"TURNOUT_VENDOR_DATA": vendor_data}
    async with stage.server(), stage.service(app, **given) as live:
        large = await ended(live, await start(live, "do/big", {"secret": SECRET}))
        assert large.journal.run.state is RunStatus.COMPLETED, large.journal.run
        failed = await ended(live, await start(live, "do/bad", {"secret": SECRET}))
        assert failed.journal.run.state is RunStatus.FAILED
        assert SECRET in str(failed.journal.run.error)
        assert SECRET not in await _all_at(stage, large.deliveries[-1].provider_run_id)
        shown = await _all_at(stage, failed.deliveries[-1].provider_run_id)
        assert (SECRET in shown) is (vendor_data == "inline")
        assert "StepFailed" in shown


async def _all_at(stage: Stage, run_id: str | None) -> str:
    """All that the server shows of a vendor run: itself, its steps, its events."""
    found = ""
    for path in (f"/v2/runs/{run_id}", f"/v2/runs/{run_id}/trace"):
        found += (await stage.api.get(path, params={"includeOutput": "true"})).text
    run = (await stage.api.get(f"/v2/runs/{run_id}")).json()["data"]
    for event_id in run["trigger"]["eventIds"]:
        found += (await stage.api.get(f"/v1/events/{event_id}")).text
    return found
