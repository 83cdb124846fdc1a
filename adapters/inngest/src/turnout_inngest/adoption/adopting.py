"""`adopt(client)`: functions of the official SDK, unchanged, as Turnout's tasks."""

import hashlib
import inspect
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import inngest
from pydantic import TypeAdapter

from turnout.errors import InvalidDefinition, TurnoutError
from turnout.model.adoption import Adoption, Kept
from turnout.model.ids import check_task_id
from turnout.model.schedules import Schedule
from turnout.model.tasks import App, Task
from turnout.model.time import Duration, millis
from turnout.ports.caller import Emit
from turnout_inngest.adoption.endpoint import Endpoint
from turnout_inngest.adoption.events import event_of, failure_event
from turnout_inngest.adoption.handover import (
    Handing,
    check_moments,
    handing,
    running_loop,
    started_alone,
)
from turnout_inngest.adoption.options import Reading, read_options
from turnout_inngest.adoption.sdk import (
    OPTIONS,
    Declared,
    all_declared,
    declared,
    hidden_functions,
    loaded_functions,
)
from turnout_inngest.adoption.source import Written, awaited, written
from turnout_inngest.adoption.turns import Plan, Turns
from turnout_inngest.settings import STARTS

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")
_DATA: Final = TypeAdapter(dict[str, Any])


@dataclass(frozen=True, kw_only=True, eq=False)
class Adopted:
    """The functions of one client as tasks, and what became of their options."""

    client: inngest.Inngest
    functions: tuple[inngest.Function[Any], ...]
    tasks: tuple[Task, ...]
    schedules: tuple[Schedule, ...]
    report: tuple[Adoption, ...]

    def app(
        self, name: str | None = None, *, tasks: Sequence[Task] = (), schedules: bool = True
    ) -> App:
        """Gather the tasks, and others beside them, into an app.

        name: without one `<the client's app id>-turnout`. It is not the client's own: what is
        registered under that one at the vendor goes on, until its runs have ended. schedules: not
        while the vendor fires them; it hands them over with the rest.
        """
        own = _safe(f"{self.client.app_id}-turnout")
        mine = self.schedules if schedules else ()
        return App(name=name or own, tasks=(*self.tasks, *tasks), schedules=mine)

    @property
    def heard(self) -> tuple[str, ...]:
        """Name the events that cancel a run or are awaited, and start no task: to be let in."""
        starting = {each for task in self.tasks for each in task.on}
        return tuple(each for each in self._needed if each not in starting)

    def handover(
        self, emit: Emit, *, after: datetime, until: datetime | None = None
    ) -> list[inngest.Function[Any]]:
        """Give the functions to serve natively during the change, in place of the client's own.

        Runs that the vendor made before the moment `after` are run by the functions' own code;
        each later one starts its task by `emit`, once for ever. after: when every replica will
        long have been serving these, the same in all of them. until: to go back, a moment since
        which runs are native again.
        """
        check_moments(after, until)
        alone = started_alone(self.tasks, self._needed)
        return [
            handing(
                declared(function),
                Handing(
                    task=task.id,
                    alone=alone,
                    schedules=tuple(each for each in self.schedules if each.task == task.id),
                    after=after,
                    until=until,
                    emit=emit,
                    loop=running_loop(),
                ),
            )
            for function, task in zip(self.functions, self.tasks, strict=True)
        ]

    @property
    def _needed(self) -> dict[str, str]:
        """Name the events that cancel a run, or are awaited by a name in its source."""
        needed = {each.event: task.id for task in self.tasks for each in task.policies.cancel_on}
        for function, task in zip(self.functions, self.tasks, strict=True):
            needed |= dict.fromkeys(awaited(declared(function).handler), task.id)
        return needed


def adopt(
    client: inngest.Inngest,
    functions: Iterable[inngest.Function[Any]] | None = None,
    *,
    lose: Iterable[str] = (),
    backoff: Duration | None = None,
) -> Adopted:
    """Make tasks of functions that were written for the official SDK.

    functions: what `serve` is given; without, those at the top of loaded modules, and in
    collections and classes there. lose: options that Turnout does not offer and that you can do
    without, by name (`throttle`, or `report:throttle` for the function `report` alone).
    InvalidDefinition names every other one, with its file and line, and a name in `lose` that is no
    option of theirs. backoff: the delay of every retry, in place of the vendor's table.
    """
    every = all_declared(_loaded(client) if functions is None else functions)
    if not every:
        raise InvalidDefinition(
            f"no functions of app {client.app_id!r} are loaded; import their modules, or name"
            " them: adopt(client, [first, second])"
        )
    ids = {each.full_id: _safe(each.id) for each in every}
    readings = [(each, read_options(each, ids[each.full_id])) for each in every]
    report = tuple(line for each, reading in readings for line in _lines(each, reading))
    _check(report, _known(lose, every, report))
    endpoint = Endpoint(client, [each.function for each in every])
    pause = None if backoff is None else timedelta(milliseconds=millis(backoff, field="backoff"))
    return Adopted(
        client=client,
        functions=tuple(each.function for each in every),
        tasks=tuple(_task(each, reading, endpoint, ids, pause) for each, reading in readings),
        schedules=tuple(each for _, reading in readings for each in reading.schedules),
        report=report,
    )


