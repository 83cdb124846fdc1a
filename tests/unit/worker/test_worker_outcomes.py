"""Whatever user code gives or raises, in any position: its run ends, on either database."""

import asyncio
import dataclasses
import enum
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from calling_parts import VendorRun, WrappedStore, world_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, Secret, SecretBytes, SecretStr, field_serializer

from turnout import Concurrency, Event, Retries, RetryAfter, Turnout, app, open_turnout, task
from turnout.driver.values import encode
from turnout.errors import InvalidJson
from turnout.model.runs import Run
from turnout.model.status import RunStatus
from turnout.model.time import LONGEST
from turnout.model.transitions import failure
from turnout.worker.worker import TaskWorker


class Foreign:
    """A class that pydantic does not know, and whose methods all raise."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = None  # type: ignore[assignment]


class Unreadable(Exception):
    """Its text raises what the constructor was given."""

    def __str__(self) -> str:
        raise self.args[0]


class Textless(Exception):
    """Its text is None."""

    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # noqa: PLE0307 - the fault that is tried


class Lying(Exception):
    """Its class is not known."""

    @property
    def __class__(self) -> Any:
        raise LookupError


class Bare(RetryAfter):
    """It has no delay."""

    def __init__(self) -> None:
        Exception.__init__(self)


class Shouted(str):  # noqa: SLOT000 - as users write it
    """A text with a slice, a hash and an equality of its own."""

    def __getitem__(self, index: Any) -> Any:
        raise KeyError(index)

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return False


class Limit(enum.Enum):
    """Values of which JSON has none, and one of which it has."""

    UNKNOWN = float("nan")
    NONE = float("inf")
    NESTED = (1, float("nan"))
    FINE = 1


class Strange(enum.StrEnum):
    """A text whose hash is not the text's."""

    STEP = "strange-step"


class Sealed(BaseModel):
    token: SecretStr = SecretStr("s3cr3t")


