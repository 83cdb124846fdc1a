"""A stop that is signalled begins at once, not when the server has answered all requests."""

import asyncio
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from turnout import Event, Turnout, app, open_turnout, task
from turnout.errors import Overloaded
from turnout.model.protocol import Advance, Execute
from turnout.model.status import AttemptState
from turnout.service.stop_signals import STOPS
from turnout.web.app import lifespan

BEGAN = asyncio.Event()


async def endless() -> None:
    """Never return."""
    BEGAN.set()
    await asyncio.Event().wait()


@task("endless", on="endless/go")
async def endless_task(ctx: Any, _payload: dict[str, Any]) -> None:
    """Do one step that does not end."""
    await ctx.step("a", endless)


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """Note the signals that the server's own handlers hear."""
    numbers: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        numbers.append(number)

    before = {number: signal.signal(number, handle) for number in STOPS}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def opened() -> Turnout:
    """Open a service on a store in memory."""
    return open_turnout(app("stop", endless_task), {"ORCHESTRATOR_PROVIDER": "memory"})


@pytest.mark.parametrize("number", STOPS)
async def test_both_the_server_and_the_service_hear_a_stop(
    heard: list[int], number: signal.Signals
) -> None:
    """The server's handler goes on, and is put back at the end."""
    live, before = opened(), signal.getsignal(number)
    async with lifespan(live)(None):
        assert not live.stopping
        signal.raise_signal(number)
        async with asyncio.timeout(30):
            while not live.stopping:
                await asyncio.sleep(0.01)
        assert heard == [number]
    assert signal.getsignal(number) is before


async def test_a_call_that_waits_for_a_step_is_answered_when_a_stop_begins(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the service is closed; the attempt is interrupted, and does not count."""
    BEGAN.clear()
    live = open_turnout(app("stop", endless_task), {"ORCHESTRATOR_PROVIDER": "memory"}, serve=False)
    close = live.primary.worker.close

    async def at_once(grace: float = 0.0) -> None:
        await close(grace)

    monkeypatch.setattr(live.primary.worker, "close", at_once)
    async with live:
        (emitted,) = await live.orchestrator.emit(Event(name="endless/go"))
        run_id = emitted.runs[0].run_id
        call = {"task": "endless", "run_id": run_id, "delivery": 1, "provider_run_id": "v"}
        await live.worker.answer(Advance(**call))
        executing = asyncio.create_task(live.worker.answer(Execute(**call, step="a", attempt=1)))
        await BEGAN.wait()
        live.begin_stop()
        with pytest.raises(Overloaded):
            await executing
        (attempt,) = (await live.store.journals.load(run_id)).attempts["a"]
        assert attempt.state is AttemptState.INTERRUPTED
