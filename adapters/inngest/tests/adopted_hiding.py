"""Functions that hide what they lean on: in helpers, aliases, arguments and collections."""

import functools
from typing import Any, ClassVar

import inngest

client = inngest.Inngest(app_id="hiding", is_production=False)


def told(name: str) -> Any:
    """Create a function that starts on its own name."""
    return client.create_function(fn_id=name, trigger=inngest.TriggerEvent(event=f"hiding/{name}"))


async def waits(context: Any) -> Any:
    """Wait on a condition that goes beyond equality, in the name of who calls."""
    return await context.step.wait_for_event(
        "w", event="hiding/heard", if_exp="async.data.n > 3", timeout=1_000
    )


async def asks(step: Any) -> Any:
    """Ask a model."""
    return await step.ai.infer("a", adapter=None, body={})


class Flow:
    """Keeps a context."""

    def __init__(self, ctx: Any) -> None:
        self.ctx = ctx


@told("helped")
async def helped(ctx: Any) -> None:
    """Have helpers do it."""
    await waits(ctx)
    await functools.partial(asks, ctx.step)()


@told("aliased")
async def aliased(ctx: Any) -> None:
    """Give the steps another name."""
    s = ctx.step
    await s.ai.infer("a", adapter=None, body={})


@told("inner")
async def inner(ctx: Any) -> None:
    """Have a function of one's own do it, which is all that is wanted."""

    async def naps(context: Any) -> None:
        await context.step.sleep("nap", 1_000)

    assert repr(ctx)
    assert ctx.step._client
    await naps(ctx)


@told("elsewhere")
async def elsewhere(ctx: Any) -> None:
    """Invoke what another app has."""
    await ctx.step.invoke_by_id("i", app_id="other-app", function_id="x")


@told("formatted")
async def formatted(ctx: Any) -> None:
    """Write a condition around a value."""
    await ctx.step.wait_for_event(
        "w", event="hiding/e", if_exp=f"async.data.id == '{ctx.run_id}'", timeout=1_000
    )


@told("passed")
async def passed(ctx: Any) -> None:
    """Take the arguments from elsewhere."""
    opts = {"event": "hiding/e", "if_exp": "async.data.n > 3", "timeout": 1_000}
    await ctx.step.wait_for_event("w", **opts)


@told("kept")
async def kept(ctx: Any) -> None:
    """Keep the context in an object."""
    Flow(ctx)


class Shelf:
    """Keeps a function."""

    deep: ClassVar = {"a": [told("shelved")(aliased._handler)]}


def _only_here() -> Any:
    function = told("closed")(inner._handler)
    return lambda: function


made = {n: told(f"made-{n}")(inner._handler) for n in (1, 2)}
closed = _only_here()