class Anything(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    value: Any = None


class Exiting(BaseModel):
    value: int = 1

    @field_serializer("value")
    def leave(self, value: int) -> int:
        raise SystemExit(value)


@dataclasses.dataclass
class Report:
    session: Foreign


@dataclasses.dataclass
class Holder:
    value: Any


def circle() -> list[Any]:
    """A list within itself."""
    around: list[Any] = []
    around.append(around)
    return around


def nested(levels: int) -> Any:
    """A list in lists."""
    value: Any = None
    for _ in range(levels):
        value = [value]
    return value


class Boxed:
    """A value that may not be shown or compared by whoever draws it."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"a {type(self.value).__name__}"


texts = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=8),
    st.sampled_from(
        ["a\0b", os.fsdecode(b"caf\xe9.txt"), "\ud800", "x:1", "x" * 3_000, "", "payload.a\ud800"]
    ),
)
odd = st.sampled_from(
    list(map(Boxed, [
        Foreign(), Report(Foreign()), Holder(Foreign()), Anything(value=Foreign()), Exiting(),
        Sealed(), SecretStr("x"), Holder(SecretBytes(b"x")), Anything(value=Limit.UNKNOWN),
        Holder([Limit.NONE]), *Limit, Strange.STEP, Shouted("loud"), circle(), nested(99),
        nested(100), nested(3_000), {Foreign: 1}, {1: 1}, b"\xff", 2**70, -(2**70), object, open,
        datetime.max,  # noqa: DTZ901 - it has no zone
        asyncio.CancelledError(), Holder(b"\xff"), {"a": {"b": Sealed()}},
    ]))
)  # fmt: skip
values = st.one_of(
    odd,
    texts.map(Boxed),
    st.floats().map(Boxed),
    st.lists(odd).map(lambda boxes: Boxed([box.value for box in boxes])),
    st.dictionaries(texts, odd, max_size=2).map(
        lambda boxes: Boxed({name: box.value for name, box in boxes.items()})
    ),
)
errors = st.one_of(
    st.sampled_from(
        list(map(Boxed, [
            Unreadable(ValueError()), Unreadable(SystemExit()),
            Unreadable(asyncio.CancelledError()),
            Unreadable(RecursionError()), Textless(), Lying(), Bare(), GeneratorExit(),
            asyncio.CancelledError(), SystemExit(3), StopAsyncIteration(), ValueError(Foreign()),
            KeyboardInterrupt(),
            ValueError(Shouted("loud")), RetryAfter(float("nan")), RetryAfter("soon"),  # type: ignore[arg-type]
            RetryAfter(datetime.max.replace(tzinfo=UTC)), BaseExceptionGroup("g", [Lying()]),
        ]))
    ),
    texts.map(lambda text: Boxed(ValueError(text))),
)  # fmt: skip


def cancels_itself() -> Any:
    """Cancel the task that this runs in."""
    current = asyncio.current_task()
    assert current is not None
    current.cancel()


async def cancels_and_waits() -> Any:
    """Cancel the own task, and come to know of it."""
    cancels_itself()
    await asyncio.sleep(1)


async def cancels_later() -> Any:
    """Cancel the own task as a timeout does, and never take it back."""
    current = asyncio.current_task()
    assert current is not None
    asyncio.get_running_loop().call_soon(current.cancel)
    try:
        await asyncio.sleep(1)
    except asyncio.CancelledError:
        raise TimeoutError from None


def raises(error: BaseException) -> Any:
    """Raise an error, as a body."""
    raise error


async def raises_later(error: BaseException) -> Any:
    """Raise an error, as a body on the loop."""
    await asyncio.sleep(0)
    raise error


Program = Callable[[Any], Any]


async def returns(ctx: Any, value: Any) -> Any:
    """Return the value itself."""
    return value


async def raises_here(ctx: Any, error: BaseException) -> Any:
    """Raise in the function."""
    raise error


async def cancels_here(ctx: Any, _value: Any) -> Any:
    """Cancel the task that replays the function."""
    cancels_itself()
    return await ctx.step("after", int)


async def cancels_here_soon(ctx: Any, _value: Any) -> Any:
    """Have the loop cancel the task that replays the function, once the function has parked."""
    current = asyncio.current_task()
    assert current is not None
    asyncio.get_running_loop().call_soon(current.cancel)
    return await ctx.step("after", int)


def waits(ctx: Any, **options: Any) -> Any:
    """Wait for an event for a moment."""
    return ctx.wait_for_event(options.pop("name", "no/event"), timeout="10ms", **options)


def short(value: Any) -> Any:
    """Make a duration that is right short, because the run's end is waited for."""
    return value % 0.01 if type(value) is float and 0 <= value <= LONGEST else value


def with_value(call: Callable[[Any, Any], Any]) -> Any:
    """Make a program of one awaited command."""

    async def run(ctx: Any, value: Any) -> Any:
        return await call(ctx, value)

    return run


programs = st.one_of(
    st.tuples(
        st.sampled_from(
            [
                returns,
                with_value(lambda ctx, value: ctx.step("s", lambda: value)),
                with_value(lambda ctx, value: ctx.step("s", int, retries=value)),
                with_value(lambda ctx, value: ctx.step(value, int)),
                with_value(lambda ctx, value: ctx.sleep(value, "1ms")),
                with_value(lambda ctx, value: ctx.sleep("s", short(value))),
                with_value(lambda ctx, value: ctx.sleep_until("s", value)),
                with_value(lambda ctx, value: ctx.emit("no/event", key=value)),
                with_value(lambda ctx, value: ctx.emit("no/event", value)),
                with_value(lambda ctx, value: ctx.emit(value)),
                with_value(lambda ctx, value: ctx.emit("no/event", id=value)),
                with_value(lambda ctx, value: ctx.emit("no/event", at=value)),
                with_value(lambda ctx, value: ctx.invoke("noop", value)),
                with_value(lambda ctx, value: ctx.invoke(value)),
                with_value(lambda ctx, value: waits(ctx, match={"payload.a": value})),
                with_value(lambda ctx, value: waits(ctx, match={value: 1})),
                with_value(lambda ctx, value: waits(ctx, match=value)),
                with_value(lambda ctx, value: waits(ctx, name=value)),
                with_value(lambda ctx, value: waits(ctx, id=value)),
                with_value(lambda ctx, value: ctx.step("s", ctx.progress, value)),
                with_value(lambda ctx, value: ctx.step("s", ctx.stream, "chunks", value)),
                with_value(lambda ctx, value: ctx.step("s", ctx.stream, value, 1)),
            ]
        ),
        values,
    ),
    st.tuples(
        st.sampled_from(
            [
                raises_here,
                with_value(lambda ctx, error: ctx.step("s", raises, error)),
                with_value(lambda ctx, error: ctx.step("s", raises_later, error, timeout="5s")),
                with_value(lambda ctx, error: ctx.step("s", raises_later, error)),
            ]
        ),
        errors,
    ),
    st.tuples(
        st.sampled_from(
            [
                cancels_here,
                cancels_here_soon,
                with_value(lambda ctx, _: ctx.step("s", cancels_and_waits)),
                with_value(lambda ctx, _: ctx.step("s", cancels_later)),
                with_value(lambda ctx, _: ctx.step("s", cancels_and_waits, timeout="5s")),
            ]
        ),
        st.just(Boxed(None)),
    ),
)

CURRENT: list[tuple[Any, Any]] = []
"""The program that the task `odd` runs, with its value."""


@task("odd", on="odd/asked", retries=Retries(max_attempts=1), concurrency=Concurrency(limit=1))
async def odd_task(ctx: Any, payload: Any) -> Any:
    """Run the current program."""
    program, value = CURRENT[-1]
    return await program(ctx, value)


@task("noop")
async def noop(ctx: Any, payload: Any) -> Any:
    """Do nothing."""


async def ended(live: Turnout, program: tuple[Any, Any]) -> Run:
    """Run a program to its end."""
    function, box = program
    CURRENT[:] = [(function, box.value)]
    (emitted,) = await live.orchestrator.emit(Event(name="odd/asked"))
    for _ in range(1_000):
        run = (await live.orchestrator.status(emitted.runs[0].run_id)).journal.run
        if run.state.terminal:
            return run
        await asyncio.sleep(0.01)
    raise AssertionError(f"it does not end: {run.state}")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Any) -> Iterator[str]:
    """Give a database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'runs.db'}"
    else:
        yield request.getfixturevalue("postgres_url")


def test_every_run_ends(database_url: str, tmp_path: Any) -> None:
    """Whatever a program gives or raises: its run ends, and the next of its line begins."""
    environment = {
        "ORCHESTRATOR_PROVIDER": "local",
        "TURNOUT_DATABASE_URL": database_url,
        "TURNOUT_ARTIFACTS": str(tmp_path / "artifacts"),
    }
    with asyncio.Runner() as runner:
        live = open_turnout(app("odd", odd_task, noop), environment)
        runner.run(live.start())

        @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
        @given(programs)
        def ends(program: tuple[Any, Any]) -> None:
            run = runner.run(ended(live, program))
            assert run.state in {RunStatus.COMPLETED, RunStatus.FAILED}

        try:
            ends()
        finally:
            runner.run(live.close())


@given(errors)
def test_every_error_is_recorded(error: Boxed) -> None:
    """A failure has a name and a text that any store holds."""
    recorded = failure(error.value)
    assert recorded.name
    assert "\0" not in recorded.message
    assert recorded.message.encode().decode() == recorded.message


def test_an_error_without_a_text_is_named() -> None:
    """The class is recorded, and why there is no text."""
    recorded = failure(Unreadable(LookupError()))
    assert recorded.name == "Unreadable"
    assert "LookupError" in recorded.message


class Card(Secret[int]):
    """A secret that shows itself otherwise."""

    def _display(self) -> str:
        return "****-1"


@pytest.mark.parametrize(
    "value",
    [
        Sealed(),
        Holder(SecretStr("x")),
        {"a": [Sealed()]},
        Anything(value={"a": SecretBytes(b"x")}),
        Holder(Card(4)),
        Limit.UNKNOWN,
        [Limit.NONE],
        Limit.NESTED,
        Anything(value=Limit.UNKNOWN),
        Holder({"a": Limit.NONE}),
    ],
)
def test_no_value_is_changed_silently(value: Any) -> None:
    """What JSON would show as asterisks or as null is refused by name."""
    with pytest.raises(InvalidJson, match="the value"):
        encode(value, subject="the value")


class Open(BaseModel):
    token: SecretStr
    note: str = "***"

    @field_serializer("token", when_used="json")
    def show(self, token: SecretStr) -> str:
        return token.get_secret_value()


def test_a_secret_that_its_model_writes_is_kept() -> None:
    """A model's own serializer is heeded."""
    raw = encode(Open(token=SecretStr("s3cr3t")), subject="the value")
    assert raw == b'{"note":"***","token":"s3cr3t"}'
    assert encode(Sealed(token=SecretStr("")), subject="the value") == b'{"token":""}'


