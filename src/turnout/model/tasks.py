"""Tasks and the app that gathers them: what a service author writes."""

import hashlib
import inspect
import typing
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from turnout.errors import InvalidDefinition, InvalidJson, InvalidPayload, ModelChanged, UnknownTask
from turnout.model.canonical import canonical_bytes
from turnout.model.events import Only
from turnout.model.ids import check_event_name, check_step_id, check_task_id
from turnout.model.policies import (
    CancelOn,
    Concurrency,
    Policies,
    Retries,
    Timeouts,
    at_path,
    check_path,
)
from turnout.model.schedules import Schedule
from turnout.model.source_code import code_digest
from turnout.model.text import message_of, name_of

TaskFunction = Callable[..., Awaitable[Any]]
Upgrade = Callable[[Any], Any]
"""Takes a payload as JSON of an earlier form, and returns it in today's. Pure."""
ShadowMode = Literal["replay", "mock", "execute"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """A named unit of work: its function, the events that start it, its policies."""

    id: str
    function: TaskFunction
    on: tuple[str, ...] = ()
    policies: Policies = field(default_factory=Policies)
    on_failure: TaskFunction | None = None
    shadow: ShadowMode = "replay"
    """How a dual run's shadow runs its steps.

    `replay` returns what the primary recorded; `mock` calls the functions of `mocks`; `execute`
    calls the steps, which the author declares free of effects.
    """
    mocks: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """Functions that a shadow calls in place of steps, by step id."""
    only: tuple[Only, ...] = ()
    """Conditions of events: one that holds is enough; an event without any starts the task."""
    open_mode: bool = False
    """Whether the function may await other things than ctx, which run again at each replay."""
    upgrade: Upgrade | None = None
    """Brings a payload of an earlier form into the model's; called for those that do not fit."""
    sticky: str | None = None
    """A path into the payload: while the task ramps, runs of one value there stay together.

    The concurrency key, where there is one, goes before it.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Call the function itself, as plain code would."""
        return self.function(*args, **kwargs)

    def takes(self, event: str, payload: Any) -> bool:
        """Whether an event starts this task."""
        if event not in self.on:
            return False
        matches = [only.match for only in self.only if only.event == event]
        return not matches or any(
            all(
                canonical_bytes(at_path(path, payload)) == canonical_bytes(value)
                for path, value in match
            )
            for match in matches
        )

    def sticky_part(self, payload: Any) -> str | None:
        """Return what keeps runs together while the task ramps; None: nothing does."""
        concurrency = self.policies.concurrency
        path = self.sticky if concurrency is None or concurrency.key is None else concurrency.key
        return None if path is None else canonical_bytes(at_path(path, payload)).decode()

    @cached_property
    def payload_adapter(self) -> TypeAdapter[Any]:
        """The type that checks the payload: the annotation of the function's second parameter."""
        return TypeAdapter(_annotation_of_payload(self.function))

    @cached_property
    def shape(self) -> list[Any]:
        """What workers must agree on: the id, the events and the policies."""
        # A task without conditions has the digest that it had before there were any.
        conditions = [repr(self.only)] if self.only else []
        return [self.id, list(self.on), repr(self.policies), *conditions]

    @cached_property
    def definition(self) -> str:
        """A short digest of what workers must agree on for this task alone."""
        return hashlib.sha256(canonical_bytes(self.shape)).hexdigest()[:16]

    @cached_property
    def code_version(self) -> str:
        """A short digest of the code: the files that the task's module imports from its package."""
        return code_digest(self.function)

    def read_payload(self, payload: Any) -> Any:
        """Check a payload; InvalidPayload names every field that does not fit.

        One that does not fit is upgraded, where the task says how.
        """
        try:
            return self._checked(payload)
        except InvalidPayload as unfit:
            if self.upgrade is None:
                raise
            return self._checked(self._upgraded(self.upgrade, payload, unfit))

    def read_recorded(self, payload: Any) -> Any:
        """Read a payload that was checked when it was emitted, maybe by earlier code.

        ModelChanged where it fits no longer: that is no fault of the run.
        """
        try:
            return self.read_payload(payload)
        except InvalidPayload as error:
            raise ModelChanged(f"{error}; make it fit by @task(upgrade=…)") from None

    def _upgraded(self, upgrade: Upgrade, payload: Any, unfit: InvalidPayload) -> Any:
        try:
            return upgrade(deepcopy(payload))
        except BaseException as error:  # user code
            fault = f"{name_of(error)}: {message_of(error, limit=1_000)}"
            # Most often the payload is of no form at all: its sender needs the fields by name.
            raise InvalidPayload(f"{unfit}; the upgrade raised {fault}") from error

    def _checked(self, payload: Any) -> Any:
        try:
            return self._validated(payload)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(['payload', *map(str, fault['loc'])])}: {fault['msg']}"
                for fault in error.errors(include_url=False, include_input=False)[:10]
            )
            raise InvalidPayload(f"task {self.id!r}: {faults}") from None
        except BaseException as error:  # a validator is user code
            fault = f"{name_of(error)}: {message_of(error, limit=1_000)}"
            raise InvalidPayload(f"task {self.id!r}: the payload's check raised {fault}") from error

    def _validated(self, payload: Any) -> Any:
        """Check a payload as values, then as JSON: strict models take a datetime only from JSON.

        The second check also takes fields by their own names, where a model has two aliases.
        """
        try:
            return self.payload_adapter.validate_python(payload)
        except ValidationError as error:
            try:
                raw = canonical_bytes(payload)
            except InvalidJson:
                raise error from None
            return self.payload_adapter.validate_json(raw, by_alias=True, by_name=True)


