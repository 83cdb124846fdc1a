"""`adopt(client)`: functions of the official SDK, unchanged, as Turnout's tasks."""

import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import inngest
from pydantic import TypeAdapter

from turnout.errors import InvalidDefinition, TurnoutError
from turnout.model.adoption import Adoption, AdoptionOutcome
from turnout.model.ids import check_task_id
from turnout.model.schedules import Schedule
from turnout.model.source_code import code_digest
from turnout.model.tasks import App, Task
from turnout.model.time import Duration, millis
from turnout.ports.caller import Emit
from turnout_inngest.adoption.adopted_run import AdoptedFunction, AdoptedRun
from turnout_inngest.adoption.endpoint import Endpoint
from turnout_inngest.adoption.events import event_of, failure_event
from turnout_inngest.adoption.handover import (
    HandoverPlan,
    check_moments,
    running_loop,
    sole_events_of,
    with_handover,
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
from turnout_inngest.adoption.source import Location, awaited, locate
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
        default = _safe(f"{self.client.app_id}-turnout")
        schedules_of_app = self.schedules if schedules else ()
        return App(name=name or default, tasks=(*self.tasks, *tasks), schedules=schedules_of_app)

    @property
    def heard(self) -> tuple[str, ...]:
        """Name the events that only cancel runs or are awaited: ingress must receive them."""
        starting = {name for task in self.tasks for name in task.on}
        return tuple(name for name in self._needed if name not in starting)

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
        sole_events = sole_events_of(self.tasks, self._needed)
        return [
            with_handover(
                declared(function),
                HandoverPlan(
                    task=task.id,
                    sole_events=sole_events,
                    schedules=tuple(
                        schedule for schedule in self.schedules if schedule.task == task.id
                    ),
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
        needed = {rule.event: task.id for task in self.tasks for rule in task.policies.cancel_on}
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
    declarations = all_declared(_loaded(client) if functions is None else functions)
    if not declarations:
        raise InvalidDefinition(
            f"no functions of app {client.app_id!r} are loaded; import their modules, or name"
            " them: adopt(client, [first, second])"
        )
    ids = {declaration.full_id: _safe(declaration.id) for declaration in declarations}
    readings = [
        (declaration, read_options(declaration, ids[declaration.full_id]))
        for declaration in declarations
    ]
    report = tuple(
        line for declaration, reading in readings for line in _lines(declaration, reading)
    )
    _check(report, _check_names(lose, declarations, report))
    endpoint = Endpoint(client, [declaration.function for declaration in declarations])
    pause = None if backoff is None else timedelta(milliseconds=millis(backoff, field="backoff"))
    return Adopted(
        client=client,
        functions=tuple(declaration.function for declaration in declarations),
        tasks=tuple(
            _task(declaration, reading, endpoint, ids, pause) for declaration, reading in readings
        ),
        schedules=tuple(
            declaration for _, reading in readings for declaration in reading.schedules
        ),
        report=report,
    )


def examine(client: Any) -> Sequence[Adoption] | None:
    """Say what becomes of the functions of a client that are loaded; None for no such client."""
    if not isinstance(client, inngest.Inngest):
        return None
    loaded = _loaded(client)
    hidden = hidden_functions(client, loaded)
    declarations = all_declared([*loaded, *hidden])
    lines = [
        line
        for declaration in declarations
        for line in _lines(declaration, read_options(declaration, _safe(declaration.id)))
    ]
    return [*lines, *(_hidden(declaration) for declaration in all_declared(hidden))]


def _loaded(client: inngest.Inngest) -> list[inngest.Function[Any]]:
    return loaded_functions(client, list(sys.modules.values()))


def _hidden(declaration: Declared) -> Adoption:
    place = locate(declaration.handler, "")
    reason = "adopt(client) does not find it where it is kept: name it, adopt(client, [first, …])"
    return Adoption(
        function=declaration.id,
        option="create_function",
        outcome=AdoptionOutcome.NOT_SEEN,
        reason=reason,
        file=place.file,
        line=place.line,
    )


def _task(
    declaration: Declared,
    reading: Reading,
    endpoint: Endpoint,
    ids: dict[str, str],
    backoff: timedelta | None,
) -> Task:
    plan = AdoptedFunction(
        full_id=declaration.full_id,
        endpoint=endpoint,
        tasks=ids,
        max_attempts=reading.max_attempts,
        backoff=backoff,
    )
    hook = AdoptedFunction(
        full_id=declaration.failure_id,
        endpoint=endpoint,
        tasks=ids,
        max_attempts=1,
        backoff=backoff,
    )

    async def run(ctx: Any, payload: Any) -> Any:
        return await AdoptedRun(ctx=ctx, plan=plan, event=event_of(ctx, payload)).run()

    async def on_failure(ctx: Any, failure: Any) -> Any:
        if failure["state"] != "failed":
            return None  # the vendor runs no failure handler for what was too late
        event = failure_event(declaration.full_id, failure)
        return await AdoptedRun(ctx=ctx, plan=hook, event=event).run()

    task = Task(
        id=reading.task_id,
        function=run,
        on=(*reading.on, STARTS + reading.task_id),
        only=tuple(reading.conditions),
        policies=reading.policies,
        on_failure=None if declaration.on_failure is None else on_failure,
    )
    task.__dict__["payload_adapter"] = _DATA
    task.__dict__["code_version"] = code_digest(declaration.handler)
    return task


def _lines(declaration: Declared, reading: Reading) -> list[Adoption]:
    app = declaration.full_id.removesuffix(f"-{declaration.id}")
    place = locate(declaration.handler, app)
    lines = [
        Adoption(
            function=declaration.id,
            option=verdict.option,
            outcome=verdict.outcome,
            reason=verdict.reason,
            file=place.file,
            line=_line(place, verdict.option, verdict.index),
        )
        for verdict in reading.verdicts
    ]
    calls = [
        *place.calls,
        *(locate(declaration.on_failure, app).calls if declaration.on_failure else ()),
    ]
    lines += [
        Adoption(
            function=declaration.id,
            option=call.option,
            outcome=call.outcome,
            reason=call.reason,
            file=call.file,
            line=call.line,
        )
        for call in calls
    ]
    return lines


def _line(place: Location, option: str, index: int) -> int:
    lines = place.options
    return lines.get(f"{option}[{index}]", lines.get(option, place.line))


def _check_names(
    lose: Iterable[str], declarations: Sequence[Declared], report: Sequence[Adoption]
) -> set[str]:
    """Refuse names of no option and of none of these functions: they were misspelt."""
    names = {lose} if isinstance(lose, str) else set(lose)
    options = {*OPTIONS, "trigger", *(line.option for line in report)}
    qualified = {f"{line.id}:{option}" for line in declarations for option in options}
    unknown = sorted(names - options - qualified)
    if unknown:
        misspelt = ", ".join(map(repr, unknown))
        refused = {
            f"{line.function}:{line.option}"
            for line in report
            if line.outcome is AdoptionOutcome.REFUSED
        }
        raise InvalidDefinition(
            f"lose names {misspelt}, which is no option of these functions; refused here:"
            f" {', '.join(sorted(refused)) or 'nothing'}"
        )
    return names


def _check(report: Sequence[Adoption], lose: set[str]) -> None:
    """Refuse what cannot be kept, all of it at once."""
    refusals = [
        line
        for line in report
        if line.outcome is AdoptionOutcome.REFUSED
        and not {line.option, f"{line.function}:{line.option}"} & lose
    ]
    if refusals:
        problems = "\n".join(
            f"  {line.function}: {line.option}: {line.reason} ({line.file}:{line.line})"
            for line in refusals
        )
        raise InvalidDefinition(
            f"cannot be kept:\n{problems}\n"
            'change these, or do without: adopt(client, lose=["<option>", …])'
        )


def _safe(local_id: str) -> str:
    """Make a task's id of a function's: the same, or one of safe characters with a digest."""
    try:
        return check_task_id(local_id)
    except TurnoutError:
        digest = hashlib.sha256(local_id.encode()).hexdigest()[:8]
        return f"{_UNSAFE.sub('-', local_id).strip('-')[:80] or 'function'}-{digest}"
