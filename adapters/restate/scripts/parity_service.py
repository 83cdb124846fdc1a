"""The service whose runs `parity.py` compares: five kinds of runs, and a candidate that may differ.

Where PARITY_DIFFERS is set, the shadow of every 25th run really takes another way than its primary:
another result, step, order, child or end.
"""

import os
from typing import Any, Final

from turnout import App, Context, NonRetryable, Retries, app, task
from turnout.model.ids import is_shadow

DIFFERS: Final = "PARITY_DIFFERS"
RARELY: Final = 25
"""Of so many runs, the candidate takes another way in one."""


def may_differ(number: int) -> bool:
    """Whether it is one of the runs in which a candidate that differs takes another way."""
    return number % RARELY == 0


def kind_of(number: int) -> str:
    """Choose the kind of a run, so that the rare ones are of all kinds."""
    return KINDS[(number + number // RARELY) % len(KINDS)]


def _differs(ctx: Context, payload: dict[str, Any]) -> bool:
    is_candidate = bool(os.environ.get(DIFFERS)) and is_shadow(ctx.run_id)
    return is_candidate and may_differ(payload["number"])


def _double(number: int) -> int:
    return 2 * number


def _double_at_second_try(number: int, attempt: int) -> int:
    if number % 5 == 0 and attempt == 1:
        raise ConnectionError("try again")
    return 2 * number


@task("retried", on="parity/retried", retries=Retries(max_attempts=3, min_delay="200ms"))
async def retried(ctx: Context, payload: dict[str, Any]) -> int:
    """Have three steps, one of which fails at first in some runs; or give another result."""

    def second() -> int:
        return _double_at_second_try(payload["number"], ctx.attempt)

    first = await ctx.step("first", _double, payload["number"])
    total = first + await ctx.step("second", second)
    return total + await ctx.step("third", _double, 1) + _differs(ctx, payload)


@task("timed", on="parity/timed")
async def timed(ctx: Context, payload: dict[str, Any]) -> int:
    """Sleep between two steps; or have one step less."""
    first = await ctx.step("before", _double, payload["number"])
    await ctx.sleep("nap", "500ms")
    return first if _differs(ctx, payload) else int(await ctx.step("after", _double, first))


@task("forked", on="parity/forked")
async def forked(ctx: Context, payload: dict[str, Any]) -> int:
    """Have branches and a step after them; or the step before them."""
    number, differs = payload["number"], _differs(ctx, payload)
    early = await ctx.step("alone", _double, number) if differs else 0
    branches = [ctx.step(f"branch {branch}", _double, branch) for branch in range(3)]
    total: int = sum(await ctx.parallel(*branches))
    return total + (early if differs else await ctx.step("alone", _double, number))


@task("child")
async def child(ctx: Context, payload: dict[str, Any]) -> int:
    """Have one step."""
    return await ctx.step("only", _double, payload["number"])


@task("parent", on="parity/parent")
async def parent(ctx: Context, payload: dict[str, Any]) -> int:
    """Invoke another task; or do by itself what that does."""
    if _differs(ctx, payload):
        return _double(payload["number"])
    return int(await ctx.invoke("child", {"number": payload["number"]}))


@task("waiting", on="parity/waiting")
async def waiting(ctx: Context, payload: dict[str, Any]) -> int:
    """Wait for an answer; or fail when it has come."""
    answer = await ctx.wait_for_event(
        "parity/answer", match="payload.number", timeout="1m", since="run"
    )
    if _differs(ctx, payload):
        raise NonRetryable("it takes no answer")
    return await ctx.step("answered", _double, answer["number"])


KINDS: Final = ("retried", "timed", "forked", "parent", "waiting")
service: Final[App] = app("parity", retried, timed, forked, child, parent, waiting)
