"""What a real 4.5.12 server answers 500 to, scripted on the double."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

# Test modules are imported by path, so what they share is put on the path by hand.
sys.path.insert(0, str(Path(__file__).parent))

from triggerdev_faults import Answer, Asked
from triggerdev_stage import Stage, completes, plain, ready_caller, start, until, vendor_ends

from turnout.errors import ProviderUnavailable
from turnout.model.schedules import Schedule

DAILY = Schedule(id="daily", cron="30 7 * * *", zone="UTC", task="plain")
FAULT = JSONResponse({"error": "Something went wrong"}, 500)


async def test_a_create_that_another_one_overtook_is_sent_once_more(tmp_path: Path) -> None:
    """Of two creates of one key at once the server fails one: it is posted again, and stands."""
    stage = Stage(tmp_path / "stage")
    failing = [FAULT]

    def fault(asked: Asked) -> Answer | None:
        return failing.pop() if failing and _creates(asked) else None

    stage.server_side.fault = fault
    async with stage.server(), ready_caller(stage) as caller:
        await asyncio.gather(*(caller.arm([DAILY]) for _ in range(4)))
        assert [each.id for each in await caller.armed()] == ["daily"]
    # One that fails, the same once more; the others wait for their turn and find it standing.
    posts = [each for each in stage.server_side.asked if _creates(each)]
    assert [each.status for each in posts] == [500, 200]
    assert posts[0].body == posts[1].body


async def test_a_create_that_fails_twice_is_told(tmp_path: Path) -> None:
    """Once more, not for ever."""
    stage = Stage(tmp_path / "stage")
    stage.server_side.fault = lambda asked: FAULT if _creates(asked) else None
    async with stage.server(), ready_caller(stage) as caller:
        with pytest.raises(ProviderUnavailable):
            await caller.arm([DAILY])
    assert sum(map(_creates, stage.server_side.asked)) == 2


def _creates(asked: Asked) -> bool:
    return (asked.method, asked.path) == ("POST", "/api/v1/schedules")


async def test_a_run_whose_snapshot_is_stale_is_given_up(tmp_path: Path) -> None:
    """The server has moved on and answers 500: the stand-in looks, lets go, and works on."""
    stage = Stage(tmp_path / "stage")
    app = stage.app(plain(stage.ledger, "plain"))
    stale: list[str] = []
    tried: list[str] = []

    def fault(asked: Asked) -> Answer | None:
        if not asked.path.endswith("/attempts/complete"):
            return None
        run = asked.path.split("/")[5]
        if not stale:
            # As when the server ended the run by itself while the answer was on its way.
            stale.append(run)
            world.runs[run].attempt += 1
        tried.append(run)
        return FAULT if run in stale else None

    stage.server_side.fault = fault
    async with stage.server() as world, stage.service(app) as live, stage.worker(app):
        await stage.ready(live)
        await completes(stage, live, await start(live, "plain"))
        await until(lambda: _any(stale))
        report = await completes(stage, live, await start(live, "plain"))
        assert await vendor_ends(stage, report) == [("COMPLETED", 1)]
        assert tried.count(stale[0]) == 1


async def _any(found: list[Any]) -> bool:
    return bool(found)