class Order(BaseModel):
    model_config = ConfigDict(strict=True)
    at: datetime
    parts: tuple[int, ...] = Field(validation_alias="in", serialization_alias="out")


async def test_a_model_fits_its_own_task(tmp_path: Any) -> None:
    """Strict models, and models with two aliases, are read as they were written."""

    @task("order", on="order/placed")
    async def order(ctx: Any, payload: Order) -> Any:
        return [payload.at.year, *payload.parts]

    @task("parent", on="parent/asked")
    async def parent(ctx: Any, payload: Any) -> Any:
        return await ctx.invoke(order, ORDER)

    environment = {
        "ORCHESTRATOR_PROVIDER": "memory",
        "TURNOUT_ARTIFACTS": str(tmp_path / "artifacts"),
    }
    async with open_turnout(app("orders", order, parent), environment) as live:
        for event in (Event(name="order/placed", payload=ORDER), Event(name="parent/asked")):
            (emitted,) = await live.orchestrator.emit(event)
            for _ in range(500):
                run = (await live.orchestrator.status(emitted.runs[0].run_id)).journal.run
                if run.state.terminal:
                    break
                await asyncio.sleep(0.01)
            assert (run.state, run.result) == (RunStatus.COMPLETED, b"[2026,1,2]")


ORDER = Order.model_validate({"at": datetime(2026, 1, 2, tzinfo=UTC), "in": (1, 2)})


