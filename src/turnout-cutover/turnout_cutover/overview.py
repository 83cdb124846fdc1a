"""The whole move on one screen: each task's stage, what is open where, and what is next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnout.model.routing import Route, Stage
from turnout.model.time import Millis, iso
from turnout_cutover.agreement import Agreement
from turnout_cutover.banner import age
from turnout_cutover.changes import Entry
from turnout_cutover.open_runs import OpenRuns, read_open_runs
from turnout_cutover.operations import Operations, known_tasks
from turnout_cutover.rolling_back import unverified
from turnout_cutover.stages import default_route, describe

LONGEST = 10_000
"""Entries of the history that are read."""


@dataclass(frozen=True, kw_only=True)
class TaskStatus:
    """Where one task is."""

    task: str
    route: Route | None
    """None: the flag alone says where its runs go."""
    last: Entry | None
    """The change that brought it there."""
    unverified: tuple[int, list[str]] | None
    """Of a rollback: how many steps it has, and which were not seen to be done."""
    open: Sequence[OpenRuns]

    @property
    def half_done(self) -> bool:
        """Whether its rollback was not verified to the end."""
        return self.unverified is not None and bool(self.unverified[1])

    def line(self, now: Millis) -> str:
        """Write it in one line."""
        place = "as the flag says" if self.route is None else describe(self.route)
        since = ""
        if self.last is not None:
            since = f", {age(self.last.at, now)} ago by {self.last.signature.operator}"
        open_runs = ", ".join(f"{runs.count} open at {runs.provider}" for runs in self.open)
        return f"{self.task}: {place}{since}; {open_runs or 'nothing open'}{self._rollback()}"

    def document(self) -> dict[str, Any]:
        """Write it as JSON."""
        steps, missing = self.unverified or (0, [])
        return {
            "task": self.task,
            "stage": None if self.route is None else self.route.stage.value,
            "route": None if self.route is None else describe(self.route),
            "since": None if self.last is None else iso(self.last.at),
            "who": None if self.last is None else self.last.signature.operator,
            "rollback": None
            if self.unverified is None
            else {"steps": steps, "done": steps - len(missing), "missing": missing},
            "open": [runs.document() for runs in self.open],
        }

    def _rollback(self) -> str:
        if self.unverified is None or not self.unverified[1]:
            return ""
        steps, missing = self.unverified
        return f"; ROLLBACK {steps - len(missing)} of {steps} steps, not: {', '.join(missing)}"


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The whole move."""

    tasks: Sequence[TaskStatus]
    agreement: Agreement
    default: Route | None
    probe: str | None = None
    """The probe's task: it has no next step."""

    @property
    def clean(self) -> bool:
        """Whether nothing is half done, and all replicas follow the routes."""
        return self.agreement.objection() is None and not any(task.half_done for task in self.tasks)

    @property
    def next_command(self) -> str:
        """Name the one next command."""
        for task in self.tasks:
            if task.half_done:
                return f"turnout rollback {task.task} --reason …"
        if self.agreement.objection() is not None:
            return "turnout doctor"
        tasks = [task for task in self.tasks if task.task != self.probe]
        return next((step for step in map(_step, tasks) if step), "turnout history")


async def overview(operations: Operations) -> Overview:
    """Read the state of the move; nothing is changed."""
    routes = await operations.log.routes()
    replicas = await operations.replicas()
    entries = await operations.log.history(limit=LONGEST)
    runs = await read_open_runs(operations.store)
    return Overview(
        tasks=[
            _status(task, routes, entries, runs) for task in sorted(known_tasks(replicas, routes))
        ],
        agreement=await operations.agreement(),
        default=default_route(await operations.flag()),
        probe=None if operations.move_file.probe is None else operations.move_file.probe.task,
    )


def _status(
    task: str, routes: Mapping[str, Route], entries: Sequence[Entry], runs: Sequence[OpenRuns]
) -> TaskStatus:
    route = routes.get(task)
    of_task = [entry for entry in entries if entry.task == task]
    last = None
    if route is not None:
        last = next((entry for entry in of_task if entry.number == route.generation), None)
    return TaskStatus(
        task=task,
        route=route,
        last=last,
        unverified=None if route is None else unverified(route, of_task),
        open=[group for group in runs if group.task == task],
    )


def _step(status: TaskStatus) -> str | None:
    """Name the next step of a task; None: there is none, or its owner decides."""
    if status.route is None or status.route.stay:
        return None
    target = {Stage.OLD: "dual", Stage.DUAL: "ramp:10", Stage.RAMP: "new"}.get(status.route.stage)
    return None if target is None else f"turnout move {status.task} --to {target} --dry-run"
