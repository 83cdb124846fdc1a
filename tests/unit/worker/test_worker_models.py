"""Models that change under a run: what was checked at its emit is upgraded, and fails no run."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from turnout import App, Context, Event, Turnout, app, open_turnout, task
from turnout.errors import InvalidPayload
from turnout.model.runs import Run, RunFilter
from turnout.model.status import ParkReason, RunStatus

PATIENCE = 60.0
UNFIT = (
    r"payload.cents: Field required; payload.currency: .*; the upgrade raised KeyError: 'amount'"
)


class Order(BaseModel):
    """The model's first form."""

    amount: int


class NewOrder(BaseModel):
    """The model's new form, which the first one does not fit."""

    cents: int
    currency: str


def in_cents(payload: dict[str, Any]) -> dict[str, Any]:
    """Bring an order of the first form into the new one."""
    return {"cents": payload.pop("amount") * 100, "currency": "EUR"}


def unusable(payload: dict[str, Any]) -> dict[str, Any]:
    """Raise, as an upgrade that was not thought through."""
    raise KeyError(payload["euros"])


def before() -> App:
    """Make the app as it was when the run was emitted."""

    @task("order", on="order/placed")
    async def order(ctx: Context, payload: Order) -> int:
        await ctx.wait_for_event("order/go", timeout="1h", since="run")
        return payload.amount

    return app("models", order)


def after(upgrade: Any) -> App:
    """Make the app with the new model."""

    @task("order", on="order/placed", upgrade=upgrade)
    async def order(ctx: Context, payload: NewOrder) -> list[Any]:
        await ctx.wait_for_event("order/go", timeout="1h", since="run")
        return [payload.cents, payload.currency]

    return app("models", order)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Settings of a service that keeps its runs in a file."""
    return {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": f"sqlite:///{tmp_path}/runs.db",
        "TURNOUT_ARTIFACTS": "none",
    }


async def until(live: Turnout, run_id: str, reason: ParkReason | None) -> Run:
    """Wait until a run waits for a reason; None: until it has ended."""
    async with asyncio.timeout(PATIENCE):
        while True:
            run = (await live.store.journals.load(run_id)).run
            if run.state.terminal if reason is None else reason in run.parked_for:
                return run
            await asyncio.sleep(0.02)


async def waiting_run(environ: dict[str, str]) -> str:
    """Start a run of the first form, which waits as its service stops."""
    async with open_turnout(before(), environ) as live:
        (emitted,) = await live.orchestrator.emit(Event(name="order/placed", payload={"amount": 7}))
        await until(live, emitted.runs[0].run_id, ParkReason.EVENT)
    return emitted.runs[0].run_id


async def test_a_run_of_an_earlier_form_goes_on_with_an_upgraded_payload(
    environ: dict[str, str],
) -> None:
    """The function gets the new form; what is recorded stays as it was emitted."""
    run_id = await waiting_run(environ)
    async with open_turnout(after(in_cents), environ) as live:
        await live.orchestrator.emit(Event(name="order/go"))
        run = await until(live, run_id, None)
    assert (run.state, run.result) == (RunStatus.COMPLETED, b'[700,"EUR"]')
    assert run.payload == b'{"amount":7}'


@pytest.mark.parametrize("upgrade", [None, unusable])
async def test_a_run_whose_payload_fits_no_longer_waits_for_code(
    environ: dict[str, str], upgrade: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It does not fail, and is tried again a minute later, maybe by code that can read it."""
    run_id = await waiting_run(environ)
    async with open_turnout(after(upgrade), environ) as live:
        await live.orchestrator.emit(Event(name="order/go"))
        run = await until(live, run_id, ParkReason.BACKOFF)
        assert await live.store.runs.find(RunFilter(held=True)) == [run]
    assert run.state is RunStatus.RUNNING
    assert run.error is not None
    assert "@task(upgrade=…)" in run.error.message
    (held, *_) = [
        record for record in caplog.records if record.__dict__.get("action") == "run_held"
    ]
    assert (held.__dict__["run_id"], held.__dict__["task"]) == (run_id, "order")
    assert "@task(upgrade=…)" in held.__dict__["error"]


async def test_an_event_of_an_earlier_form_is_upgraded_at_its_emit(
    environ: dict[str, str],
) -> None:
    """Senders may be deployed later; one that cannot be upgraded is refused, its fields named."""
    async with open_turnout(after(in_cents), environ) as live:
        (emitted,) = await live.orchestrator.emit(Event(name="order/placed", payload={"amount": 1}))
        await live.orchestrator.emit(Event(name="order/go"))
        run = await until(live, emitted.runs[0].run_id, None)
        assert run.result == b'[100,"EUR"]'
        with pytest.raises(InvalidPayload, match=UNFIT):
            await live.orchestrator.emit(Event(name="order/placed", payload={"sum": 1}))