def task(
    id: str,  # noqa: A002 - the word of the field
    *,
    on: str | Sequence[str] = (),
    retries: Retries | None = None,
    concurrency: Concurrency | None = None,
    timeouts: Timeouts | None = None,
    cancel_on: CancelOn | Sequence[CancelOn] = (),
    on_failure: TaskFunction | None = None,
    shadow: ShadowMode = "replay",
    mocks: dict[str, Callable[..., Any]] | None = None,
    upgrade: Upgrade | None = None,
    sticky: str | None = None,
) -> Callable[[TaskFunction], Task]:
    """Make a task of an async function `(ctx, payload)`."""
    if sticky is not None:
        check_path(sticky, field=f"task {id!r}: sticky")
    policies = Policies(
        retries=retries or Retries(),
        concurrency=concurrency,
        timeouts=timeouts or Timeouts(),
        cancel_on=(cancel_on,) if isinstance(cancel_on, CancelOn) else tuple(cancel_on),
    )

    def decorate(function: TaskFunction) -> Task:
        if not inspect.iscoroutinefunction(function):
            raise InvalidDefinition(f"task {id!r}: the function is not async; write async def")
        return Task(
            id=check_task_id(id),
            function=function,
            on=tuple(map(check_event_name, (on,) if isinstance(on, str) else on)),
            policies=policies,
            on_failure=on_failure,
            shadow=shadow,
            mocks=mocks or {},
            upgrade=upgrade,
            sticky=sticky,
        )

    return decorate


def define_task(
    id: str,  # noqa: A002 - the word of the field
    steps: Sequence[Callable[..., Any]],
    **options: Any,
) -> Task:
    """Make a task of plain functions: the first gets the payload, each other the result before.

    A step's id is its function's name. Options are those of `task`.
    """
    names = [check_step_id(step.__name__.replace("_", "-")) for step in steps]
    if not steps or len(set(names)) < len(names):
        raise InvalidDefinition(f"task {id!r}: give it steps with names of their own")

    async def run(ctx: Any, payload: Any) -> Any:
        value = payload
        for name, step in zip(names, steps, strict=True):
            value = await ctx.step(name, step, value)
        return value

    composed = task(id, **options)(run)
    first = _parameters(steps[0])
    if first and first[0] is not inspect.Parameter.empty:
        composed.__dict__["payload_adapter"] = TypeAdapter(first[0])
    return composed


