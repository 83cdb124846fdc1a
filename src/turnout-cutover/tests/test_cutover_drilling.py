"""A drill moves nothing before it is certain that the app can start the probe's task."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from turnout_cutover.changes import Signature
from turnout_cutover.drilling import drill
from turnout_cutover.move_file import MoveFile, Probe

from tests.operated_service import Service, replica
from turnout import app, task
from turnout.errors import WrongUse

ANNA = Signature(operator="anna", reason="before wave 1")


@task("turnout-probe")
async def eventless(_ctx: Any, _payload: Any) -> None:
    """Answer nobody: no event starts it."""


@task("order", on="order/placed")
async def order(_ctx: Any, _payload: Any) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("tasks", "text"),
    [((eventless,), "subscribes to no event"), ((order,), "turnout-probe")],
    ids=["no event", "no such task"],
)
async def test_a_probe_that_cannot_start_moves_nothing(
    service: Service, tasks: tuple[Any, ...], text: str
) -> None:
    """Otherwise its task would stay at the new provider."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[Any]:
        yield SimpleNamespace(app=app("shop", *tasks), store=service.store, clock=service.clock)

    service.replicas = [replica("r1", tasks={"turnout-probe": "1"})]
    await service.follow()
    operations = service.operations(move_file=MoveFile(probe=Probe(task="turnout-probe")))
    with pytest.raises(WrongUse, match=text):
        await drill(operations, ANNA, opened)
    assert await service.log.routes() == {}
