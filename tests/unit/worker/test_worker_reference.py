"""What a vendor is told where it is to be told no data."""

from pathlib import Path
from typing import Any

import pytest

import turnout
from turnout import Context, Event, Retries, Turnout
from turnout.model.protocol import Advance, Execute, Follow, Followed, Next, Outcome
from turnout.model.runs import RunFilter
from turnout.model.status import RunStatus

SECRET = "sesame"


async def say(secret: str) -> str:
    """A result with the payload's secret in it."""
    return f"open {secret}"


async def shout(secret: str) -> str:
    """An error with the payload's secret in it."""
    raise ValueError(secret)


@turnout.task("fine", on="do/fine")
async def fine(ctx: Context, payload: dict[str, Any]) -> str:
    """Say it, by progress, stream and result."""
    ctx.progress({"seen": payload["secret"]})
    ctx.stream("said", payload["secret"])
    return await ctx.step("say", say, payload["secret"])


@turnout.task("bad", on="do/bad", retries=Retries(max_attempts=1))
async def bad(ctx: Context, payload: dict[str, Any]) -> str:
    """Fail with it."""
    return await ctx.step("shout", shout, payload["secret"])


APP = turnout.app("reference", fine, bad)


async def calls(live: Turnout, name: str, step: str) -> tuple[Next, Any, Followed, Next]:
    """All that the caller of a run's only step is told."""
    (emitted,) = await live.orchestrator.emit(Event(name=name, payload={"secret": SECRET}))
    common: dict[str, Any] = {
        "task": emitted.runs[0].task,
        "definition": APP.definition,
        "run_id": emitted.runs[0].run_id,
        "delivery": 1,
        "provider_run_id": "vendor-run",
    }
    first = await live.worker.answer(Advance(**common))
    done = await live.worker.answer(Execute(**common, step=step, attempt=1))
    followed = await live.worker.answer(Follow(**common))
    return first, done, followed, await live.worker.answer(Advance(**common))


def opened(folder: Path, **more: str) -> Turnout:
    """A service that nobody pumps."""
    given = {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": f"sqlite:///{folder}/runs.db",
        "TURNOUT_ARTIFACTS": "none",
        **more,
    }
    return turnout.open_turnout(APP, given, serve=False)


@pytest.mark.parametrize("vendor_data", ["inline", "reference"])
@pytest.mark.parametrize(("name", "step"), [("do/fine", "say"), ("do/bad", "shout")])
async def test_by_reference_no_data_leaves(
    tmp_path: Path, vendor_data: str, name: str, step: str
) -> None:
    """Results by digest, errors by name; the journal has all of it either way."""
    async with opened(tmp_path, TURNOUT_VENDOR_DATA=vendor_data) as live:
        first, done, followed, last = await calls(live, name, step)
        told = "".join(each.model_dump_json() for each in (first, done, last))
        streamed = name == "do/fine" and vendor_data == "inline"
        assert followed.recorded == last.progress.chunks == len(followed.chunks) == int(streamed)
        assert (SECRET in followed.model_dump_json()) is streamed
        assert (SECRET in told) is (vendor_data == "inline")
        assert done.receipt.outcome is (Outcome.COMPLETED if step == "say" else Outcome.FAILED)
        assert last.state is (RunStatus.COMPLETED if step == "say" else RunStatus.FAILED)
        if last.error is not None:
            assert last.error.name == "StepFailed"
        elif last.result is not None:
            assert len(last.result.sha256) == 64
        run = (await live.store.runs.find(RunFilter(limit=1)))[0]
        kept = run.result if step == "say" else str(run.error).encode()
        assert SECRET.encode() in (kept or b"")
