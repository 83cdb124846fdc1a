"""The steps to come: of each, whether it would pass if it were asked for now."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from turnout.model.routing import Route, Stage
from turnout.model.time import Millis, iso
from turnout_cutover.gates import Evidence
from turnout_cutover.move_file import Wave
from turnout_cutover.moving import arrived
from turnout_cutover.operations import Operations, check_tasks
from turnout_cutover.stages import (
    Target,
    default_route,
    is_forward,
    needs_evidence,
    routed,
    skipped,
    soak_left,
)


class Forecast(StrEnum):
    """What would become of a step."""

    PASS = "would pass"  # noqa: S105 - a verdict, no password
    REFUSE = "would refuse"
    UNKNOWN = "cannot be known yet"


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One step of one task."""

    task: str
    step: str
    forecast: Forecast
    text: str
    not_before: str
    """The earliest time, by the soak of every stage before it."""

    def line(self) -> str:
        """Write it in one line."""
        text = f": {self.text}" if self.text else ""
        return f"{self.task} → {self.step}: {self.forecast}, not before {self.not_before}{text}"

    def document(self) -> dict[str, Any]:
        """Write it as JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class TaskState:
    """What the forecast of one task rests on."""

    task: str
    route: Route
    since: Millis | None
    """When it came to its route."""
    evidence: Evidence | None
    """What its gates say now; None: there are none."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All steps to come, and what is against any change now."""

    steps: Sequence[PlannedStep]
    objection: str | None
    """What the replicas have against any change; None: nothing."""

    @property
    def refused(self) -> bool:
        """Whether something would be refused."""
        return self.objection is not None or any(
            step.forecast is Forecast.REFUSE for step in self.steps
        )


def forecast(
    state: TaskState, stages: Sequence[Target], soak: Millis, now: Millis
) -> Sequence[PlannedStep]:
    """Say of each step of one task whether it would pass; pure.

    A gate that lacks pairs, and before which no dual run comes, is a fault of the plan: a ramp has
    no shadows, so it would never pass.
    """
    steps = []
    route, dual = state.route, state.route.stage is Stage.DUAL
    start = now + soak_left(state.since, soak, now)
    for target in stages:
        after = routed(route, target)
        if not is_forward(route, after):
            continue
        verdict, text = _verdict(state, route, after, dual=dual)
        if verdict is Forecast.PASS and start > now:
            verdict, text = Forecast.UNKNOWN, "its soak is not over"
        steps.append(
            PlannedStep(
                task=state.task,
                step=str(target),
                forecast=verdict,
                text=text,
                not_before=iso(start),
            )
        )
        route, dual, start = after, dual or target.stage is Stage.DUAL, start + soak
    return steps


async def plan(operations: Operations, waves: Sequence[Wave]) -> Plan:
    """Evaluate every step to come of these waves; nothing is changed."""
    routes, replicas = await operations.log.routes(), await operations.replicas()
    tasks = [task for wave in waves for task in wave.tasks]
    check_tasks(tasks, replicas, routes)
    default = default_route(await operations.flag())
    verdicts = await _verdicts(operations, tasks)
    steps: list[PlannedStep] = []
    for wave in waves:
        for task in wave.tasks:
            route = routes.get(task, default)
            if route is None:
                continue
            since = await arrived(operations, task, route.generation)
            state = TaskState(task=task, route=route, since=since, evidence=verdicts.get(task))
            steps += forecast(state, wave.stages, wave.soak, operations.clock.now())
    return Plan(steps=steps, objection=(await operations.agreement()).objection())


async def _verdicts(operations: Operations, tasks: Sequence[str]) -> Mapping[str, Evidence]:
    gates = operations.move_file.gates
    return {} if gates is None else await operations.judge(operations.settings, gates, tasks)


def _verdict(state: TaskState, before: Route, after: Route, *, dual: bool) -> tuple[Forecast, str]:
    if state.route.stay:
        return Forecast.REFUSE, "it is pinned"
    passed_over = skipped(before, after)
    if passed_over:
        return Forecast.REFUSE, f"it would skip {' and '.join(passed_over)}"
    evidence = state.evidence
    if evidence is None or evidence.passed or not needs_evidence(before, after):
        return Forecast.PASS, ""
    if evidence.verdict == "FAIL":
        return Forecast.REFUSE, f"its gates say FAIL: {evidence.text}"
    if not dual:
        text = "its gates lack pairs, and no dual run comes before: they would never pass"
        return Forecast.REFUSE, text
    return Forecast.UNKNOWN, f"its gates lack pairs: {evidence.text}"