@dataclass(frozen=True, kw_only=True, eq=False)
class App:
    """A deployable's tasks and schedules, under one name."""

    name: str
    tasks: tuple[Task, ...]
    schedules: tuple[Schedule, ...] = ()

    def __post_init__(self) -> None:
        check_task_id(self.name)
        ids = [task.id for task in self.tasks]
        twice = sorted({task_id for task_id in ids if ids.count(task_id) > 1})
        if twice:
            raise InvalidDefinition(f"app {self.name!r}: two tasks with the id {twice[0]!r}")
        names = [schedule.id for schedule in self.schedules]
        if len(set(names)) < len(names):
            raise InvalidDefinition(f"app {self.name!r}: two schedules with one id")
        for schedule in self.schedules:
            self.task(schedule.task).read_payload(schedule.payload)

    def task(self, task_id: str) -> Task:
        """Find a task, the failure hooks of tasks included."""
        task = self._by_id.get(task_id)
        if task is None:
            ids = ", ".join(task.id for task in self.tasks)
            raise UnknownTask(f"no task {task_id!r} in app {self.name!r}; it has: {ids}")
        return task

    def subscribed(self, event: str, payload: Any) -> tuple[Task, ...]:
        """Return the tasks that an event starts."""
        subscribers = self._by_event.get(event, ())
        return tuple(task for task in subscribers if not task.only or task.takes(event, payload))

    @cached_property
    def definition(self) -> str:
        """A sha256 over what workers must agree on: task ids, events and policies."""
        shape = [task.shape for task in self.tasks]
        return hashlib.sha256(canonical_bytes([self.name, shape])).hexdigest()

    @cached_property
    def task_definitions(self) -> dict[str, str]:
        """The digest of each task, failure hooks included, by id."""
        return {task_id: task.definition for task_id, task in self._by_id.items()}

    @cached_property
    def all_tasks(self) -> tuple[Task, ...]:
        """The tasks, then the failure hooks of tasks: all that has runs at a vendor."""
        hooks = (failure_hook(task) for task in self.tasks if task.on_failure is not None)
        return (*self.tasks, *hooks)

    @cached_property
    def _by_id(self) -> dict[str, Task]:
        return {task.id: task for task in self.all_tasks}

    @cached_property
    def _by_event(self) -> dict[str, tuple[Task, ...]]:
        names = {name for task in self.tasks for name in task.on}
        return {name: tuple(task for task in self.tasks if name in task.on) for name in names}


def app(name: str, *tasks: Task, schedules: Sequence[Schedule] = ()) -> App:
    """Gather tasks into an app."""
    return App(name=name, tasks=tasks, schedules=tuple(schedules))


FAILURE_HOOK = ".on-failure"
"""What a failure hook's task id ends in."""


def failure_hook(failed: Task) -> Task:
    """Make the task that runs when another one has failed or timed out.

    Its payload is `{run_id, task, state, error: {name, message}, payload, event, event_id,
    emitted_at}`: the failed run's own event last. It is tried as often as the failed task is, and
    has none of its limits, deadlines or cancel conditions: a hook must run.
    """
    assert failed.on_failure is not None
    return replace(
        failed,
        id=failed.id + FAILURE_HOOK,
        function=failed.on_failure,
        on=(),
        policies=Policies(retries=failed.policies.retries),
        on_failure=None,
        upgrade=None,
        sticky=None,
    )


def _annotation_of_payload(function: TaskFunction) -> Any:
    parameters = _parameters(function)
    if len(parameters) < 2 or parameters[1] is inspect.Parameter.empty:  # noqa: PLR2004 - ctx, payload
        return Any
    return parameters[1]


def _parameters(function: Callable[..., Any]) -> list[Any]:
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        hints = {}
    signature = inspect.signature(function)
    return [
        hints.get(name, parameter.annotation) for name, parameter in signature.parameters.items()
    ]