@pytest.mark.parametrize("refused", ["the outcome", "the result"])
async def test_a_commit_that_cannot_be_recorded_fails_by_name(refused: str) -> None:
    """An unexpected error of the store at a commit becomes the failure of attempt or run."""

    class Refusing(WrappedStore):
        """A store that cannot write one value."""

        def __init__(self, store: Any) -> None:
            super().__init__(store, self._refuse)

        def _refuse(self, name: str, method: Any) -> Any:
            async def call(*args: Any, **given: Any) -> Any:
                if name == "journals.apply":
                    (change,) = args
                    values = [change.after.result, *(step.output for step in change.steps)]
                    if f'"{refused}"'.encode() in values:
                        raise OverflowError(refused)
                return await method(*args, **given)

            return call

    @task("odd")
    async def odd(ctx: Any, payload: Any) -> Any:
        await ctx.step("s", lambda: "the outcome")
        return "the result"

    world = world_of(odd)
    store = Refusing(world.store)
    worker = TaskWorker(app=world.app, store=store, clock=world.clock)
    world.workers.append(worker)
    try:
        run_id = await world.emit("odd")
        await VendorRun(world, worker, run_id, "odd").run_on()
        journal = await world.store.journals.load(run_id)
        assert journal.run.state is RunStatus.FAILED
        assert journal.run.error is not None
        assert "OverflowError" in (journal.run.error.name + journal.run.error.message)
    finally:
        await world.close()