def examine(client: Any) -> Sequence[Adoption] | None:
    """Say what becomes of the functions of a client that are loaded; None for no such client."""
    if not isinstance(client, inngest.Inngest):
        return None
    loaded = _loaded(client)
    hidden = hidden_functions(client, loaded)
    every = all_declared([*loaded, *hidden])
    lines = [line for each in every for line in _lines(each, read_options(each, _safe(each.id)))]
    return [*lines, *(_hidden(each) for each in all_declared(hidden))]


def _loaded(client: inngest.Inngest) -> list[inngest.Function[Any]]:
    return loaded_functions(client, list(sys.modules.values()))


def _hidden(each: Declared) -> Adoption:
    place = written(each.handler, "")
    why = "adopt(client) does not find it where it is kept: name it, adopt(client, [first, …])"
    return Adoption(
        function=each.id,
        option="create_function",
        kept=Kept.NOT_SEEN,
        why=why,
        file=place.file,
        line=place.line,
    )


def _task(
    each: Declared,
    reading: Reading,
    endpoint: Endpoint,
    ids: dict[str, str],
    backoff: timedelta | None,
) -> Task:
    plan = Plan(
        full_id=each.full_id,
        endpoint=endpoint,
        tasks=ids,
        max_attempts=reading.max_attempts,
        backoff=backoff,
    )
    hook = Plan(
        full_id=each.failure_id, endpoint=endpoint, tasks=ids, max_attempts=1, backoff=backoff
    )

    async def run(ctx: Any, payload: Any) -> Any:
        return await Turns(ctx=ctx, plan=plan, event=event_of(ctx, payload)).whole()

    async def on_failure(ctx: Any, told: Any) -> Any:
        if told["state"] != "failed":
            return None  # the vendor runs no failure handler for what was too late
        event = failure_event(each.full_id, told)
        return await Turns(ctx=ctx, plan=hook, event=event).whole()

    task = Task(
        id=reading.task_id,
        function=run,
        on=(*reading.on, STARTS + reading.task_id),
        only=tuple(reading.only),
        policies=reading.policies,
        on_failure=None if each.on_failure is None else on_failure,
    )
    task.__dict__["payload_adapter"] = _DATA
    task.__dict__["code_version"] = _version(each)
    return task


def _version(each: Declared) -> str:
    try:
        source = inspect.getsource(each.handler)
    except (OSError, TypeError):
        source = getattr(each.handler, "__qualname__", each.full_id)
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _lines(each: Declared, reading: Reading) -> list[Adoption]:
    app = each.full_id.removesuffix(f"-{each.id}")
    place = written(each.handler, app)
    lines = [
        Adoption(
            function=each.id,
            option=verdict.option,
            kept=verdict.kept,
            why=verdict.why,
            file=place.file,
            line=_line(place, verdict.option, verdict.index),
        )
        for verdict in reading.verdicts
    ]
    calls = [*place.calls, *(written(each.on_failure, app).calls if each.on_failure else ())]
    lines += [
        Adoption(
            function=each.id,
            option=call.option,
            kept=call.kept,
            why=call.why,
            file=call.file,
            line=call.line,
        )
        for call in calls
    ]
    return lines


def _line(place: Written, option: str, index: int) -> int:
    lines = place.options
    return lines.get(f"{option}[{index}]", lines.get(option, place.line))


def _known(lose: Iterable[str], every: Sequence[Declared], report: Sequence[Adoption]) -> set[str]:
    """Refuse names of no option and of none of these functions: they were misspelt."""
    names = {lose} if isinstance(lose, str) else set(lose)
    options = {*OPTIONS, "trigger", *(each.option for each in report)}
    of_one = {f"{each.id}:{option}" for each in every for option in options}
    unknown = sorted(names - options - of_one)
    if unknown:
        told = ", ".join(map(repr, unknown))
        refused = {f"{each.function}:{each.option}" for each in report if each.kept is Kept.REFUSED}
        raise InvalidDefinition(
            f"lose names {told}, which is no option of these functions; refused here:"
            f" {', '.join(sorted(refused)) or 'nothing'}"
        )
    return names


def _check(report: Sequence[Adoption], lose: set[str]) -> None:
    """Refuse what cannot be kept, all of it at once."""
    lost = [
        each
        for each in report
        if each.kept is Kept.REFUSED and not {each.option, f"{each.function}:{each.option}"} & lose
    ]
    if lost:
        told = "\n".join(
            f"  {each.function}: {each.option}: {each.why} ({each.file}:{each.line})"
            for each in lost
        )
        raise InvalidDefinition(
            f"cannot be kept:\n{told}\n"
            'change these, or do without: adopt(client, lose=["<option>", …])'
        )


def _safe(local_id: str) -> str:
    """Make a task's id of a function's: the same, or one of safe characters with a digest."""
    try:
        return check_task_id(local_id)
    except TurnoutError:
        digest = hashlib.sha256(local_id.encode()).hexdigest()[:8]
        return f"{_UNSAFE.sub('-', local_id).strip('-')[:80] or 'function'}-{digest}"
