"""Plans that come late: as on the vendor's server, they leave steps open that are done."""

import asyncio
from typing import Any

import inngest
import pytest
from inngest_lab import Lab, until
from turnout_inngest.run_loop import _let_race


class LatePlan:
    """A function whose second plan is asked for before `b` is done, and told after it is."""

    def __init__(self, lab: Lab, *, races_on: bool) -> None:
        self._lab = lab
        self._races_on = races_on
        self._planning = asyncio.Event()
        self.run_id = ""
        self.after = 0

    async def handle(self, ctx: inngest.Context) -> str:
        try:
            return await self._walk(ctx)
        except BaseException as interrupt:
            if self._races_on:
                _let_race(interrupt)
            raise

    async def _walk(self, ctx: inngest.Context) -> str:
        self.run_id = ctx.run_id

        async def one_after_another() -> None:
            await ctx.step.run("a1", _nothing)
            if not self._planning.is_set():
                self._planning.set()
                await until(self._b_is_done)
            await ctx.step.run("a2", _nothing)

        async def alone() -> None:
            await ctx.step.run("b", self._planning.wait)

        await ctx.group.parallel((one_after_another, alone), inngest.ParallelMode.RACE)
        await ctx.step.run("after", self._count)
        return "done"

    async def _b_is_done(self) -> bool | None:
        children = (await self._lab.trace(self.run_id)).get("children", [])
        return (
            any(each["name"] == "b" and each["status"] == "COMPLETED" for each in children) or None
        )

    async def _count(self) -> None:
        self.after += 1


async def _nothing() -> None: ...


@pytest.mark.parametrize("races_on", [False, True])
async def test_a_plan_that_comes_late(lab: Lab, *, races_on: bool) -> None:
    """The vendor never calls again after a step that does not race: the walk lets all of them."""
    late = LatePlan(lab, races_on=races_on)
    lab.function("late")(late.handle)
    async with lab.application():
        event = await lab.emit("lab/late")
        if races_on:
            run = await lab.run_in(event, "COMPLETED")
            assert run["output"] == {"data": "done"}
        else:
            jobs = await until(lambda: _stuck(lab, late))
            assert jobs == []
            assert (await lab.run(event))["status"] == "RUNNING"
    assert late.after == 1


async def _stuck(lab: Lab, late: LatePlan) -> list[Any] | None:
    if not late.after:
        return None
    jobs = (await lab.api.get(f"/v1/runs/{late.run_id}/jobs")).json()["data"]
    return None if jobs else []
