"""Finding steps that were not asked for runs the function, in the task of the artifacts' writer."""

import asyncio
from typing import Any

from turnout_testing.conformance.run_store_values import T0, new_run, new_step

from turnout import App, task
from turnout.driver.effects import LiveEffects
from turnout.model.runs import Journal
from turnout.model.status import RunStatus
from turnout.projection.unasked import UnaskedSteps


@task("t", on="e")
async def cancels_its_task(ctx: Any, _payload: Any) -> Any:
    """Cancel what it takes for its own task."""
    current = asyncio.current_task()
    assert current is not None
    current.cancel()
    return await ctx.step("asked", lambda: 1)


async def test_a_function_that_cancels_its_task_does_not_cancel_the_writers() -> None:
    """The artifacts of its run, and of all others, are still written."""
    app = App(name="app", tasks=(cancels_its_task,))
    run = new_run()._replace(state=RunStatus.FAILED, ended_at=T0 + 1)
    journal = Journal(run=run, steps={"old": new_step("old")})
    assert UnaskedSteps(app, LiveEffects(app))(journal) == ("old",)
    writer = asyncio.current_task()
    assert writer is not None
    assert writer.cancelling() == 0
