"""Random task functions, as trees of what they ask for."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from turnout.errors import StepFailed
from turnout.model.policies import Retries
from turnout.model.tasks import Task

Node = tuple[Any, ...]

TWICE = Retries(max_attempts=2, min_delay="1s")

leaves = st.one_of(
    st.tuples(st.just("step"), st.booleans()),
    st.tuples(st.just("sleep"), st.integers(0, 5)),
    st.tuples(st.just("event"), st.integers(0, 5)),
    st.tuples(st.just("emit")),
)
programs = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(st.just("seq"), st.lists(inner, max_size=4)),
        st.tuples(st.just("parallel"), st.lists(inner, max_size=3), st.booleans()),
        st.tuples(st.just("tidy"), inner),
    ),
    max_leaves=10,
)


def task_of(program: Node, body: Callable[[str], Any] = len) -> Task:
    """A task function that does what the program says, with ids by place."""

    async def function(ctx: Any, payload: Any) -> Any:
        return await perform(ctx, program, "r", body)

    return Task(id="t", function=function)


async def perform(ctx: Any, node: Node, name: str, body: Callable[[str], Any]) -> Any:  # noqa: PLR0911 - one a kind
    """Do one node of a program."""
    match node:
        case ("step", careful):
            try:
                return await ctx.step(
                    name, body, name, retries=Retries(max_attempts=2, min_delay=1)
                )
            except StepFailed as failed:
                if careful:
                    return failed.name
                raise
        case ("sleep", seconds):
            return await ctx.sleep(name, seconds)
        case ("event", seconds):
            return await ctx.wait_for_event("e", timeout=seconds, id=name)
        case ("emit",):
            return await ctx.emit("told", id=name)
        case ("seq", nodes):
            return [await perform(ctx, each, f"{name}.{at}", body) for at, each in enumerate(nodes)]
        case ("parallel", nodes, values):
            branches = [perform(ctx, each, f"{name}/{at}", body) for at, each in enumerate(nodes)]
            found = await ctx.parallel(*branches, return_exceptions=values)
            return [str(each) for each in found]
        case ("tidy", inner):
            try:
                return await perform(ctx, inner, name + "+", body)
            finally:
                await ctx.step(name + "-", body, name + "-")
    raise AssertionError(node)
